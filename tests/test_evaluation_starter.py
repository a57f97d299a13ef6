"""The starter suite: one that loads, reads its rows, and has margins that they support."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from checkpoints import sentences
from tiny import WORDS, write_model_folder

from ftdeploy.errors import ConfigError, DataError, SourceError, StorageError
from ftdeploy.evaluation import evaluate_suite
from ftdeploy.evaluation.cases import gather
from ftdeploy.evaluation.plan import plan
from ftdeploy.evaluation.starter import write_suite
from ftdeploy.suite import load_suite


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of the test's own; real rows are read before it is set."""
    sentences()
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))


def write(path: Path, count: int, header: tuple[str, str] = ("text", "label")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        rows = sentences()[:count]
        csv.writer(handle).writerows([header, *((row["text"], row["label"]) for row in rows)])
    return path


@pytest.mark.parametrize("count", [60, 600, 6000])
def test_what_it_demands_the_rows_can_decide(tmp_path: Path, count: int) -> None:
    """Of real rows, few or many: the plan of the written suite has no gate that they cannot decide."""
    made = write_suite(write(tmp_path / "Film Reviews.csv", count), tmp_path / "new" / "suite.yaml")
    suite = load_suite(made.suite)
    assert suite.name == suite.cases[0].name == "film-reviews"
    rows = gather(suite.cases, seed=suite.seed, task=suite.task)
    assert rows.cases[0].digest == made.digest == suite.cases[0].digest
    assert (len(rows), set(rows.names)) == (made.rows, {"negative", "positive"})
    found = plan(suite, rows)
    assert {gate.kind for gate in suite.gates} == {
        "non-inferiority", "slices", "flips", "calibration", "robustness", "consistency"
    }  # fmt: skip
    assert [gate["gate"] for gate in found["gates"] if gate["enough"] is False] == []
    assert found["notes"] == []


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """As by a run, and not by a trace."""
    rows = write(tmp_path / "rows.csv", 60)
    with pytest.raises(StorageError, match=r"suite\.yaml cannot be written"):
        write_suite(rows, rows / "suite.yaml")


def test_more_rows_have_narrower_margins(tmp_path: Path) -> None:
    """By about the square root."""
    few, many = (
        write_suite(write(tmp_path / f"{n}.csv", n), tmp_path / f"{n}.yaml", text="text", label="label")
        for n in (400, 6400)
    )
    assert 2 < few.margin / many.margin < 5


def test_a_model_can_be_judged_by_it(tmp_path: Path) -> None:
    """As it stands: an equal model passes, under columns of the file's own and with a legacy encoding."""
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="cp1252", newline="") as handle:
        rows = [(f"le film était {WORDS[n % 10]} n° {n}", ("negative", "positive")[n % 10 // 5]) for n in range(200)]
        csv.writer(handle).writerows([("avis", "note"), *rows])
    made = write_suite(path, tmp_path / "suite.yaml")
    assert (made.text, made.label) == ("avis", "note")
    write_model_folder(tmp_path / "model")
    suite = load_suite(made.suite).model_copy(update={"resamples": 1000, "timing_rows": 8, "timing_rounds": 5})
    place = os.fspath(tmp_path / "model")
    found = evaluate_suite(suite, candidate=place, baseline=place, report=tmp_path / "out").report
    assert (found.verdict, found.rows) == ("pass", 200)


def test_suggested_golden_rows_are_rows(tmp_path: Path) -> None:
    """One of each label, as comments: uncommented, the suite still loads."""
    made = write_suite(write(tmp_path / "rows.csv", 100), tmp_path / "suite.yaml")
    text = made.suite.read_text(encoding="utf-8")
    assert load_suite(made.suite).golden == ()
    taken = text.replace("# golden:", "golden:").replace("#   - {", "  - {")
    made.suite.write_text(taken, encoding="utf-8")
    golden = load_suite(made.suite).golden
    assert {row.label for row in golden} == {"negative", "positive"}
    assert {(row.text, row.label) for row in golden} <= {(row["text"], row["label"]) for row in sentences()}


def test_faults(tmp_path: Path) -> None:
    """Nothing is overwritten; a file that is not there, and columns that are not, are told."""
    path = write(tmp_path / "rows.csv", 60)
    (tmp_path / "mine.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="was not touched"):
        write_suite(path, tmp_path / "mine.yaml")
    assert (tmp_path / "mine.yaml").read_text(encoding="utf-8") == "mine"
    with pytest.raises(SourceError):
        write_suite(tmp_path / "gone.csv", tmp_path / "new.yaml")
    with pytest.raises(DataError, match="no column 'txt'"):
        write_suite(path, tmp_path / "new.yaml", text="txt")
    assert not (tmp_path / "new.yaml").exists()


def test_a_second_text_is_named(tmp_path: Path) -> None:
    """The case has both columns, and suggested golden rows have both texts."""
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        rows = [(row["text"], f"said {n}", row["label"]) for n, row in enumerate(sentences()[:80])]
        csv.writer(handle).writerows([("claim", "evidence", "label"), *rows])
    made = write_suite(path, tmp_path / "suite.yaml", text="claim", text_pair="evidence")
    suite = load_suite(made.suite)
    assert gather(suite.cases, seed=suite.seed, task=suite.task).pairs
    text = made.suite.read_text(encoding="utf-8")
    (tmp_path / "golden.yaml").write_text(text.replace("# golden:", "golden:").replace("#   - {", "  - {"))
    golden = load_suite(tmp_path / "golden.yaml").golden
    assert golden
    assert all(str(row.text_pair).startswith("said ") for row in golden)


def test_any_number_of_labels_is_seen_or_named(tmp_path: Path) -> None:
    """Lists are seen; a separator is named. The suite says its task, and judges sets by metrics of sets."""
    rows = [(row["text"], [row["label"]] + ["long"] * (len(row["text"]) > 100)) for row in sentences()[:120]]
    lines = [json.dumps({"text": text, "topics": names}) for text, names in rows]
    (tmp_path / "lists.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with (tmp_path / "between.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("text", "topics"), *((text, ";".join(names)) for text, names in rows)])
    made = [
        write_suite(tmp_path / "lists.jsonl", tmp_path / "lists.yaml"),
        write_suite(tmp_path / "between.csv", tmp_path / "between.yaml", separator=";"),
    ]
    for one in made:
        suite = load_suite(one.suite)
        assert (one.task, one.label, suite.task) == ("multi-label-classification", "topics", one.task)
        assert one.labels.keys() == {"long", "negative", "positive"}
        found = gather(suite.cases, seed=1, task=suite.task)
        assert found.cases[0].digest == one.digest
        assert [gate["gate"] for gate in plan(suite, found)["gates"] if gate["enough"] is False] == []
        assert "calibration" not in {gate.kind for gate in suite.gates}
        text = one.suite.read_text(encoding="utf-8")
        one.suite.write_text(text.replace("# golden:", "golden:").replace("#   - {", "  - {"), encoding="utf-8")
        golden = {row.label for row in load_suite(one.suite).golden}
        assert golden <= {"negative", "positive", "long, negative", "long, positive"}
        assert golden
    assert made[0].rows == made[1].rows == 120


def test_entities_are_seen(tmp_path: Path) -> None:
    """Tokens with tags, and spans in texts; a second text does not go with them."""
    words, tags = ["Aspirin", "eases", "acute", "headache"], ["B-Chemical", "O", "B-Disease", "I-Disease"]
    rows = [{"id": str(n), "tokens": [*words, str(n)], "ner_tags": [*tags, "O"]} for n in range(60)]
    (tmp_path / "tokens.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    spans = [{"text": f"Aspirin {n}", "entities": [{"start": 0, "end": 7, "label": "Chemical"}]} for n in range(60)]
    (tmp_path / "spans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in spans), encoding="utf-8")
    for name, columns in (("tokens", ("tokens", "ner_tags")), ("spans", ("text", "entities"))):
        made = write_suite(tmp_path / f"{name}.jsonl", tmp_path / f"{name}.yaml")
        assert (made.task, made.text, made.label) == ("token-classification", *columns)
        suite = load_suite(made.suite)
        assert suite.metrics == ("entity_f1", "entity_precision", "entity_recall")
        assert gather(suite.cases, seed=1, task=suite.task).cases[0].digest == made.digest
    with pytest.raises(DataError, match="holds entities, and a second text is named"):
        write_suite(tmp_path / "tokens.jsonl", tmp_path / "new.yaml", text_pair="id")


def test_numbers_are_not_guessed(tmp_path: Path) -> None:
    """Many of them are no choice; what to write instead is told."""
    for count in (60, 300):
        (tmp_path / "n.csv").write_text(
            "text,label\n" + "".join(f"text {n},{n / 7}\n" for n in range(count)), encoding="utf-8"
        )
        with pytest.raises(DataError, match=f"{count} different numbers") as caught:
            write_suite(tmp_path / "n.csv", tmp_path / "n.yaml", text="text", label="label")
        assert "`task: text-regression`" in caught.value.fix
