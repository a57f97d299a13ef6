"""Suites on rows whose labels are no single names: lists of names, spans, tags, numbers; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scripted import ScriptedModel

from ftdeploy.errors import ConfigError, DataError
from ftdeploy.evaluation.cases import Rows, gather
from ftdeploy.evaluation.plan import plan
from ftdeploy.models.model import Model
from ftdeploy.origin import Source
from ftdeploy.suite import Case, Suite
from ftdeploy.tasks.said import Said
from ftdeploy.validate.evaluation import evaluate_models
from ftdeploy.verdict import Compared, Report

SETS, SPANS, NUMBERS = "multi-label-classification", "token-classification", "text-regression"
FAST: dict[str, Any] = {"resamples": 1000, "timing_rows": 8, "timing_rounds": 5, "slice_rows": 10}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))


def case(path: Path, rows: Sequence[Any], **keys: Any) -> Case:
    lines = rows if path.suffix != ".jsonl" else [json.dumps(row) for row in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Case(name=path.stem, source=Source(path=path), **keys)


def labels(rows: Rows) -> list[str]:
    found: list[str] = rows.table["label"].to_pylist()
    return found


def test_any_number_of_labels_is_read_as_prepare_reads_it(tmp_path: Path) -> None:
    """A list in JSON Lines and in Parquet, one written as JSON, names with a separator: the same sets, counted by name;
    the network's outputs are the names, whatever rows have none of them."""
    told: list[tuple[str, list[str]]] = [("one", ["long", "good"]), ("two", ["good"]), ("three", [])]
    table = pa.table({"text": [text for text, _ in told], "label": [names for _, names in told]})
    pq.write_table(table, tmp_path / "lists.parquet")
    cases = [
        case(tmp_path / "lists.jsonl", [{"text": text, "label": names} for text, names in told]),
        Case(name="lists", source=Source(path=tmp_path / "lists.parquet")),
        case(tmp_path / "json.csv", ["text,label", *(f'{t},"{json.dumps(n).replace(chr(34), chr(34) * 2)}"'
                                                      for t, n in told)]),
        case(tmp_path / "between.csv", ["text,label", "one,long; good", "two,good", "three,;"],
             columns={"label_separator": ";"}),
    ]  # fmt: skip
    for one in cases:
        found = gather([one], seed=1, task=SETS)
        assert labels(found) == ['["good", "long"]', '["good"]', "[]"], one.source
        assert found.labels[one.name] == {"(none)": 1, "good": 2, "long": 1}
        assert found.names == ("good", "long")


def test_an_empty_cell_may_be_a_fault(tmp_path: Path) -> None:
    """Where the suite says that such a row has not been labelled; and where all cells are empty, whatever it says."""
    rows = ["text,label", "a,x;y", "b,", "c,[]"]
    one = case(tmp_path / "r.csv", rows, columns={"label_separator": ";"})
    assert labels(gather([one], seed=1, task=SETS)) == ['["x", "y"]', "[]", "[]"]
    one = case(tmp_path / "r.csv", rows, columns={"label_separator": ";", "empty_label": "missing"})
    with pytest.raises(DataError, match="3: label is missing"):
        gather([one], seed=1, task=SETS)
    one = case(tmp_path / "r.csv", ["text,label", "a,", "b,"], columns={"label_separator": ";"})
    with pytest.raises(DataError, match="the column 'label' is empty in all 2 rows"):
        gather([one], seed=1, task=SETS)


def test_numbers_of_tags_have_names_in_the_suite(tmp_path: Path) -> None:
    """As in a recipe; a scheme likewise."""
    rows = [{"tokens": ["a", "b"], "tags": [1, 2]}, {"tokens": ["c"], "tags": [0]}]
    columns = {"text": "tokens", "label": "tags", "tag_names": ["O", "I-X", "B-X"]}
    one = case(tmp_path / "rows.jsonl", rows, columns=columns)
    one = one.model_copy(update={"source": Source(path=tmp_path / "rows.jsonl", scheme="iob1")})
    assert labels(gather([one], seed=1, task=SPANS)) == ['[[0,1,"X"],[2,3,"X"]]', "[]"]


