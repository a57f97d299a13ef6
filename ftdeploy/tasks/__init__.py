"""What differs between tasks, and nothing else: a Protocol and a dict. No other module asks which task it is.

A further task is one file with one class, and one line in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ftdeploy.tasks.text_classification import Function, TextClassification

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ftdeploy.signature import Signature


class Task(Protocol):
    """One task through the whole of FLOW and of the bundle.

    The methods of the first group run where the model is made, those of the second also in a bundle, which has
    numpy and no torch.
    """

    name: str
    """As transformers calls it: a key of `TASKS`, of the recipe, of the ONNX export."""
    auto_class: str
    """The transformers class that loads a checkpoint for this task."""
    metrics: tuple[str, ...]
    """Names of ``ftdeploy.metrics.METRICS``, the deciding one first."""
    encoder_decoder: bool
    """Whether a checkpoint with encoder and decoder can do it."""
    view: str
    """How the page shows an answer: ``labels``."""

    def check_labels(self, counts: Mapping[str, int]) -> None:
        """Refuse label counts that nothing can be learned from.

        Raises:
            DataError: with what is wrong.
        """

    def targets(self, labels: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
        """Training targets of the rows: int64, shape (rows,).

        Raises:
            DataError: a label that is not among the known ones.
        """

    def predictions(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        """What the metrics compare: predicted ids, int64, from logits of shape (rows, labels)."""

    def decode(self, logits: NDArray[np.float32], signature: Signature, *, top_k: int | None,
               function: Function = "softmax") -> list[Any]:  # fmt: skip
        """Answers in the shape that the HTTP face shows, one per row of the logits.

        Args:
            logits: float32, shape (rows, labels).
            signature: of the model.
            top_k: how many labels an answer holds; None is the task's default.
            function: what makes scores of the logits. The temperature belongs to the softmax alone; the others are
                those of the logits as the model gives them.
        """


TASKS: Mapping[str, Task] = {task.name: task for task in (TextClassification(),)}
