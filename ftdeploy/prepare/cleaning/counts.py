"""What cleaning did: how often each rule applied, with a few examples that can be shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

_EXAMPLES, _SHOWN, _LEAD = 3, 80, 24
#: How the reason begins for which privacy sets a row aside; the type follows.
HOLDS_IDENTIFIER = "holds an identifier of type"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """Why a row is set aside."""

    reason: str


@dataclass(kw_only=True)
class Tally:
    """How often a rule applied, with the first three texts: before and after, or None where nothing was changed."""

    rows: int = 0
    examples: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def wants(self) -> bool:
        """Another example would be kept."""
        return len(self.examples) < _EXAMPLES


@dataclass(kw_only=True)
class Counts:
    """What cleaning did.

    Attributes:
        changed: by rule, the texts that it changed.
        rejected: by reason, the rows that were set aside.
        reported: by rule, the rows that were counted and kept.
        mask: examples pass through it before they are kept, whole, so that an identifier is hidden before it is cut.
    """

    changed: dict[str, Tally] = field(default_factory=dict)
    rejected: dict[str, Tally] = field(default_factory=dict)
    reported: dict[str, Tally] = field(default_factory=dict)
    mask: Callable[[str], str] | None = None

    def change(self, rule: str, before: str, after: str) -> None:
        """A rule changed this text."""
        self._add(self.changed, rule, before, after)

    def reject(self, reason: str, example: str) -> None:
        """A row is set aside for this reason."""
        self._add(self.rejected, reason, example, None)

    def report(self, rule: str, example: str, after: str | None = None) -> None:
        """A rule has something to say about this row, and leaves it; ``after`` is what would become of it."""
        self._add(self.reported, rule, example, after)

    def _add(self, where: dict[str, Tally], name: str, before: str, after: str | None) -> None:
        tally = where.get(name)
        if tally is None:
            tally = where[name] = Tally()
        tally.rows += 1
        if tally.wants:
            if self.mask is not None:
                before, after = self.mask(before), None if after is None else self.mask(after)
            tally.examples.append((before, after))


def beginning(text: str) -> str:
    """The first characters of a text, as UTF-8 can hold them."""
    short = text[:_SHOWN] + ("..." if len(text) > _SHOWN else "")
    return LONE_SURROGATE.sub("\ufffd", short)


def difference(before: str, after: str | None) -> tuple[str, str | None]:
    """Two texts shortened to where they differ, with what cannot be seen written as an escape (``\\u200b``)."""
    first, second = _around(before, after)
    return visible(first), None if second is None else visible(second)


def visible(text: str) -> str:
    """A text that a terminal can show: control, format and other characters without a picture become escapes."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(char: str) -> str:
    if char.isprintable() or unicodedata.category(char) == "Zs":
        return char
    return char.encode("unicode_escape").decode("ascii")


def _around(before: str, after: str | None) -> tuple[str, str | None]:
    """Both texts cut, from a little before the first difference."""
    start = 0
    if after is not None:
        pairs = zip(before, after, strict=False)
        at = next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(before), len(after)))
        start = at - _LEAD if at > _LEAD and max(len(before), len(after)) > _SHOWN else 0
    return _cut(before, start), None if after is None else _cut(after, start)


def _cut(text: str, start: int) -> str:
    end = start + _SHOWN
    return ("..." if start else "") + text[start:end] + ("..." if len(text) > end else "")