def test_a_case_maps_the_names_in_a_label(tmp_path: Path) -> None:
    """Each by itself, kinds of entities likewise; a name that no row has is told."""
    rows = [{"text": "a", "label": ["lang", "gut"]}, {"text": "b", "label": ["gut"]}]
    one = case(tmp_path / "sets.jsonl", rows, label_map={"lang": "long", "gut": "good"})
    assert labels(gather([one], seed=1, task=SETS)) == ['["good", "long"]', '["good"]']
    with pytest.raises(DataError, match="no row has the label 'guut'"):
        gather([case(tmp_path / "sets.jsonl", rows, label_map={"guut": "good"})], seed=1, task=SETS)
    spans = [{"text": "Aspirin helps", "label": [{"start": 0, "end": 7, "label": "Stoff"}]}]
    one = case(tmp_path / "spans.jsonl", spans, label_map={"Stoff": "Chemical"})
    assert labels(gather([one], seed=1, task=SPANS)) == ['[[0,7,"Chemical"]]']


def test_entities_are_read_as_prepare_reads_them(tmp_path: Path) -> None:
    """Spans as lists or objects, tokens with tags, CoNLL files; rows are counted by kind, and outputs are tags."""
    text, spans = "Aspirin eases acute headache", '[[0,7,"Chemical"],[14,28,"Disease"]]'
    tags = ["B-Chemical", "O", "B-Disease", "I-Disease"]
    conll = "\n".join(f"{token}\t{tag}" for token, tag in zip(text.split(), tags, strict=True))
    objects = [{"start": start, "end": end, "label": kind} for start, end, kind in json.loads(spans)]
    cases = [
        case(tmp_path / "spans.jsonl", [{"text": text, "label": json.loads(spans)}, {"text": "none", "label": []}]),
        case(tmp_path / "objects.jsonl", [{"text": text, "label": objects}, {"text": "none", "label": []}]),
        case(tmp_path / "tokens.jsonl", [{"tokens": text.split(), "tags": tags}, {"tokens": ["none"], "tags": ["O"]}],
             columns={"text": "tokens", "label": "tags"}),
        case(tmp_path / "tags.conll", [conll, "", "none\tO"], columns={"label": "tags"}),
    ]  # fmt: skip
    for one in cases:
        found = gather([one], seed=1, task=SPANS)
        assert labels(found) == [spans, "[]"], one.name
        assert found.table["text"].to_pylist() == [text, "none"]
        assert found.labels[one.name] == {"Chemical": 1, "Disease": 1, "O": 1}
        assert found.names == ("O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease")


def test_numbers_and_texts_without_labels(tmp_path: Path) -> None:
    """Numbers in one form, however they are written; embeddings want no label."""
    found = gather([case(tmp_path / "n.csv", ["text,label", "a,3.50", "b,1e3"])], seed=1, task=NUMBERS)
    assert [float(label) for label in labels(found)] == [3.5, 1000.0]
    assert found.labels["n"] == {"(number)": 2}
    bare = case(tmp_path / "t.csv", ["text", "a", "b"], columns={"label": None})
    assert gather([bare], seed=1, task="feature-extraction").names == ()


@pytest.mark.parametrize(
    ("task", "row", "words"),
    [
        (SETS, {"text": "a", "label": "long; good"}, "1: label does not fit: 'long; good' is no list of labels"),
        (SETS, {"text": "a", "label": ["x", 3]}, "1: label does not fit: \"['x', 3]\" holds what is no name"),
        (SPANS, {"text": "a", "label": [[0, 9, "K"]]}, "1: label does not fit: the span 0:9 does not lie in the text"),
        (SPANS, {"text": "a b", "tokens": ["a", "b"], "label": ["O"]}, "1: label does not fit: 2 tokens have 1 tags"),
        (NUMBERS, {"text": "a", "label": "three"}, "1: label does not fit: 'three'"),
        ("text-classification", {"text": "a", "label": ["x"]}, "1: label is a list, not text"),
    ],
)
def test_labels_of_another_kind_are_faults_of_their_rows(task: str, row: Any, words: str, tmp_path: Path) -> None:
    """With their place, why, and that the suite says what labels are."""
    with pytest.raises(DataError) as caught:
        gather([case(tmp_path / "rows.jsonl", [row, {"text": "b"}])], seed=1, task=task)
    assert words in caught.value.what
    assert "`task`" in caught.value.fix


@pytest.mark.parametrize(
    ("task", "columns", "words"),
    [
        (SPANS, {"text_pair": "b"}, "case c: `columns.text_pair` is a second text"),
        (SPANS, {"label_separator": ";"}, "`columns.label_separator` goes with any number of labels"),
        (SETS, {"label": None}, "case c: `columns.label` is null, and multi-label-classification wants labels"),
    ],
)
def test_columns_that_the_task_does_not_have(task: str, columns: Any, words: str) -> None:
    """When the suite is read."""
    with pytest.raises(ValueError, match=words):
        Suite(task=task, cases=(Case(name="c", source=Source(path=Path("rows.csv")), columns=columns),))


