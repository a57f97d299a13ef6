"""Tidying one row: Unicode, control characters, white space; and what is set aside, each rule with a count."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ftdeploy.recipe import Clean

_EXAMPLES, _EXAMPLE_CHARS = 3, 80

# C0 and C1 controls but those that are white space, the byte order mark, and halves of surrogate pairs (JSON can hold
# them and UTF-8 cannot).
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(kw_only=True)
class Tally:
    """How often a rule applied, with up to three examples, shortened."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Count a row; the first ones are kept as examples."""
        self.rows += 1
        if len(self.examples) < _EXAMPLES:
            short = example[:_EXAMPLE_CHARS] + ("..." if len(example) > _EXAMPLE_CHARS else "")
            self.examples.append(_LONE_SURROGATE.sub("\ufffd", short))


@dataclass(kw_only=True)
class Counts:
    """What cleaning did: rules that changed a text, and reasons for setting a row aside."""

    changed: dict[str, Tally] = field(default_factory=dict)
    rejected: dict[str, Tally] = field(default_factory=dict)

    def change(self, rule: str, example: str) -> None:
        """A rule changed this text."""
        self.changed.setdefault(rule, Tally()).add(example)

    def reject(self, reason: str, example: str) -> None:
        """A row is set aside for this reason."""
        self.rejected.setdefault(reason, Tally()).add(example)


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Why a row is set aside."""

    reason: str


def as_text(value: Any) -> str | Rejected | None:
    """A cell as text: None for a missing one. ``1.0`` is ``1`` (a table with gaps turns integers into floats), true is
    ``true``.
    """
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, (Mapping, list, tuple, set, bytes)):
        return Rejected(reason=f"is a {type(value).__name__}, not text")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def clean_text(value: Any, rules: Clean, counts: Counts) -> str | Rejected:
    """The tidied text of a row, or why the row is set aside."""
    raw = as_text(value)
    if raw is None:
        return Rejected(reason="text is missing")
    if isinstance(raw, Rejected):
        return Rejected(reason=f"text {raw.reason}")
    text = _normalize(raw, counts) if rules.normalize else _LONE_SURROGATE.sub("\ufffd", raw)
    if not text.strip():
        return Rejected(reason="text is empty")
    if len(text) < rules.min_chars:
        return Rejected(reason="text is shorter than min_chars")
    if len(text) > rules.max_chars:
        return Rejected(reason="text is longer than max_chars")
    return text


def clean_label(value: Any) -> str | Rejected:
    """The label of a row as text, or why the row is set aside."""
    raw = as_text(value)
    if isinstance(raw, Rejected):
        return Rejected(reason=f"label {raw.reason}")
    label = clean_name(raw)
    return Rejected(reason="label is missing") if label is None else label


def clean_name(value: Any) -> str | None:
    """A label, group, id or slice value: NFC, no control characters, single spaces; None when nothing is left."""
    raw = as_text(value)
    if raw is None or isinstance(raw, Rejected):
        return None
    return " ".join(_CONTROL.sub("", unicodedata.normalize("NFC", raw)).split()) or None


def fold(text: str) -> str:
    """The form in which two texts count as duplicates: case and white space do not matter."""
    return " ".join(text.casefold().split())


def text_key(folded: str, seed: int) -> tuple[int, int]:
    """Two 64-bit numbers for a text, from a keyed hash: one key per text and seed, the same on every machine."""
    digest = blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _normalize(raw: str, counts: Counts) -> str:
    text = raw
    if not unicodedata.is_normalized("NFC", text):
        counts.change("unicode_nfc", raw)
        text = unicodedata.normalize("NFC", text)
    if _CONTROL.search(text):
        counts.change("control_characters", raw)
        text = _CONTROL.sub("", text)
    folded = " ".join(text.split())
    if folded != text:
        counts.change("white_space", raw)
    return folded
