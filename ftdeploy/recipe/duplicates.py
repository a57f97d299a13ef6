"""Which texts count as the same, and what becomes of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ftdeploy.document import Section


class Duplicates(Section):
    """Texts that stand in the data more than once, exactly or nearly."""

    exact: Literal["drop", "keep"] = "drop"
    """Texts that are equal but for case and white space: `drop` keeps the first (conflicting labels: none of them);
    `keep` keeps all, always on one side of the split."""
    near: Literal["group", "drop", "report", "ignore"] = "group"
    """Texts that share most of their shingles: `group` keeps them on one side of the split, `drop` also keeps only the
    most central of those with the same label, `report` only counts them, `ignore` does not look for them."""
    threshold: float = Field(default=0.8, ge=0.3, le=1)
    """Two texts are near duplicates from this Jaccard similarity of their sets of shingles on; estimated by MinHash,
    with a standard error of 0.035 at 0.8."""
    shingles: Literal["words", "characters"] = "words"
    """What texts are compared by: runs of words, without punctuation; or runs of characters, which also finds other
    spellings, suits languages without spaces, and takes four times as long."""
    size: int = Field(default=2, ge=1, le=20)
    """Words or characters in a shingle. Longer ones find less; 2 words, or 5 characters, are common."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.exact == "keep" and self.near == "drop":
            raise ValueError("exact: keep and near: drop exclude each other: what is equal is nearly equal too")
        return self
