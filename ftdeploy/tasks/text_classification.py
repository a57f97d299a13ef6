"""text-classification: one label for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ftdeploy.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ftdeploy.signature import Signature


#: A label is learned against another, and each of the three splits wants a row of it.
_FEWEST_LABELS = 2
_FEWEST_ROWS = 3

#: What makes scores of the logits, as transformers' pipelines name it; ``none`` leaves them alone.
Function = Literal["softmax", "sigmoid", "none"]


class TextClassification:
    """Single-label classification with a softmax over the labels."""

    name = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    encoder_decoder = False
    view = "labels"

    def check_labels(self, counts: Mapping[str, int]) -> None:
        if len(counts) < _FEWEST_LABELS:
            raise DataError(
                f"the data holds one label only: {next(iter(counts), 'none at all')!r}",
                cause="the label column is a constant, or a filter left one class",
                fix="check `data.columns.label`, and that the source holds rows of every class",
            )
        rare = {label: count for label, count in counts.items() if count < _FEWEST_ROWS}
        if rare:
            listed = ", ".join(f"{label!r} ({count})" for label, count in sorted(rare.items())[:10])
            raise DataError(
                f"labels with fewer than {_FEWEST_ROWS} rows: {listed}",
                cause="each of train, validation and test wants at least one row of a label; often a typing error",
                fix="correct or merge these labels, or remove their rows",
            )

    def targets(self, labels: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
        import numpy as np

        ids = {label: index for index, label in enumerate(known)}
        unseen = sorted(set(labels) - set(ids))
        if unseen:
            raise DataError(
                f"label {unseen[0]!r} is not among the known labels",
                cause="it does not occur in the training rows, or it is misspelt",
                fix=did_you_mean(unseen[0], known) or "correct it, or add rows with it to the training data",
            )
        return np.array([ids[label] for label in labels], dtype=np.int64)

    def predictions(self, logits: NDArray[np.float32]) -> NDArray[np.int64]:
        import numpy as np

        return np.asarray(logits.argmax(axis=-1), dtype=np.int64)

    def decode(self, logits: NDArray[np.float32], signature: Signature, *, top_k: int | None,
               function: Function = "softmax") -> list[Any]:  # fmt: skip
        keep = len(signature.labels) if top_k is None else min(top_k, len(signature.labels))
        orders = (-logits).argsort(axis=-1, kind="stable")[:, :keep]  # each function keeps their order
        scores = logits
        if function == "softmax":
            scores = softmax(logits / signature.temperature)
        elif function == "sigmoid":
            scores = sigmoid(logits)
        return [
            [{"label": signature.labels[index], "score": row[index]} for index in order]
            for row, order in zip(scores.tolist(), orders.tolist(), strict=True)
        ]


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logistic function of each element, without overflow."""
    import numpy as np

    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), dtype=np.float32)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis, without overflow."""
    import numpy as np

    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float32)
