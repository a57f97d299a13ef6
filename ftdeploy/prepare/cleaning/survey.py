"""The pass over all rows that some rules need before the first row can be judged: usual lengths, and boilerplate.

Memory is bounded: the lengths are counted, the recurring parts too (`boilerplate`), and of each of the first million
different texts a 64-bit hash is kept, so that copies of one text do not make its sentences look like boilerplate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ftdeploy import progress
from ftdeploy.prepare.cleaning.boilerplate import Found, Tracker, least_rows, settle
from ftdeploy.prepare.cleaning.fold import fold, text_key
from ftdeploy.prepare.cleaning.judges import Bounds, length_bounds, length_of
from ftdeploy.recipe.clean import Boilerplate, Clean

_DIFFERENT = 1_000_000  # texts whose hashes are kept
_STEP = 4096


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was learned from all rows.

    Attributes:
        bounds: the usual lengths; None where the recipe does not ask, or the rows do not tell.
        boilerplate: what recurs.
        texts: different texts that were looked at for it.
    """

    bounds: Bounds | None = None
    boilerplate: Found = field(default_factory=Found)
    texts: int = 0

    def as_dict(self, rules: Clean, mask: Callable[[str], str] | None) -> dict[str, Any]:
        """What was learned as plain data, texts through ``mask``; empty where the recipe asked for nothing."""
        shown = mask or str
        made: dict[str, Any] = {}
        if rules.length_outliers is not None:
            bounds = None if self.bounds is None else [self.bounds.low, self.bounds.high]
            made["usual_length"] = {"unit": rules.length_outliers.unit, "bounds": bounds}
        if rules.boilerplate is not None:
            found = self.boilerplate
            parts = {"lines": found.pieces, "starts": found.starts, "ends": found.ends}
            made["boilerplate"] = {"texts": self.texts} | {
                name: {shown(text): rows for text, rows in part.items()} for name, part in parts.items()
            }
        return made


NOTHING = Survey()


def survey(rules: Clean, texts: Callable[[], Iterable[str]]) -> Survey:
    """Look at all rows, once, or twice for boilerplate among very many; not at all where no rule needs it.

    Args:
        rules: the recipe's section.
        texts: the texts, cleaned by the rules that look at one text alone, white space as it was; from the beginning at
            each call.
    """
    if rules.length_outliers is None and rules.boilerplate is None:
        return NOTHING
    lengths: Counter[int] = Counter()
    tracker = None if rules.boilerplate is None else Tracker(rules.boilerplate)
    measure = None if rules.length_outliers is None else length_of(rules.length_outliers)
    seen: set[int] = set()
    for text in _shown("look at all rows", texts()):
        if measure is not None and text:
            lengths[measure(text)] += 1
        if tracker is not None and _first(text, seen):
            tracker.add(text)
    bounds = None if rules.length_outliers is None else length_bounds(lengths, rules.length_outliers)
    if tracker is None or rules.boilerplate is None:
        return Survey(bounds=bounds)
    found = _exact(tracker, rules.boilerplate, len(seen), texts)
    return Survey(bounds=bounds, boilerplate=settle(found), texts=len(seen))


def _exact(tracker: Tracker, rules: Boilerplate, different: int, texts: Callable[[], Iterable[str]]) -> Found:
    least = least_rows(rules, different)
    found = tracker.candidates(least)
    if tracker.exact or not found:
        return found
    again, seen = Tracker(rules, only=found), set[int]()
    for text in _shown("count what recurs", texts()):
        if _first(text, seen):
            again.add(text)
    return again.candidates(least)


def _first(text: str, seen: set[int]) -> bool:
    """Whether this text was not seen before; behind the first million different ones each counts as new."""
    key = text_key(fold(text), 0)[0]
    if key in seen:
        return False
    if len(seen) < _DIFFERENT:
        seen.add(key)
    return True


def _shown(name: str, texts: Iterable[str]) -> Iterator[str]:
    with progress.task(name) as advance:
        for number, text in enumerate(texts, start=1):
            yield text
            if number % _STEP == 0:
                advance(_STEP)
