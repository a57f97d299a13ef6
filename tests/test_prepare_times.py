"""Splits by time: how times are read, and that what is learned from is older than what is judged by."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prepare import dataset, recipe, write_jsonl
from test_prepare_split import everything, index

from ftdeploy.dataset import SPLITS, read_profile, read_split
from ftdeploy.errors import DataError
from ftdeploy.prepare.split import GAP, NO_PAIRS, TEST, TRAIN, VALIDATION, Index
from ftdeploy.prepare.times import Clock, assign_by_time
from ftdeploy.recipe import Recipe

SHARES = (0.7, 0.1, 0.2)
DAY = 86_400_000_000


def clock(form: str = "auto") -> Clock:
    return Clock(column="when", form=form)


def timed(times: list[int], groups: list[int] | None = None) -> Index:
    made = index(list(range(len(times))), [n % 2 for n in range(len(times))], groups)
    return replace(made, time=np.array(times, dtype=np.int64))


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("auto", "1970-01-02", DAY),
        ("auto", "1970-01-02T00:00:00Z", DAY),
        ("auto", "1970-01-02 02:00+02:00", DAY),
        ("auto", "19700102", DAY),
        ("auto", date(1970, 1, 2), DAY),
        ("auto", datetime(1970, 1, 2), DAY),  # noqa: DTZ001 - parquet has such
        ("auto", 86400, DAY),
        ("auto", " 86400.5 ", DAY + 500_000),
        ("auto", "-1", -1_000_000),
        ("seconds", "86400", DAY),
        ("milliseconds", 86_400_000, DAY),
        ("%d.%m.%Y %H:%M", "02.01.1970 00:00", DAY),
        ("%d/%b/%Y:%H:%M:%S %z", "02/Jan/1970:01:00:00 +0100", DAY),
    ],
)
def test_times_are_read(form: str, value: Any, expected: int) -> None:
    """ISO 8601, numbers, what parquet hands out, and any format that is named; UTC where there is no zone."""
    assert clock(form).read(value, "1") == expected


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("auto", "yesterday"),
        ("auto", ""),
        ("auto", None),
        ("auto", "2024-13-01"),
        ("auto", "nan"),
        ("auto", "1e300"),
        ("auto", float("inf")),
        ("seconds", "2024-01-01"),
        ("%d.%m.%Y", "2024-01-01"),
    ],
)
def test_what_is_no_time_is_an_error_with_its_place(form: str, value: Any) -> None:
    """The cell, the line and the format in force; never a row in the wrong place."""
    with pytest.raises(DataError, match=f"at 1,234 is not a time as `data.split.time_format: {form}`"):
        clock(form).read(value, "1,234")


@pytest.mark.parametrize("form", ["auto", "seconds"])
def test_milliseconds_are_not_taken_for_seconds(form: str) -> None:
    """What lies behind the year 9999 is refused with what it may be: in order it would pass, and a gap of ten days
    would be one of fourteen minutes."""
    moment = 1_700_000_000_000
    with pytest.raises(DataError, match="are these milliseconds"):
        clock(form).read(str(moment), "1")
    assert clock("milliseconds").read(str(moment), "1") == clock(form).read(moment // 1000, "1") == moment * 1000


def test_dates_and_numbers_in_one_column_are_an_error() -> None:
    """`2021` beside `2021-05-01` would be sorted as 2021 seconds after 1970."""
    one = clock()
    one.read("2021-05-01", "2")
    with pytest.raises(DataError, match="a date at 2, a number at 3"):
        one.read("2021", "3")


@settings(max_examples=60)
@given(data=st.data())
def test_train_is_older_than_validation_is_older_than_test(data: st.DataObject) -> None:
    """For rows on their own: strictly, so that rows of one time stand together; no split is empty; in any order."""
    times = data.draw(st.lists(st.integers(0, 40), min_size=10, max_size=80).filter(lambda drawn: len(set(drawn)) > 2))
    made = timed(times)
    where = assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=0)
    found = [made.time[where == part] for part in (TRAIN, VALIDATION, TEST) if made.time is not None]
    assert all(len(part) for part in found)
    assert found[0].max() < found[1].min()
    assert found[1].max() < found[2].min()
    order = data.draw(st.permutations(range(len(times))))
    turned = timed([times[n] for n in order])
    assert (
        assign_by_time(turned, everything(turned), ties=NO_PAIRS, shares=SHARES, gap_days=0) == where[list(order)]
    ).all()


def test_shares_are_kept_where_times_allow() -> None:
    """Distinct times: exactly; one time with half of the rows: as closely as can be, and never divided."""
    made = timed(list(range(1000)))
    where = assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=0)
    assert [(where == part).sum() for part in (TRAIN, VALIDATION, TEST)] == [700, 100, 200]
    lumpy = timed([*range(400), *[400] * 500, *range(401, 501)])
    where = assign_by_time(lumpy, everything(lumpy), ties=NO_PAIRS, shares=SHARES, gap_days=0)
    assert len(set(where[400:900].tolist())) == 1


@settings(max_examples=60)
@given(data=st.data())
def test_a_group_stands_where_its_newest_row_does(data: st.DataObject) -> None:
    """Nothing of a group is divided, and every row of train is older than the newest of each group that is judged."""
    times = data.draw(st.lists(st.integers(0, 1000), min_size=30, max_size=80, unique=True))
    groups = [number + 1 for number in range(len(times) // 3 + 1) for _ in range(3)][: len(times)]
    made = timed(times, groups)
    where = assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=0)
    newest = {group: max(time for time, mine in zip(times, groups, strict=True) if mine == group) for group in groups}
    for group in set(groups):
        assert len({int(part) for part, mine in zip(where, groups, strict=True) if mine == group}) == 1
    judged = [newest[group] for group, part in zip(groups, where, strict=True) if part != TRAIN]
    assert max(time for time, part in zip(times, where, strict=True) if part == TRAIN) < min(judged)


def test_near_duplicates_stand_with_the_newest() -> None:
    """Rows that are tied are a unit, as groups are."""
    made = timed(list(range(100)))
    where = assign_by_time(made, everything(made), ties=np.array([[0, 99]]), shares=SHARES, gap_days=0)
    assert where[0] == where[99] == TEST


def test_gap_leaves_out_what_is_too_close() -> None:
    """Rows within the gap before the next split's beginning belong to none, and the splits after stay as they were."""
    made = timed([day * DAY for day in range(100)])
    without = assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=0)
    where = assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=3)
    assert (where == GAP).sum() == 4
    assert (where[where != GAP] == without[where != GAP]).all()
    assert (where == TEST).sum() == (without == TEST).sum()
    with pytest.raises(DataError, match="leaves a split without rows"):
        assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=1000)


