"""Rows of cases: what becomes a column, what is refused, what is kept in the cache and what is read anew."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftdeploy.artifact import seal
from ftdeploy.errors import ArtifactError, DataError, SourceError
from ftdeploy.evaluation import cases
from ftdeploy.evaluation.cases import distinct
from ftdeploy.origin import Source
from ftdeploy.suite import Case

#: Rows of one label each.
gather = partial(cases.gather, task="text-classification")
rows_of_run = partial(cases.rows_of_run, task="text-classification")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label", "kind")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


def films(count: int, *, first: int = 0) -> list[list[str]]:
    return [[f"film {n}", ("bad", "good")[n % 2], "abc"[n % 3]] for n in range(first, first + count)]


def case(path: Path, name: str = "films", **keys: Any) -> Case:
    return Case(name=name, source=Source(path=path), **keys)


def test_a_source_becomes_columns_of_text(tmp_path: Path) -> None:
    """Text, label and slices under the names that the case gives; ids by row; labels renamed, others kept."""
    path = write(tmp_path / "rows.csv", [["nice", "4", "a"], ["dull", "1", ""], ["odd", "other", "b"]],
                 ("says", "stars", "kind"))  # fmt: skip
    found = gather(
        [case(path, columns={"text": "says", "label": "stars"}, label_map={"4": "good", "1": "bad"}, slices=("kind",))],
        seed=1,
    )
    assert found.table.to_pylist() == [
        {"text": "nice", "label": "good", "id": "row-2", "kind": "a"},
        {"text": "dull", "label": "bad", "id": "row-3", "kind": ""},
        {"text": "odd", "label": "other", "id": "row-4", "kind": "b"},
    ]
    assert found.labels == {"films": {"bad": 1, "good": 1, "other": 1}}
    assert found.names == ("bad", "good", "other")
    assert (found.cases[0].rows, found.cases[0].source) == (3, "file rows.csv")


def test_the_digest_is_of_ids_texts_and_labels(tmp_path: Path) -> None:
    """As JSON lines, so that everybody can compute it; a slice has no part in it, a changed text has."""
    path = write(tmp_path / "rows.csv", [["ä film", "good", "a"]])
    line = json.dumps(["row-2", "ä film", "good"], ensure_ascii=False, separators=(",", ":")) + "\n"
    digest = hashlib.sha256(line.encode()).hexdigest()
    assert gather([case(path)], seed=1).cases[0].digest == digest
    assert gather([case(path, slices=("kind",), digest=digest)], seed=1).cases[0].digest == digest
    write(path, [["ä film!", "good", "a"]])
    with pytest.raises(SourceError, match=digest) as caught:
        gather([case(path, digest=digest)], seed=1)
    assert gather([case(path)], seed=1).cases[0].digest in str(caught.value)


def test_what_stands_in_two_cases_is_one_fault_where_they_are_judged_together(tmp_path: Path) -> None:
    """Whatever its case and white space: as evidence twice, one file under two names would decide what it alone could
    not. Judged case by case each has its rows."""
    write(tmp_path / "a.csv", films(6))
    write(tmp_path / "b.csv", [*films(2, first=10), [" FILM  3", "bad", "a"], *films(1)])
    both = [case(tmp_path / f"{name}.csv", name) for name in "ab"]
    with pytest.raises(DataError, match=r"2 text\(s\) stand in two cases") as caught:
        gather(both, seed=1, pooled=True)
    assert caught.value.what.endswith(": a:row-2 and b:row-5, a:row-5 and b:row-4")
    assert gather(both, seed=1).table.num_rows == 10
    assert gather(both[:1], seed=1, pooled=True).table.num_rows == 6
    with pytest.raises(DataError, match="stand in two cases"):
        gather([both[0], both[1].model_copy(update={"duplicates": "drop"})], seed=1, pooled=True)


def test_where_both_cases_drop_duplicates_the_first_of_each_text_stays(tmp_path: Path) -> None:
    """And none where labels differ; rows, labels and source say so, and the digest is still that of the case."""
    write(tmp_path / "a.csv", films(6))
    write(tmp_path / "b.csv", [*films(2, first=10), ["film 3", "bad", "a"], *films(1)])
    both = [case(tmp_path / f"{name}.csv", name, duplicates="drop") for name in "ab"]
    apart, pooled = gather(both, seed=1), gather(both, seed=1, pooled=True)
    assert pooled.table["id"].to_pylist() == [*(f"a:row-{row}" for row in (2, 3, 4, 6, 7)), "b:row-2", "b:row-3"]
    assert [one.rows for one in pooled.cases] == [5, 2]
    assert pooled.labels == {"a": {"bad": 3, "good": 2}, "b": {"bad": 1, "good": 1}}
    assert pooled.cases[1].source == "file b.csv; 2 that stand in other cases left out"
    assert [one.digest for one in pooled.cases] == [one.digest for one in apart.cases]


def test_several_cases_stand_below_each_other(tmp_path: Path) -> None:
    """Each row says its case, ids stay different, and a slice that one case lacks is null there."""
    first = write(tmp_path / "one.csv", [["nice", "good", "a"]])
    second = write(tmp_path / "two.csv", [["dull", "bad", "b"]])
    found = gather([case(first, "one", slices=("kind",)), case(second, "two")], seed=1)
    assert found.table.to_pylist() == [
        {"text": "nice", "label": "good", "id": "one:row-2", "case": "one", "kind": "a"},
        {"text": "dull", "label": "bad", "id": "two:row-2", "case": "two", "kind": None},
    ]
    alone = gather([case(first, "one")], seed=1)
    assert alone.cases[0].digest == found.cases[0].digest, "the name of a case is not in its digest"


def test_a_sample_is_seeded_and_fair(tmp_path: Path) -> None:
    """As many as are asked for, the same with the same seed, in the order of the file, and every row can be in it."""
    path = write(tmp_path / "rows.csv", films(60))
    one, same, other = (
        gather([case(path, limit=20)], seed=seed, refresh=True).table["id"].to_pylist() for seed in (1, 1, 2)
    )
    assert one == same != other
    assert len(set(one)) == 20
    assert one == sorted(one, key=lambda name: int(name[4:]))
    assert gather([case(path, limit=100)], seed=1).table.num_rows == 60
    met = np.zeros(30)
    for seed in range(400):
        met[cases._sample(range(30), 10, seed)] += 1
    # Each row is in a third of the samples; five standard deviations of a binomial.
    assert abs(met / 400 - 1 / 3).max() < 5 * np.sqrt(2 / 9 / 400)


def test_what_cannot_be_judged_is_named_by_its_place(tmp_path: Path) -> None:
    """Empty texts and labels, and texts that stand twice whatever their case and white space, all at once."""
    rows = [["nice", "good", ""], [" ", "good", ""], ["dull", "", ""], ["Nice ", "good", ""], ["odd", "bad", ""]]
    with pytest.raises(DataError) as caught:
        gather([case(write(tmp_path / "rows.csv", rows))], seed=1)
    for words in ("3 fault(s) in 5 rows", "3: the text is empty", "4: label is missing", "2 and 5 have the same text"):
        assert words in caught.value.what


def test_nothing_of_refused_rows_is_kept(tmp_path: Path, cache: Path) -> None:
    """A case with faults leaves no file that the next call could take."""
    with pytest.raises(DataError):
        gather([case(write(tmp_path / "rows.csv", [["", "good", ""]]))], seed=1)
    assert [path for path in cache.rglob("*") if path.name in (cases.ROWS, cases.FACTS)] == []


def test_ids_must_be_different(tmp_path: Path) -> None:
    """Of a column that names rows."""
    path = write(tmp_path / "rows.csv", [["nice", "good", "x"], ["dull", "bad", "x"]])
    with pytest.raises(DataError, match="2 and 3 have the same id"):
        gather([case(path, columns={"id": "kind"})], seed=1)


def test_duplicates_are_dropped_where_the_case_says_so(tmp_path: Path) -> None:
    """The first of equal texts stays, none of contradicting ones; the report tells how many are gone."""
    rows = [["nice", "good", ""], ["NICE", "good", ""], ["odd", "good", ""], ["odd", "bad", ""], ["dull", "bad", ""]]
    path = write(tmp_path / "rows.csv", rows)
    found = gather([case(path, duplicates="drop")], seed=1)
    assert found.table["text"].to_pylist() == ["nice", "dull"]
    assert found.cases[0].source == "file rows.csv; 3 duplicates left out"
    assert gather([case(path, duplicates="drop", limit=1)], seed=1).table.num_rows == 1


def test_distinct_rows() -> None:
    """By hashes of text and label: the first of those that agree, none of those that do not."""
    assert distinct([7, 8, 7, 9, 9, 5], [1, 1, 1, 1, 2, 2]) == [0, 1, 5]
    assert distinct([], []) == []


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    """For text, label, id and slices alike, with what may have been meant."""
    path = write(tmp_path / "rows.csv", films(3))
    for keys in ({"columns": {"text": "txet"}}, {"columns": {"id": "txet"}}, {"slices": ("txet",)}):
        with pytest.raises(DataError, match="no column 'txet'; the columns are: text, label, kind") as caught:
            gather([case(path, **keys)], seed=1)
        assert caught.value.fix == "did you mean 'text'? for 'txet'"


def test_a_label_of_the_map_that_no_row_has(tmp_path: Path) -> None:
    """It is misspelt, most likely."""
    path = write(tmp_path / "rows.csv", films(4))
    with pytest.raises(DataError, match="no row has the label 'goood'") as caught:
        gather([case(path, label_map={"goood": "positive"})], seed=1)
    assert caught.value.fix == "correct label_map; did you mean 'good'?"


def test_a_column_of_ours_cannot_be_a_slice(tmp_path: Path) -> None:
    """Rows are cut by label and case anyway."""
    with pytest.raises(DataError, match="cannot be called 'label'"):
        gather([case(write(tmp_path / "rows.csv", films(2)), slices=("label",))], seed=1)


def test_rows_are_read_once(tmp_path: Path, cache: Path) -> None:
    """The second call takes what is kept; a damaged file, changed data and `refresh` are read anew."""
    path = write(tmp_path / "rows.csv", films(5))
    first = gather([case(path)], seed=1)
    (kept,) = cache.rglob(cases.ROWS)
    made = kept.stat().st_ino
    assert gather([case(path)], seed=1).table.equals(first.table)
    assert kept.stat().st_ino == made
    gather([case(path)], seed=1, refresh=True)
    assert kept.stat().st_ino != made
    kept.write_bytes(kept.read_bytes()[:-20])
    assert gather([case(path)], seed=1).table.num_rows == 5
    write(path, films(6))
    assert gather([case(path)], seed=1).table.num_rows == 6


def test_a_table_is_mapped_and_not_read(tmp_path: Path) -> None:
    """Its columns lie in the file of the cache: arrow holds none of them in memory of its own."""
    import pyarrow as pa

    path = write(tmp_path / "rows.csv", [[f"{n} " + "long text " * 200, "good", "a"] for n in range(500)])
    gather([case(path)], seed=1)
    before = pa.total_allocated_bytes()
    found = gather([case(path)], seed=1)
    assert found.table.nbytes > 500 * 2000
    assert pa.total_allocated_bytes() - before < found.table.nbytes / 10


def test_other_formats(tmp_path: Path) -> None:
    """Whatever a recipe reads: JSON lines, and a loader of one's own."""
    (tmp_path / "rows.jsonl").write_text('{"text": "nice", "label": "good"}\n', encoding="utf-8")
    assert gather([case(tmp_path / "rows.jsonl")], seed=1).table["text"].to_pylist() == ["nice"]
    (tmp_path / "mine.py").write_text(
        "def load(path):\n    yield {'text': path.read_text(), 'label': 1.0, 'id': 'x'}\n", encoding="utf-8"
    )
    (tmp_path / "rows.txt").write_text("dull", encoding="utf-8")
    source = Source(path=tmp_path / "rows.txt", loader=Path(f"{tmp_path}/mine.py:load"))
    found = gather([Case(name="own", source=source, columns={"id": "id"})], seed=1)
    assert found.table.to_pylist() == [{"text": "dull", "label": "1", "id": "x"}]


