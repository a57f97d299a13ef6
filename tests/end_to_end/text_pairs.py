"""A task that ftdeploy does not have: the one file that adds it, for `test_further_task.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.encoded import Encoded
from ftdeploy.tasks.text_classification import TextClassification

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ftdeploy.windows import Windows

#: Between the two texts of a row.
BETWEEN = " ||| "


class TextPairs(TextClassification):
    """One label for two texts, as paraphrase or entailment: they are read as a pair, with a special token between."""

    name = "text-pair-classification"
    exported_as = "text-classification"
    metrics: tuple[str, ...] = ("accuracy",)
    windows = False

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # noqa: ARG002  # fmt: skip
        return f"{row[text]}{BETWEEN}{row['other']}", row.get(label or "")

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,  # noqa: ARG002
               windows: Windows | None = None) -> list[Encoded]:  # noqa: ARG002  # fmt: skip
        pairs = [(first, second) for first, _, second in (text.partition(BETWEEN) for text in texts)]
        return [
            Encoded(ids=one.ids, length=sum(len(part) for part in (one, *one.overflowing)), unknown=0, text=number)
            for number, one in enumerate(tokenizer.encode_batch(pairs))
        ]
