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
from ftdeploy.prepare.cleaning.boilerplate import Found, find_boilerplate, remover
from ftdeploy.prepare.cleaning.characters import white_space
from ftdeploy.prepare.cleaning.fold import fold, text_key
from ftdeploy.prepare.cleaning.judges import Bounds, length_bounds, length_of
from ftdeploy.recipe.clean import Clean

#: Texts with their labels, from the beginning at each call.
Rows = Callable[[], Iterable[tuple[str, str]]]

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
            telling = {shown(text): dict(labels) for text, labels in found.telling.items()}
            made["boilerplate"] = {"texts": self.texts, "tells_label": telling} | {
                name: {shown(text): rows for text, rows in part.items() if name == "lines" or text not in found.pieces}
                for name, part in parts.items()
            }
        return made


NOTHING = Survey()


def survey(rules: Clean, rows: Rows) -> Survey:
    """Look at all rows, once for each of the two rules that need it; for boilerplate a second time where there is any.

    Args:
        rules: the recipe's section.
        rows: the texts, cleaned by the rules that look at one text alone, white space as it was, each with its label;
            from the beginning at each call.
    """
    found, different = Found(), 0
    if rules.boilerplate is not None:
        found, different = find_boilerplate(rules.boilerplate, lambda: _different(rows))
    bounds = None
    if rules.length_outliers is not None:
        cut = remover(found) if rules.boilerplate is not None and rules.boilerplate.action == "remove" else str
        measure, lengths = length_of(rules.length_outliers), Counter[int]()
        for text, _ in _shown("measure all rows", rows()):
            length = measure(white_space(cut(text)) if rules.normalize else cut(text))
            lengths[length] += length > 0
        bounds = length_bounds(+lengths, rules.length_outliers)
    return Survey(bounds=bounds, boilerplate=found, texts=different)


def _different(rows: Rows) -> Iterator[tuple[str, str]]:
    """The first row of each text; behind the first million different ones each row counts."""
    seen: set[int] = set()
    for text, label in _shown("look for what recurs", rows()):
        key = text_key(fold(text), 0)[0]
        if key not in seen:
            if len(seen) < _DIFFERENT:
                seen.add(key)
            yield text, label


def _shown(name: str, rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    with progress.task(name) as advance:
        for number, row in enumerate(rows, start=1):
            yield row
            if number % _STEP == 0:
                advance(_STEP)
