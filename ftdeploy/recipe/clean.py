"""What is tidied before splitting."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftdeploy.document import Section


class Clean(Section):
    """What is tidied before splitting. Every rule counts what it changed."""

    normalize: bool = True
    """Unicode NFC, control characters removed, runs of white space folded into one space."""
    min_chars: int = Field(default=1, ge=1)
    """Shorter texts are set aside as rejected."""
    max_chars: int = Field(default=20_000, ge=1)
    """Longer texts are set aside as rejected. One of over a million characters is an error, unless this allows it."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Texts that are equal but for case and white space: `drop` keeps the first (conflicting labels: none of them);
    `keep` keeps all, always on one side of the split."""
