"""text-classification: one label for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import DataError
from ftdeploy.tasks.said import Function, Said, encode_whole, prepare_whole, ranked, sigmoid, softmax, unknown_label
from ftdeploy.tasks.told import known_name
from ftdeploy.values import is_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ftdeploy.encoded import Encoded, Outputs
    from ftdeploy.signature import Signature
    from ftdeploy.windows import Windows


#: A label is learned against another, and each of the three splits wants a row of it.
_FEWEST_LABELS = 2
_FEWEST_ROWS = 3


class TextClassification:
    """Single-label classification with a softmax over the labels."""

    name = exported_as = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    problem_type: str | None = "single_label_classification"
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    beyond_chance: str | None = "mcc"
    encoder_decoder = False
    per_token = False
    vectors = False
    multi_label = False
    number = False
    probabilities = True
    one_label = True
    unit = "labels"
    measures: tuple[str, ...] = ()
    function: Function = "softmax"
    windows = True
    pairs = True
    view = "labels"
    misfit = ("the column holds something else than names", "check `data.columns.label`")

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # noqa: ARG002 - the protocol's  # fmt: skip
        return row.get(text), None if label is None else row.get(label)

    def names(self, label: str) -> tuple[str, ...]:
        return (label,)

    def renamed(self, label: str, called: Mapping[str, str | None]) -> str | None:
        return called.get(label, label)

    def true_label(self, given: Any, labels: Sequence[str],
                   text: str | None = None) -> str:  # noqa: ARG002 - the protocol's  # fmt: skip
        return known_name(given, labels)

    def true_label_schema(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"enum": list(labels), "examples": list(labels[:1])}

    def summary(self, label: str) -> str:
        return label

    def moved(self, label: str, before: str, after: str) -> str | None:  # noqa: ARG002 - the protocol's
        return label

    def masked(self, label: str, summary: str) -> str:  # noqa: ARG002 - the protocol's
        return summary

    def show(self, label: str, text: str) -> str:  # noqa: ARG002 - the protocol's
        return label

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
                fix="for numbers that are to be estimated, set `task: text-regression`"
                if all(map(is_number, counts))
                else "correct or merge these labels, or remove their rows",
            )

    def counted(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)

    def head(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)

    def known_names(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def summaries(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int, windows: Windows | None = None, *,
                          pairs: bool = False) -> None:  # fmt: skip
        prepare_whole(tokenizer, max_length, windows, pairs=pairs)

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
               windows: Windows | None = None, pair_length: int | None = None) -> list[Encoded]:  # fmt: skip
        return encode_whole(tokenizer, texts, unknown=unknown, windows=windows, pair_length=pair_length)

    def targets(self, labels: Sequence[str], known: Sequence[str],
                rows: Sequence[Encoded] = ()) -> NDArray[np.int64]:  # fmt: skip
        import numpy as np

        ids = {label: index for index, label in enumerate(known)}
        unseen = sorted(set(labels) - set(ids))
        if unseen:
            raise unknown_label(unseen[0], known)
        found = np.array([ids[label] for label in labels], dtype=np.int64)
        return found[[row.text for row in rows]] if rows else found

    def said(self, outputs: Outputs, signature: Signature) -> Said:
        scores = softmax(outputs.logits / signature.temperature)
        likeliest = outputs.logits.argmax(axis=-1)
        return Said(
            labels=[signature.labels[index] for index in likeliest.tolist()],
            scores=scores.max(axis=-1, initial=0.0),
            probabilities=scores,
        )

    def compared(self, labels: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[str]]:
        return [list(labels), *map(list, answers)]

    def right(self, labels: Sequence[str], references: NDArray[np.int64],  # noqa: ARG002 - the protocol's
              answers: NDArray[np.int64]) -> NDArray[np.bool_]:  # fmt: skip
        import numpy as np

        return np.asarray(references == answers)

    def decode(self, outputs: Outputs, signature: Signature, texts: Sequence[str] = (), *,  # noqa: ARG002 - the protocol's
               top_k: int | None = None, function: Function = "softmax") -> list[Any]:  # fmt: skip
        logits = outputs.logits
        scores = logits
        if function == "softmax":
            scores = softmax(logits / signature.temperature)
        elif function == "sigmoid":
            scores = sigmoid(logits)
        return ranked(logits, scores, signature.labels, top_k)
