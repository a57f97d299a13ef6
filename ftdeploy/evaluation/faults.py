"""What is wrong with the rows of a case, gathered over all of them and told at once, each with its place."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.prepare.clean import NO_LABEL, Rejected, fold, text_key

#: Faults that an error lists; it counts all.
_SHOWN = 5
_UNFIT = (
    "the file has empty cells or rows that stand twice (whatever their case and white space), each of which would "
    "count as evidence of its own"
)
_CORRECT = "correct these rows, or the case's `columns`; where labels are of another kind, the suite's `task` says so"


@dataclass(kw_only=True)
class _Seen:
    """Hashes of 64 bits and places of what must not stand twice: 16 bytes a row."""

    what: str
    keys: array[int] = field(default_factory=lambda: array("Q"))
    places: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, place: int, value: str) -> None:
        self.keys.append(text_key(value, 0)[0])
        self.places.append(place)

    def twice(self) -> list[str]:
        """A line for each value that stands more than once, by the first of its places."""
        keys, places = (np.frombuffer(part, dtype=np.uint64) for part in (self.keys, self.places))
        order = np.argsort(keys, kind="stable")
        same = np.diff(keys[order]) == 0
        order = order[np.append(same, False) | np.append(False, same)] if len(keys) else order  # few are left
        starts = np.flatnonzero(np.diff(keys[order])) + 1
        groups = [group for group in np.split(places[order], starts) if len(group)]
        return [
            f"{' and '.join(f'{place:,}' for place in group[:3].tolist())} have the same {self.what}"
            for group in sorted(groups, key=lambda group: int(group[0]))
        ]


class Faults:
    """What keeps rows of a case from being judged.

    Args:
        case: its name.
        tidied: duplicates were decided on before, and are no fault.
        misfit: why a label may be none of the task.
    """

    def __init__(self, case: str, *, tidied: bool, misfit: str = "") -> None:
        self._case, self._tidied, self._misfit = case, tidied, misfit
        self._misfits = 0
        self._texts, self._ids = _Seen(what="text"), _Seen(what="id")
        self._shown: list[str] = []
        self._count = 0

    def note(self, place: int, text: str | Rejected | None, label: str | Rejected, name: str | None) -> bool:
        """Look at a row; whether it cannot be judged.

        Args:
            place: line of a text file, else number of the row.
            text, label, name: its cells, as ``ftdeploy.prepare.clean`` reads them.
        """
        why = _wrong(text, label)
        if why is not None:
            self._count += 1
            self._misfits += isinstance(label, Rejected) and label.reason != NO_LABEL
            if len(self._shown) < _SHOWN:
                self._shown.append(f"{place:,}: {why}")
            return True
        if not self._tidied:
            self._texts.add(place, fold(str(text)))
            if name is not None:
                self._ids.add(place, name)
        return False

    def check(self, rows: int) -> None:
        """Refuse the case when anything is wrong with it.

        Args:
            rows: how many could be judged.

        Raises:
            DataError: with the places.
        """
        twice = [*self._texts.twice(), *self._ids.twice()]
        found = self._count + len(twice)
        if not found:
            return
        listed = [*self._shown, *twice][:_SHOWN]
        more = f"; and {found - len(listed):,} more" if found > len(listed) else ""
        cause, fix = self._reason()
        raise DataError(
            f"case {self._case}: {found:,} fault(s) in {rows + self._count:,} rows, by their places: "
            f"{'; '.join(listed)}{more}",
            cause=cause,
            fix=fix,
        )

    def _reason(self) -> tuple[str, str]:
        if self._misfits:
            return self._misfit, _CORRECT
        return _UNFIT, "remove or correct these rows; of equal texts the case's `duplicates: drop` takes the first"


def _wrong(text: str | Rejected | None, label: str | Rejected) -> str | None:
    if isinstance(text, Rejected):
        return f"the text {text.reason}"
    if text is None or not text.strip():
        return "the text is empty"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text holds half of a character (a lone surrogate)"
    return str(label.reason) if isinstance(label, Rejected) else None
