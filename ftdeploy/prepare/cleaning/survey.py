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
from ftdeploy.prepare.cleaning.boilerplate import Found, Tracker, least_rows, remover, settle
from ftdeploy.prepare.cleaning.characters import white_space
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
                name: {shown(text): rows for text, rows in part.items() if name == "lines" or text not in found.pieces}
                for name, part in parts.items()
            }
        return made


NOTHING = Survey()


def survey(rules: Clean, texts: Callable[[], Iterable[str]]) -> Survey:
    """Look at all rows: once for each of the two rules that need it, and once more for boilerplate among very many.

    Args:
        rules: the recipe's section.
        texts: the texts, cleaned by the rules that look at one text alone, white space as it was; from the beginning at
            each call.
    """
    found, different = Found(), 0
    if rules.boilerplate is not None:
        found, different = _recurring(rules.boilerplate, texts)
    bounds = None
    if rules.length_outliers is not None:
        cut = remover(found) if rules.boilerplate is not None and rules.boilerplate.action == "remove" else str
        measure, lengths = length_of(rules.length_outliers), Counter[int]()
        for text in _shown("measure all rows", texts()):
            length = measure(white_space(cut(text)) if rules.normalize else cut(text))
            lengths[length] += length > 0
        bounds = length_bounds(+lengths, rules.length_outliers)
    return Survey(bounds=bounds, boilerplate=found, texts=different)


def _recurring(rules: Boilerplate, texts: Callable[[], Iterable[str]]) -> tuple[Found, int]:
    """What recurs, and the number of different texts."""
    tracker, seen = Tracker(rules), set[int]()
    for text in _shown("look for what recurs", texts()):
        if _first(text, seen):
            tracker.add(text)
    least = least_rows(rules, len(seen))
    found = tracker.candidates(least)
    if found and not tracker.exact:
        tracker, again = Tracker(rules, only=found), set[int]()
        for text in _shown("count what recurs", texts()):
            if _first(text, again):
                tracker.add(text)
        found = tracker.candidates(least)
    return settle(found), len(seen)


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
