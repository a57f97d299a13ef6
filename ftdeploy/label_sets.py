"""Any number of names as the label of a row: one string, a JSON list, sorted, each name once."""

from __future__ import annotations

import json
from collections.abc import Iterable

#: Where answers are counted and confused: no name.
NONE = "(none)"


def dump(names: Iterable[str]) -> str:
    """The string of some names."""
    return json.dumps(sorted(set(names)), ensure_ascii=False)


def load(label: str) -> tuple[str, ...]:
    """The names of a label, as `dump` wrote it.

    Raises:
        ValueError: it is no such string.
    """
    found = json.loads(label)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{label[:60]!r} is no list of names")
    return tuple(found)
