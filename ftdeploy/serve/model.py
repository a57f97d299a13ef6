"""The model behind the service: opened, warmed up, and wrapped as one forward pass for the batcher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.hardware import CPU, choose_provider, processors
from ftdeploy.predictor import Encoded, Predictor
from ftdeploy.serve.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scored:
    """One text's result.

    Attributes:
        answer: all labels with scores, best first, as the HTTP face shows them.
        embedding: float32, shape (width,): mean-pooled output of an early layer.
    """

    answer: list[dict[str, Any]]
    embedding: NDArray[np.float32]


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


def plan_lanes(limits: Limits, *, on_cpu: bool) -> tuple[int, int]:
    """How the threads are used: ``(lanes, threads of one lane)``.

    On processors one lane for each thread: two passes of one thread gave 280 texts per second where one pass of two
    threads gave 155 (six-layer int8 encoder, 64 connections, two processors shared with other work), because threads
    of one pass wait for each other at every layer. On a GPU passes run one after the other anyway.
    """
    threads = limits.threads or processors()
    lanes = limits.lanes or (threads if on_cpu else 1)
    return lanes, max(1, threads // lanes)


def open_model(folder: Path, limits: Limits) -> tuple[Predictor, int]:
    """Open a model folder and run it until it is warm; also says how many lanes it is meant for.

    Raises:
        ArtifactError: the folder or the model is unusable.
        DeviceError: a device was forced that is not there.
    """
    lanes, threads = plan_lanes(limits, on_cpu=choose_provider().name == CPU)
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
        outputs = predictor.run([row.ids for row in rows])
        answers = predictor.task.decode(outputs.logits, signature, top_k=None)
        return [Scored(answer, embedding) for answer, embedding in zip(answers, outputs.embedding, strict=True)]

    return forward
