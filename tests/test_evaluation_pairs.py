"""Suites on rows of two texts: their cases, their golden rows, and models that read what the rows do not have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted import ScriptedModel
from tiny import write_model_folder
from tiny_pairs import write_pair_model

from ftdeploy.errors import ConfigError, DataError, ModelError
from ftdeploy.evaluation import cases
from ftdeploy.evaluation.cases import Rows
from ftdeploy.models import Model, open_model
from ftdeploy.origin import Source
from ftdeploy.pairs import SEPARATOR, is_pair, parts
from ftdeploy.suite import Case, Golden, Suite
from ftdeploy.validate.evaluation import evaluate_models
from ftdeploy.validate.perturb import perturb
from ftdeploy.verdict import Compared, Report

GOOD, BAD = ("great", "best", "lovely"), ("awful", "bad", "poor")
COLUMNS = {"text": "query", "text_pair": "document", "label": "label"}
gather = partial(cases.gather, task="text-classification")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own."""
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))


def case(path: Path, rows: Sequence[dict[str, Any]], **keys: Any) -> Case:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Case(name=path.stem, source=Source(path=path), **{"columns": COLUMNS, **keys})


def films(count: int) -> list[dict[str, str]]:
    return [
        {
            "query": f"the film {(GOOD, BAD)[n % 2][n % 3]}",
            "document": f"a man and a woman {n} {(GOOD, BAD)[n % 2][(n + 1) % 3]}",
            "label": ("positive", "negative")[n % 2],
        }
        for n in range(count)
    ]


def evaluated(suite: Suite, rows: Rows, candidate: Model, baseline: Model | None = None) -> Report:
    dataset = Compared(made_by="test", digest="d" * 64, kind="dataset")
    return evaluate_models(suite, rows.table, candidate=candidate, baseline=baseline, dataset=dataset, name="m",
                           task="text-classification", pairs=rows.pairs)[0]  # fmt: skip


