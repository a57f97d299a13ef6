"""multi-label-classification: any number of labels for a text, or none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import DataError, short
from ftdeploy.label_sets import NONE, dump, load
from ftdeploy.tasks.said import (
    Function,
    Said,
    encode_whole,
    prepare_whole,
    ranked,
    said_of_shares,
    sigmoid,
    softmax,
    unknown_label,
)
from ftdeploy.tasks.told import known_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ftdeploy.encoded import Encoded, Outputs
    from ftdeploy.signature import Signature
    from ftdeploy.windows import Windows


class MultiLabelClassification:
    """A sigmoid for each label, learned by binary cross-entropy; a label holds from a half on, or from a threshold."""

    name = "multi-label-classification"
    exported_as = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    problem_type: str | None = "multi_label_classification"
    metrics: tuple[str, ...] = ("label_f1", "label_macro_f1", "accuracy")
    beyond_chance: str | None = "label_mcc"
    encoder_decoder = False
    per_token = False
    vectors = False
    multi_label = True
    number = False
    probabilities = True
    one_label = False
    unit = "sets of labels"
    measures: tuple[str, ...] = (
        "label_f1",
        "label_macro_f1",
        "label_precision",
        "label_recall",
        "label_mcc",
        "accuracy",
    )
    function: Function = "sigmoid"
    windows = True
    pairs = True
    view = "sets"
    misfit = (
        "the column holds something else than names of labels, or they are written in another way",
        "correct that row, or check `data.columns.label` and `data.columns.label_separator`",
    )

    # ---- rows

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # fmt: skip
        """Text and names of a row: a list, a list as JSON, or names with a separator between them. Without a separator
        an empty cell is no label that somebody gave."""
        cell = None if label is None else row.get(label)
        if cell is None or (separator is None and isinstance(cell, str) and not cell.strip()):
            return row.get(text), None
        names = _names_in(cell, separator)
        if any(not isinstance(name, str) or not name.strip() for name in names):
            raise ValueError(f"{str(cell)[:60]!r} holds what is no name of a label")
        return row.get(text), dump(" ".join(name.split()) for name in names)

    def names(self, label: str) -> tuple[str, ...]:
        return load(label)

    def renamed(self, label: str, called: Mapping[str, str | None]) -> str:
        return dump(fresh for name in load(label) if (fresh := called.get(name, name)) is not None)

    def true_label(self, given: Any, labels: Sequence[str],
                   text: str | None = None) -> str:  # noqa: ARG002 - the protocol's  # fmt: skip
        if not isinstance(given, list):
            raise ValueError(f"label wants a list of names, [] for none of them, not {short(given)}")  # noqa: TRY004  # as promised
        return dump(known_name(name, labels, f"label[{place}]") for place, name in enumerate(given))

    def true_label_schema(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"type": "array", "items": {"enum": list(labels)}, "examples": [list(labels[:2])]}

    def summary(self, label: str) -> str:
        """The first of the names, or that there is none."""
        return next(iter(load(label)), NONE)

    def moved(self, label: str, before: str, after: str) -> str | None:  # noqa: ARG002 - the protocol's
        return label

    def masked(self, label: str, summary: str) -> str:
        names = load(label)
        return dump([summary, *names[1:]]) if names else label

    def show(self, label: str, text: str) -> str:  # noqa: ARG002 - the protocol's
        return ", ".join(load(label)) or NONE

    def check_labels(self, counts: Mapping[str, int]) -> None:
        if not any(name != NONE for name in counts):
            raise DataError(
                "no row of the data has a label",
                cause="the label column is empty, or holds something else",
                fix="check `data.columns.label` and `data.columns.label_separator`",
            )

    def counted(self, names: Sequence[str]) -> tuple[str, ...]:
        return self.summaries(names)

    # ---- the network's labels

    def head(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(names)

    def known_names(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(labels)

    def summaries(self, labels: Sequence[str]) -> tuple[str, ...]:
        return (NONE, *labels)

    # ---- tokens

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int, windows: Windows | None = None, *,
                          pairs: bool = False) -> None:  # fmt: skip
        prepare_whole(tokenizer, max_length, windows, pairs=pairs)

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
               windows: Windows | None = None, pair_length: int | None = None) -> list[Encoded]:  # fmt: skip
        return encode_whole(tokenizer, texts, unknown=unknown, windows=windows, pair_length=pair_length)

    def targets(self, labels: Sequence[str], known: Sequence[str],
                rows: Sequence[Encoded] = ()) -> NDArray[np.float32]:  # fmt: skip
        import numpy as np

        ids = {name: index for index, name in enumerate(known)}
        found = np.zeros((len(labels), len(known)), dtype=np.float32)
        for row, label in zip(found, labels, strict=True):
            names = load(label)
            unseen = next((name for name in names if name not in ids), None)
            if unseen is not None:
                raise unknown_label(unseen, known)
            row[[ids[name] for name in names]] = 1
        return found[[row.text for row in rows]] if rows else found

    # ---- answers

    def said(self, outputs: Outputs, signature: Signature) -> Said:
        """The labels that hold; how sure the model is of all decisions together, taken as independent."""
        return said_of_shares(sigmoid(outputs.logits / signature.temperature), signature.labels, signature.thresholds)

    def compared(self, labels: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[str]]:
        return [list(labels), *map(list, answers)]

    def right(self, labels: Sequence[str], references: NDArray[np.int64],  # noqa: ARG002 - the protocol's
              answers: NDArray[np.int64]) -> NDArray[np.bool_]:  # fmt: skip
        import numpy as np

        return np.equal(references, answers)

    def decode(self, outputs: Outputs, signature: Signature, texts: Sequence[str] = (), *,  # noqa: ARG002 - the protocol's
               top_k: int | None = None, function: Function = "sigmoid") -> list[Any]:  # fmt: skip
        """All labels with their own probabilities, the likeliest first, as transformers' pipeline has them."""
        logits = outputs.logits
        scores = logits
        if function == "sigmoid":
            scores = sigmoid(logits / signature.temperature)
        elif function == "softmax":
            scores = softmax(logits)
        return ranked(logits, scores, signature.labels, top_k)


def _names_in(cell: Any, separator: str | None) -> list[Any]:
    if isinstance(cell, list | tuple):
        return list(cell)
    if not isinstance(cell, str):
        raise ValueError(f"{str(cell)[:60]!r} is no list of labels")  # noqa: TRY004  # what `read` is to raise
    try:
        found = json.loads(cell) if separator is None or cell.lstrip().startswith("[") else None
    except ValueError:
        found = None
    if found is None and cell.lstrip().startswith("['"):
        raise ValueError(f"{cell[:60]!r} is a list as Python writes it, and no JSON: write it by json.dumps")
    if separator is not None and not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
        return [name for name in cell.split(separator) if name.strip()]
    if not isinstance(found, list):
        raise ValueError(  # noqa: TRY004  # what `read` is to raise
            f"{cell[:60]!r} is no list of labels; `columns.label_separator` says what stands between them"
        )
    return found