def test_a_run_without_rows_to_give(tmp_path: Path) -> None:
    """No dataset beside the model is told, and what to do."""
    with pytest.raises(ArtifactError, match="holds no dataset"):
        rows_of_run(tmp_path)


def write_dataset(run: Path, row: dict[str, str | None], *, rows: int = 1) -> None:
    """A dataset artifact, each of whose splits has a row so many times."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = run.with_name("made")
    made.mkdir()
    run.mkdir()
    schema = pa.schema([(name, pa.string()) for name in row])
    for split in ("train", "validation", "test"):
        pq.write_table(pa.Table.from_pylist([row] * rows, schema=schema), made / f"{split}.parquet")
    profile = {"source": "file rows.csv", "licence": "MIT", "labels": ["good", "bad"]}
    (made / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    seal(made, target=run / "dataset", kind="dataset", made_by="prepare@1", made_from=(), key="", settings={}, facts={})


def test_the_test_rows_of_a_run(tmp_path: Path) -> None:
    """Texts, labels, ids and the recipe's slices, with the recipe's order of labels; groups are nobody's business. A
    text that stands twice was let through by the recipe."""
    row = {"text": "nice", "label": "good", "group": None, "id": "a", "shop": "x"}
    write_dataset(tmp_path / "run", row, rows=2)
    found = rows_of_run(tmp_path / "run")
    assert found.table.to_pylist() == [{"text": "nice", "label": "good", "id": "a", "shop": "x"}] * 2
    assert found.names == ("good", "bad")
    assert (found.cases[0].source, found.cases[0].licence) == ("test rows of file rows.csv", "MIT")


def test_a_run_without_test_rows(tmp_path: Path) -> None:
    """Nothing can be judged on nothing."""
    write_dataset(tmp_path / "run", {"text": "", "label": "", "group": None, "id": ""}, rows=0)
    with pytest.raises(DataError, match="has no rows"):
        rows_of_run(tmp_path / "run")