def test_a_case_names_both_columns(tmp_path: Path) -> None:
    """Its rows are pairs; that a first text recurs is no fault, that a pair does is one."""
    rows = [
        {"query": "q", "document": "one", "label": "yes"},
        {"query": "q", "document": "two", "label": "no"},
    ]
    found = gather([case(tmp_path / "films.jsonl", rows)], seed=1)
    assert found.pairs
    assert [parts(text) for text in found.table["text"].to_pylist()] == [("q", "one"), ("q", "two")]
    assert found.table.column_names == ["text", "label", "id"]
    with pytest.raises(DataError, match="1 and 3 have the same text"):
        gather([case(tmp_path / "twice.jsonl", [*rows, {**rows[0], "document": "ONE"}])], seed=1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"query": "q", "label": "yes"}, "2: the text has no second one beside it"),
        ({"query": "q", "document": "  ", "label": "yes"}, "2: the text has no second one beside it"),
        ({"query": "q", "document": ["d"], "label": "yes"}, "2: the text has a second one that is a list, not text"),
        ({"query": " ", "document": "d", "label": "yes"}, "2: the text is empty"),
    ],
)
def test_half_a_pair_is_a_fault_of_its_row(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With its place."""
    with pytest.raises(DataError) as caught:
        gather([case(tmp_path / "films.jsonl", [{"query": "q", "document": "d", "label": "no"}, row])], seed=1)
    assert words in caught.value.what


def test_a_wrong_second_column_is_told(tmp_path: Path) -> None:
    """With those there are."""
    columns = {**COLUMNS, "text_pair": "documnet"}
    with pytest.raises(DataError, match="there is no column 'documnet'"):
        gather([case(tmp_path / "films.jsonl", films(4), columns=columns)], seed=1)


def test_cases_of_pairs_and_of_single_texts_are_not_mixed(tmp_path: Path) -> None:
    """No model reads both."""
    single = case(tmp_path / "single.jsonl", films(4), columns={"text": "query", "label": "label"})
    two = case(tmp_path / "two.jsonl", films(4))
    with pytest.raises(DataError, match="rows of case two have two texts, and those of case single have one"):
        gather([single, two], seed=1)


def test_a_model_that_reads_other_rows_is_refused(tmp_path: Path) -> None:
    """Before it is asked, both ways; one that does not say what it reads is asked."""
    write_model_folder(tmp_path / "single")
    write_pair_model(tmp_path / "pairs")
    pairs = gather([case(tmp_path / "two.jsonl", films(60))], seed=1)
    single = gather([case(tmp_path / "one.jsonl", films(60), columns={"text": "document", "label": "label"})], seed=1)
    suite = Suite(name="s", gates=(), resamples=1000, timing_rows=8, timing_rounds=5)
    for folder, rows, words in (
        ("single", pairs, "reads single texts, and the rows have two each"),
        ("pairs", single, "reads two texts a row, and the rows have one"),
    ):
        with pytest.raises(ModelError, match=words):
            evaluated(suite, rows, open_model(str(tmp_path / folder), device="cpu"))
    silent = ScriptedModel(lambda texts: np.full((len(texts), 2), 0.5, dtype=np.float32), ("negative", "positive"))
    assert evaluated(suite, pairs, silent).rows == 60


def test_a_suite_runs_on_pairs(tmp_path: Path) -> None:
    """Perturbed, swapped, reordered and golden: a text that is changed stays two, and the report shows both without
    the sign between them."""
    write_pair_model(tmp_path / "pairs")
    rows = gather([case(tmp_path / "films.jsonl", films(120))], seed=1)
    asked: list[str] = []
    opened = open_model(str(tmp_path / "pairs"), device="cpu")

    def answer(texts: Sequence[str]) -> Any:
        asked.extend(texts)
        return opened.scores(list(texts))

    perturbations = ("typos", "case", "whitespace", "punctuation", "lookalikes", "length")
    gates = [
        *({"kind": "robustness", "perturbation": name, "maximum": 0.9, "rows": 40} for name in perturbations),
        {"kind": "directional", "add": "awful bad", "label": "negative", "maximum": 0.9, "rows": 40},
        {"kind": "consistency", "maximum": 0.1, "rows": 40},
    ]
    suite = Suite.model_validate(
        {
            "name": "s", "gates": gates, "resamples": 1000, "timing_rows": 8, "timing_rounds": 5,
            "swaps": [{"name": "people", "pairs": [["man", "woman"]]}],
            "golden": [{"text": "great", "text_pair": "best film", "label": "positive"}],
        }
    )  # fmt: skip
    model = ScriptedModel(answer, ("negative", "positive"))
    report = evaluated(suite, rows, model)
    assert all(is_pair(text) for text in asked)
    texts = [parts(text) for text in rows.table["text"].to_pylist()]
    both = {tuple(perturb(one, "typos", seed=suite.seed) for one in pair) for pair in texts}
    assert len(both & set(map(parts, asked))) >= 40, "each text is changed as it would be alone"
    assert len(report.swaps) == 1
    assert report.swaps[0].rows == 120
    assert report.golden[0].text == "great | best film"
    assert report.golden[0].candidate == "positive"
    assert SEPARATOR not in report.model_dump_json()
    assert "\\u001f" not in report.model_dump_json()


@pytest.mark.parametrize(
    ("golden", "pairs", "words"),
    [
        ({"text": "great", "label": "positive"}, True, "a golden row wants its second text, `text_pair`"),
        ({"text": "great", "text_pair": "best", "label": "positive"}, False, "a golden row has one text"),
    ],
)
def test_golden_rows_are_what_the_model_reads(golden: dict[str, str], pairs: bool, words: str, tmp_path: Path) -> None:
    """Named by their place in the suite."""
    columns = COLUMNS if pairs else {"text": "document", "label": "label"}
    rows = gather([case(tmp_path / "films.jsonl", films(60), columns=columns)], seed=1)
    model = ScriptedModel(lambda texts: np.full((len(texts), 2), 0.5, dtype=np.float32), ("negative", "positive"))
    suite = Suite(name="s", gates=(), golden=(Golden.model_validate(golden),), timing_rows=8, timing_rounds=5)
    with pytest.raises(ConfigError) as caught:
        evaluated(suite, rows, model)
    assert [(one.path, one.message) for one in caught.value.problems] == [("golden[0]", words)]