def test_too_few_times_are_an_error() -> None:
    """Two times cannot make three splits."""
    made = timed([1] * 50 + [2] * 50)
    with pytest.raises(DataError, match="2 different times for 3 splits"):
        assign_by_time(made, everything(made), ties=NO_PAIRS, shares=SHARES, gap_days=0)


def rows_over_time(count: int) -> list[dict[str, Any]]:
    return [
        {"text": f"alpha{n} beta{n} gamma{n}", "label": "ab"[n % 2], "when": f"2024-01-{n % 28 + 1:02d}"}
        for n in range(count)
    ]


def test_the_stage_divides_by_time_and_says_so(tmp_path: Path) -> None:
    """From the file to the profile: periods by split do not overlap, rows in the gap are set aside with the reason; the
    result is the same on the first rows as on all, and with a sample."""
    import pyarrow.parquet as pq

    path = write_jsonl(tmp_path / "rows.jsonl", rows_over_time(280))
    timing: dict[str, Any] = {"columns": {"time": "when"}, "split": {"by": "time", "gap_days": 2}}
    made = dataset(path, **timing)
    method = read_profile(made)["split_method"]
    periods = method["periods"]
    assert periods["train"]["last"] < periods["validation"]["first"] <= periods["validation"]["last"]
    assert periods["validation"]["last"] < periods["test"]["first"]
    reasons = pq.read_table(made.file("rejected.parquet"))["reason"].to_pylist()
    assert method["gap"] == reasons.count("in the gap before the next split") == 20
    assert sum(read_split(made, name).num_rows for name in SPLITS) == 260
    (tmp_path / "b").mkdir()
    sampled = dataset(write_jsonl(tmp_path / "b" / "rows.jsonl", rows_over_time(280)), **timing, limit=100)
    assert read_profile(sampled)["sampled_out"] == 180


def test_a_label_that_is_new_cannot_be_judged(tmp_path: Path) -> None:
    """A label that only the newest rows have is an error; one that only the oldest have is none."""
    lines = rows_over_time(280)
    for line in lines:
        if line["when"] >= "2024-01-27":
            line["label"] = "c"
    timing: dict[str, Any] = {"columns": {"time": "when"}, "split": {"by": "time"}}
    with pytest.raises(DataError, match="'c' in train") as caught:
        dataset(write_jsonl(tmp_path / "rows.jsonl", lines), **timing)
    assert "new" in caught.value.cause
    for line in lines:
        line["label"] = "c" if line["when"] <= "2024-01-02" else "ab"[int(line["when"][-1]) % 2]
    assert dataset(write_jsonl(tmp_path / "rows.jsonl", lines), **timing).facts["labels"] == 3


def test_a_time_that_cannot_be_read_names_its_line(tmp_path: Path) -> None:
    """And leaves nothing behind."""
    lines = [*rows_over_time(40), {"text": "late", "label": "a", "when": "soon"}]
    path = write_jsonl(tmp_path / "rows.jsonl", lines)
    with pytest.raises(DataError, match="'soon' at 41"):
        dataset(path, columns={"time": "when"}, split={"by": "time"})
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"split": {"by": "time"}}, "wants columns.time"),
        ({"columns": {"time": "t"}, "split": {"by": "time", "stratify": True}}, "exclude each other"),
        ({"columns": {"time": "t"}, "split": {"by": "time", "column": "part"}}, "exclude each other"),
        ({"split": {"gap_days": 3}}, "go with by: time"),
        ({"columns": {"time": "t"}, "split": {"by": "time", "time_format": "iso"}}, "strptime"),
        ({"split": {"values": {"a": "train"}}}, "name the column"),
    ],
)
def test_what_does_not_go_together_is_refused(data: dict[str, Any], words: str) -> None:
    """Before anything is read, with what excludes what."""
    with pytest.raises(ValueError, match=words):
        recipe(Path("rows.jsonl"), **data)


def test_by_time_needs_no_word_about_stratify() -> None:
    """Stratifying is off by itself where the times decide."""
    made: Recipe = recipe(Path("rows.jsonl"), columns={"time": "t"}, split={"by": "time"})
    assert not made.data.split.stratify
    assert json.loads(made.model_dump_json())["data"]["split"]["stratify"] is False