def test_rows_of_another_task_are_refused(tmp_path: Path) -> None:
    """A recipe's, by its own word."""
    recipe = {"version": 1, "name": "r", "task": SETS, "data": {"source": {"path": "rows.csv"}},
              "model": {"path": str(tmp_path)}}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    one = Case(name="c", recipe=tmp_path / "recipe.yaml")
    with pytest.raises(ConfigError, match="the recipe r is of multi-label-classification, and the suite of text-cl"):
        gather([one], seed=1, task="text-classification")


def test_a_plan_counts_names(tmp_path: Path) -> None:
    """Not sets, of which each may be another; a golden row says a whole answer, and names no label that is odd."""
    rows = [{"text": str(n), "label": ["a", "b", "c"][n % 3 :]} for n in range(12)]
    suite = Suite.model_validate(
        {"name": "s", "task": SETS, "cases": [case(tmp_path / "rows.jsonl", rows).model_dump()], "gates": [],
         "golden": [{"text": "x", "label": "a, b"}], **FAST}
    )  # fmt: skip
    found = plan(suite, gather(suite.cases, seed=1, task=suite.task))
    assert found["cases"][0]["labels"] == {"a": 4, "b": 8, "c": 12}
    assert found["notes"] == []


class Sets(ScriptedModel):
    """Says a set of labels of each text: those that stand in it."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(lambda texts: np.empty((len(texts), len(names)), dtype=np.float32), names)

    def said(self, texts: Sequence[str], **_options: Any) -> Said:
        found = [json.dumps([name for name in self.labels if name in text]) for text in texts]
        return Said(labels=found, scores=np.ones(len(found), dtype=np.float32))

    def said_alone(self, texts: Sequence[str]) -> Said:
        return self.said(texts)


def judged(suite: Suite, rows: Rows, model: Model) -> Report:
    dataset = Compared(made_by="test", digest="d" * 64, kind="dataset")
    return evaluate_models(suite, rows.table, candidate=model, baseline=None, dataset=dataset, name="m",
                           task=suite.task, pairs=rows.pairs)[0]  # fmt: skip


@pytest.mark.parametrize("pairs", [False, True])
def test_a_suite_of_sets_runs_on_rows_of_somebodys_own(pairs: bool, tmp_path: Path) -> None:
    """Single texts and pairs: the figures are those of the rows, golden rows are whole answers."""
    second = {"text_pair": "other"} if pairs else {}
    rows = [
        {"text": f"good {n}", "other": "long" if n % 2 else "so", "label": ["good", "long"] if n % 2 else ["long"]}
        for n in range(40)
    ]
    if not pairs:
        rows = [{"text": f"{row['text']} {row['other']}", "label": row["label"]} for row in rows]
    golden = {"text": "good", "label": "good, long"} | ({"text_pair": "long"} if pairs else {"text": "good long"})
    suite = Suite.model_validate(
        {"name": "s", "task": SETS, "golden": [golden], "metrics": ["label_recall"],
         "cases": [case(tmp_path / "rows.jsonl", rows, columns=second).model_dump()],
         "gates": [{"kind": "floor", "metric": "label_f1", "minimum": 0.2}], **FAST}
    )  # fmt: skip
    report = judged(suite, gather(suite.cases, seed=1, task=suite.task), Sets(("good", "long")))
    found = {one.metric: one.candidate.value for one in report.metrics}
    assert found["label_recall"] == pytest.approx(40 / 60)  # of the rows that are `long` alone it says `good`
    assert found["accuracy"] == 0.5
    assert report.verdict == "pass"
    assert report.golden[0].candidate == "good, long"


def test_a_metric_of_a_label_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    """It would be 0 of every model, and the gate pass whatever the model says."""
    rows = [{"text": f"good {n}", "label": ["good"]} for n in range(12)]
    suite = Suite.model_validate(
        {"name": "s", "task": SETS, "metrics": ["label_recall:good"],
         "cases": [case(tmp_path / "rows.jsonl", rows).model_dump()],
         "gates": [{"kind": "non-inferiority", "metric": "label_f1:goood", "margin": 0.1}], **FAST}
    )  # fmt: skip
    model = Sets(("good", "long"))
    dataset = Compared(made_by="test", digest="d" * 64, kind="dataset")
    table = gather(suite.cases, seed=1, task=suite.task).table
    with pytest.raises(ConfigError) as caught:
        evaluate_models(suite, table, candidate=model, baseline=Sets(("good", "long")), dataset=dataset, name="m",
                        task=suite.task)  # fmt: skip
    assert [(one.path, one.hint) for one in caught.value.problems] == [("gates[0].metric", "did you mean 'good'?")]
