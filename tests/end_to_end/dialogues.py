"""A task that ftdeploy does not have: the one file that adds it, for `test_further_task.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftdeploy.encoded import Encoded
from ftdeploy.tasks.text_classification import TextClassification

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ftdeploy.windows import Windows

#: Between the turns of a dialogue: a special token of the tokenizer.
BETWEEN = " [SEP] "


class Dialogues(TextClassification):
    """One label for the turns of a dialogue, however many: a special token stands between them, and of a long one the
    beginning is cut off, as what was said last decides."""

    name = "dialogue-classification"
    exported_as = "text-classification"
    metrics: tuple[str, ...] = ("accuracy",)
    windows = False
    pairs = False

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # noqa: ARG002  # fmt: skip
        return BETWEEN.join(row[text]), row.get(label or "")

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int, windows: Windows | None = None, *,  # noqa: ARG002
                          pairs: bool = False) -> None:  # noqa: ARG002  # fmt: skip
        tokenizer.enable_truncation(max_length, direction="left")
        tokenizer.no_padding()

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,  # noqa: ARG002
               windows: Windows | None = None, pair_length: int | None = None) -> list[Encoded]:  # noqa: ARG002  # fmt: skip
        return [
            Encoded(ids=one.ids, length=sum(len(part) for part in (one, *one.overflowing)), unknown=0, text=number)
            for number, one in enumerate(tokenizer.encode_batch(texts))
        ]
