"""text-regression: a number for a text, in the units of the data; for transformers it is text-classification with one
output and ``problem_type: regression``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import DataError, short
from ftdeploy.tasks.said import Function, Said, encode_whole, prepare_whole
from ftdeploy.values import NUMBER, dump, numbers, parse, tolerance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ftdeploy.encoded import Encoded, Outputs
    from ftdeploy.signature import Signature
    from ftdeploy.windows import Windows

#: What the network's only output is called.
OUTPUT = "score"
#: The largest number that somebody may send: float32, by which models learn, holds no larger ones.
LARGEST = 3e38
#: Fewer different numbers are one number.
_FEWEST = 2


class TextRegression:
    """One output, learned by the mean squared error on numbers that were standardised."""

    name = "text-regression"
    exported_as = "text-classification"
    auto_class = "AutoModelForSequenceClassification"
    problem_type: str | None = "regression"
    metrics: tuple[str, ...] = ("r2", "spearman")
    beyond_chance: str | None = "spearman"  # of r2 a mean is gained that says nothing of any text
    encoder_decoder = False
    per_token = False
    vectors = False
    multi_label = False
    number = True
    probabilities = False
    one_label = False
    unit = "numbers"
    measures: tuple[str, ...] = ("r2", "spearman", "pearson", "mse", "rmse", "mae")
    function: Function = "none"
    windows = True
    pairs = True
    view = "numbers"
    misfit = (
        "the column holds words, a comma as the decimal sign, or a mark for what is missing",
        "correct that row, or leave its cell empty, which sets it aside; a label is a number as 3, -0.5 or 1e3",
    )

    # ---- rows

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # noqa: ARG002 - the protocol's  # fmt: skip
        cell = None if label is None else row.get(label)
        if cell is None or (isinstance(cell, str) and not cell.strip()):
            return row.get(text), None
        return row.get(text), dump(parse(cell))

    def names(self, label: str) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def renamed(self, label: str, called: Mapping[str, str | None]) -> str:  # noqa: ARG002 - the protocol's
        return label

    def true_label(self, given: Any, labels: Sequence[str],  # noqa: ARG002 - the protocol's
                   text: str | None = None) -> str:  # noqa: ARG002  # fmt: skip
        if isinstance(given, bool) or not isinstance(given, int | float) or abs(given) > LARGEST:
            raise ValueError(f"label wants a number of at most {LARGEST:g} in size, not {short(given)}")
        return dump(given)

    def true_label_schema(self, labels: Sequence[str]) -> dict[str, Any]:  # noqa: ARG002 - the protocol's
        return {"type": "number", "minimum": -LARGEST, "maximum": LARGEST, "examples": [3.5]}

    def summary(self, label: str) -> str:  # noqa: ARG002 - the protocol's
        return NUMBER

    def moved(self, label: str, before: str, after: str) -> str | None:  # noqa: ARG002 - the protocol's
        return label

    def masked(self, label: str, summary: str) -> str:  # noqa: ARG002 - the protocol's
        return label

    def show(self, label: str, text: str) -> str:  # noqa: ARG002 - the protocol's
        return f"{parse(label):.4g}"

    def check_labels(self, counts: Mapping[str, int]) -> None:
        if sum(count > 0 for count in counts.values()) < _FEWEST:
            raise DataError(
                "the labels are one number only",
                cause="the label column is a constant, or another one was meant",
                fix="check `data.columns.label`",
            )

    def counted(self, names: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return ()

    # ---- the network's labels

    def head(self, names: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return (OUTPUT,)

    def known_names(self, labels: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return ()

    def summaries(self, labels: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the protocol's
        return (NUMBER,)

    # ---- tokens

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int, windows: Windows | None = None, *,
                          pairs: bool = False) -> None:  # fmt: skip
        prepare_whole(tokenizer, max_length, windows, pairs=pairs)

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
               windows: Windows | None = None, pair_length: int | None = None) -> list[Encoded]:  # fmt: skip
        return encode_whole(tokenizer, texts, unknown=unknown, windows=windows, pair_length=pair_length)

    def targets(self, labels: Sequence[str], known: Sequence[str],  # noqa: ARG002 - the protocol's
                rows: Sequence[Encoded] = ()) -> NDArray[np.float32]:  # fmt: skip
        import numpy as np

        found = _numbers(labels).astype(np.float32)
        return found[[row.text for row in rows]] if rows else found

    # ---- answers

    def said(self, outputs: Outputs, signature: Signature) -> Said:
        """The numbers; they stand in the place of how sure the model is, which nothing says."""
        found = signature.units.of(outputs.logits[:, 0])
        return Said(labels=[dump(value) for value in found.tolist()], scores=found)

    def compared(self, labels: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[str]]:
        return [[dump(value) for value in _numbers(labels).tolist()], *map(list, answers)]

    def right(self, labels: Sequence[str], references: NDArray[np.int64],
              answers: NDArray[np.int64]) -> NDArray[np.bool_]:  # fmt: skip
        """Whether a number is within half a standard deviation of what is true."""
        import numpy as np

        values = numbers(labels)
        truths = values[references]
        return np.asarray(np.abs(values[answers] - truths) <= tolerance(truths))

    def decode(self, outputs: Outputs, signature: Signature, texts: Sequence[str] = (), *,  # noqa: ARG002 - the protocol's
               top_k: int | None = None, function: Function = "none") -> list[Any]:  # noqa: ARG002  # fmt: skip
        """As transformers' pipeline has it for one output: a list with a score, which is the number."""
        found = signature.units.of(outputs.logits[:, 0])
        return [[{"label": signature.labels[0], "score": value}] for value in found.tolist()]


def _numbers(labels: Sequence[str]) -> NDArray[np.float64]:
    """The numbers of labels that were not read by this task: those of a suite's rows.

    Raises:
        DataError: one is none.
    """
    try:
        return numbers(labels)
    except ValueError as error:
        raise DataError(
            f"a label {error}",
            cause="the rows belong to a model of another task, or hold a mark for what is missing",
            fix="correct the rows, or name the column with the numbers",
        ) from error
