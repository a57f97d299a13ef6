"""The model behind the service: opened, warmed up, and wrapped as one forward pass for the batcher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ftdeploy.hardware import CPU, choose_provider, plan_lanes
from ftdeploy.predictor import Encoded, Predictor
from ftdeploy.serve.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    """One text's result.

    Attributes:
        answer: all labels with scores, best first, as the HTTP face shows them.
        embedding: float32, shape (width,): mean-pooled output of an early layer.
        logits: float32, shape (labels,), as the model gave them.
    """

    answer: list[dict[str, Any]]
    embedding: NDArray[np.float32]
    logits: NDArray[np.float32]


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
        outputs = predictor.run([row.ids for row in rows])
        answers = predictor.task.decode(outputs.logits, signature, top_k=None)
        return list(map(Scored, answers, outputs.embedding, outputs.logits))

    return forward
