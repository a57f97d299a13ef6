"""Splits by time: the oldest rows to learn from, the newest for the verdict, as the model will be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.prepare.split import GAP, SAMPLED_OUT, TEST, TRAIN, VALIDATION, Index, Shares, find_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PER_UNIT = {"auto": 1e6, "seconds": 1e6, "milliseconds": 1e3}
_DAY = 86_400_000_000  # microseconds
_LATEST = 2.0**62  # microseconds that still fit with any gap added
_YEAR_10000 = 253_402_300_800e6  # microseconds since 1970; milliseconds since 1978, taken for seconds, lie behind it


@dataclass(kw_only=True)
class Clock:
    """Reads the times of rows, all of one kind.

    Attributes:
        column: the column's name, for errors.
        form: ``data.split.time_format``.
        kinds: what was read, dates or numbers, each with the first place.
    """

    column: str
    form: str
    kinds: dict[str, str] = field(default_factory=dict)

    def read(self, value: Any, place: str) -> int:
        """Microseconds since 1970.

        Args:
            value: the cell.
            place: of the row, for errors.

        Raises:
            DataError: no time, one that cannot be read, or dates and numbers in one column.
        """
        try:
            kind, time = self._parse(value)
        except (ValueError, OverflowError) as error:
            raise DataError(
                f"{value!r} at {place} is not a time as `data.split.time_format: {self.form}` says ({error})",
                cause=f"the column {self.column!r} holds no time there, or another way of writing it",
                fix="correct the row, or name the way: strptime's codes (%d.%m.%Y), seconds or milliseconds",
            ) from error
        self.kinds.setdefault(kind, place)
        if len(self.kinds) > 1:
            listed = ", ".join(f"a {name} at {first}" for name, first in self.kinds.items())
            raise DataError(
                f"the column {self.column!r} holds dates and numbers: {listed}",
                cause="two exports were joined, or years stand beside full dates; their order would be wrong",
                fix="write all of them in one way, or name it in `data.split.time_format`",
            )
        return time

    def _parse(self, value: Any) -> tuple[str, int]:
        if isinstance(value, datetime):
            return "date", _microseconds(value)
        if isinstance(value, date):
            return "date", _microseconds(datetime(value.year, value.month, value.day, tzinfo=UTC))
        text = "" if value is None else str(value).strip()
        if not text:
            raise ValueError("it is empty")
        if "%" in self.form:
            return "date", _microseconds(datetime.strptime(text, self.form))  # noqa: DTZ007 - UTC without a zone
        if self.form == "auto" and isinstance(value, str):
            try:
                return "date", _microseconds(datetime.fromisoformat(text))
            except ValueError:
                if not any(letter.isdigit() for letter in text):
                    raise
        return "number", self._number(text)

    def _number(self, text: str) -> int:
        try:
            number = float(text) * _PER_UNIT[self.form]
        except ValueError:
            raise ValueError("neither ISO 8601 nor a number" if self.form == "auto" else "no number") from None
        if not abs(number) < _LATEST:
            raise ValueError("it is out of range")
        if self.form != "milliseconds" and number >= _YEAR_10000:
            # The order would be right, and a gap of days a thousandth as long.
            raise ValueError("taken for seconds it lies behind the year 9999: are these milliseconds?")
        return round(number)


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _START) // _MICROSECOND


def assign_by_time(index: Index, kept: NDArray[np.bool_], *, ties: NDArray[np.int64], shares: Shares,
                   gap_days: float) -> NDArray[np.uint8]:  # fmt: skip
    """The split of every kept row (others: ``SAMPLED_OUT``; in a gap: ``GAP``), uint8, shape (rows,).

    Units (rows of one text or group, or tied) stand where their newest row does. So every row of train is older than
    the newest row of each unit in validation and test; single rows of such a unit may be older.

    Args:
        index: the rows, with times.
        kept: those to divide.
        ties: pairs of rows that must stand together, int64, shape (pairs, 2).
        shares: of train, validation and test; kept as closely as rows of one time allow.
        gap_days: rows so close before the next split's beginning are left out.

    Raises:
        DataError: too few different times, or the gap leaves nothing.
    """
    if index.time is None:
        raise ValueError("an index without times")  # the recipe is refused before
    places = np.flatnonzero(kept)
    unit, order = find_units(index, places, ties)
    newest = np.full(len(order), np.iinfo(np.int64).min, dtype=np.int64)
    np.maximum.at(newest, unit, index.time[places])
    moment = newest[unit]
    begins = _beginnings(moment, shares)
    where = np.full(len(places), TRAIN, dtype=np.uint8)
    for part in (VALIDATION, TEST):
        if part in begins:
            where[moment >= begins[part]] = part
    gap = round(gap_days * _DAY)
    for part, begin in begins.items() if gap else ():
        where[(moment < begin) & (moment > begin - gap) & (where < part)] = GAP
    _check_nothing_empty(where, begins, gap_days)
    result = np.full(len(kept), SAMPLED_OUT, dtype=np.uint8)
    result[places] = where
    return result


def _beginnings(moment: NDArray[np.int64], shares: Shares) -> dict[int, int]:
    """The first time of validation and of test, where they get anything: the nearest to their shares."""
    times, counts = np.unique(moment, return_counts=True)
    wanted = [part for part in (VALIDATION, TEST) if shares[part] > 0]
    if len(times) <= len(wanted):
        raise DataError(
            f"{len(times)} different times for {len(wanted) + 1} splits",
            cause="rows of one time, of one group, or near duplicates stay together, and too few are left apart",
            fix="use a finer `data.columns.time` or `group`, or divide `by: chance`",
        )
    newer = np.cumsum(counts[::-1])[::-1]  # rows of each time or newer
    begins: dict[int, int] = {}
    end, taken = len(times), 0
    for earlier, part in enumerate(reversed(wanted), start=1):
        first = len(wanted) - earlier + 1  # times that the splits before need
        cut = first + int(np.abs(newer[first:end] - taken - shares[part] * len(moment)).argmin())
        begins[part], end, taken = int(times[cut]), cut, int(newer[cut])
    return begins


def _check_nothing_empty(where: NDArray[np.uint8], begins: Mapping[int, int], gap_days: float) -> None:
    if not all((where == part).any() for part in (TRAIN, *begins)):
        raise DataError(
            f"a gap of {gap_days:g} days leaves a split without rows",
            cause="the rows of a split are closer together than the gap",
            fix="lower `data.split.gap_days`",
        )


def periods(index: Index, where: NDArray[np.uint8]) -> dict[str, dict[str, str]]:
    """The first and the last time in each split, in ISO 8601."""
    found = {}
    for part, name in ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test")):
        times = index.time[where == part] if index.time is not None else np.empty(0, dtype=np.int64)
        if len(times):
            found[name] = {"first": _iso(int(times.min())), "last": _iso(int(times.max()))}
    return found


def _iso(microseconds: int) -> str:
    try:
        return (_START + timedelta(microseconds=microseconds)).isoformat()
    except OverflowError:
        return f"{microseconds / 1e6:.0f} s after 1970"
