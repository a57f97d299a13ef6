"""The model behind the service: opened, warmed up, and wrapped as one forward pass for the batcher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ftdeploy.encoded import Encoded, Outputs, by_text, mean_embedding, stacked
from ftdeploy.hardware import CPU, choose_provider, plan_lanes
from ftdeploy.predictor import Predictor
from ftdeploy.serve.limits import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray


_NO_LOGITS = np.zeros(0, dtype=np.float32)


class Counted(Protocol):
    """What is known of a text once it was tokenised: an `Encoded`, or what a cache remembers of one."""

    @property
    def length(self) -> int:
        """Tokens before cutting."""

    @property
    def kept(self) -> int:
        """Tokens after cutting."""

    @property
    def unknown(self) -> int:
        """How many of the kept ones are the unknown token."""

    def truncated(self) -> bool:
        """Whether the text was cut."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One text's result, or that of a piece of one.

    Attributes:
        answer: as the HTTP face shows it: all labels with scores, best first, or entities in the order of the text;
            empty of a piece, whose text is answered when all its pieces are.
        embedding: float32, shape (width,): mean-pooled output of an early layer; of a text in pieces their mean.
        logits: float32, shape (labels,), or of a piece (tokens, labels), as the model gave them; of a text in windows
            what they were pooled to; or the answer itself, where that is a vector.
        told: what is counted of it, where that is not the best label: the summary of its label
            (`ftdeploy.tasks.Task`), and how sure the model is.
        label: the answer as the data writes its labels, where more is answered than the best label.
    """

    answer: list[Any]
    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]
    told: tuple[str, float] | None = None
    label: str | None = None

    @property
    def summary(self) -> tuple[str, float]:
        """What traffic, metrics and drift count of it: a label and how sure the model is."""
        return self.told or (self.answer[0]["label"], self.answer[0]["score"])


@dataclass(frozen=True, slots=True)
class Pieces:
    """What is known of a text that was read in pieces: tokens of all of them."""

    length: int
    kept: int
    unknown: int

    def truncated(self) -> bool:
        """Whether there was more of it than may be read."""
        return self.length > self.kept


def bundle_digest(folder: Path) -> str:
    """The digest of the bundle around a source folder; outside a sealed bundle the sha256 of its model.

    Args:
        folder: holds ``model/``; a bundle's ``artifact.json`` stands one level up.
    """
    try:
        return str(json.loads((folder.parent / "artifact.json").read_bytes())["digest"])
    except (OSError, ValueError, KeyError):
        with (folder / "model" / "model.onnx").open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()


def open_model(folder: Path, limits: Limits) -> tuple[Predictor, int]:
    """Open a model folder and run it until it is warm; also says how many lanes it is meant for.

    Raises:
        ArtifactError: the folder or the model is unusable.
        DeviceError: a device was forced that is not there.
    """
    on_cpu = choose_provider().name == CPU
    lanes, threads = plan_lanes(threads=limits.threads, lanes=limits.lanes, on_cpu=on_cpu)
    predictor = Predictor(folder, threads=threads)
    forward = forward_of(predictor)
    longest = predictor.encode(["warm " * predictor.signature.max_length])[0]
    short = predictor.encode(["warm up"])[0]
    full = max(1, min(limits.batch_rows, limits.batch_tokens // len(longest.ids)))
    for rows in ([short], [short] * limits.batch_rows, [longest], [longest] * full, [short]):
        forward(rows)
    return predictor, lanes


def forward_of(predictor: Predictor) -> Callable[[Sequence[Encoded]], list[Scored]]:
    """One forward pass over tokenised rows, answers included."""
    signature = predictor.signature

    def forward(rows: Sequence[Encoded]) -> list[Scored]:
        return _whole(predictor, predictor.run([row.ids for row in rows]))

    def piecewise(rows: Sequence[Encoded]) -> list[Scored]:
        outputs = predictor.run([row.ids for row in rows])
        logits: Iterable[NDArray[np.float32]] = outputs.logits
        if predictor.task.per_token:
            logits = (one[: len(row.ids)] for one, row in zip(outputs.logits, rows, strict=True))
        return [Scored([], *of) for of in zip(outputs.embedding, logits, strict=True)]

    def vectors(rows: Sequence[Encoded]) -> list[Scored]:
        outputs = predictor.run([row.ids for row in rows])
        counted = (predictor.task.summaries(signature.labels)[0], 1.0)
        answers = predictor.task.decode(outputs, signature)
        return [Scored([], *of, counted) for of in zip(outputs.embedding, answers, strict=True)]

    if predictor.task.vectors:
        return vectors
    return piecewise if predictor.in_pieces else forward


def _whole(predictor: Predictor, outputs: Outputs) -> list[Scored]:
    """The results of texts that are a row each."""
    task, signature = predictor.task, predictor.signature
    answers = task.decode(outputs, signature)
    if task.one_label:
        return list(map(Scored, answers, outputs.embedding, outputs.logits))
    said = task.said(outputs, signature)
    told = zip(map(task.summary, said.labels), said.scores.tolist(), strict=True)
    return list(map(Scored, answers, outputs.embedding, outputs.logits, told, said.labels))


def joined(predictor: Predictor, texts: Sequence[str], rows: Sequence[Encoded],
             scored: Sequence[Scored]) -> tuple[Sequence[Counted], Sequence[Scored]]:  # fmt: skip
    """One result for each text, of the results of its pieces; nothing to do where texts are not read in pieces.

    Args:
        predictor: whose task decides.
        texts: at least one.
        rows: all pieces, as `Predictor.encode` gave them.
        scored: of the pieces.
    """
    if not predictor.in_pieces:
        return rows, scored
    task, signature = predictor.task, predictor.signature
    outputs = Outputs(
        logits=stacked([one.logits[None] for one in scored]),
        embedding=np.stack([one.embedding for one in scored]),
        rows=rows,
    )
    counted = [
        Pieces(sum(one.length for one in of), sum(one.kept for one in of), sum(one.unknown for one in of))
        for of in by_text(rows, len(texts))
    ]
    if not task.per_token:
        return counted, _whole(predictor, predictor.pooled(outputs))
    said = task.said(outputs, signature)
    answers = task.decode(outputs, signature, texts)
    embedding = mean_embedding(outputs, len(texts))
    found = [
        Scored(answer, vector, _NO_LOGITS, (task.summary(label), score), label)
        for answer, vector, label, score in zip(answers, embedding, said.labels, said.scores.tolist(), strict=True)
    ]
    return counted, found
