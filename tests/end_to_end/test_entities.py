"""token-classification through the whole of FLOW, on real rows, and its bundle as people and programs use it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiny_entities import make_tiny_entities, write_tiny_entities
from tiny_run import TinyRun, artifact, ftdeploy, refusal
from workspace import serving

from ftdeploy.dataset import read_split
from ftdeploy.errors import ConfigError, ModelError
from ftdeploy.predictor import Predictor
from ftdeploy.prepare.cleaning.counts import Rejected
from ftdeploy.prepare.privacy.guard import Cells, make_guard
from ftdeploy.recipe import load_recipe
from ftdeploy.recipe.privacy import Privacy
from ftdeploy.serve.traffic import read_segment
from ftdeploy.spans import load
from ftdeploy.verdict import read_report

SENTENCE = "Naloxone reverses the antihypertensive effect of clonidine in rats with hypotension."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of the tiny recipe."""
    return make_tiny_entities(tmp_path_factory.mktemp("entities"))


@pytest.fixture(scope="module")
def url(run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its bundle, served."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with serving(command, cwd=folder) as found:
        yield found


def _asked(url: str, inputs: str | list[str]) -> Any:
    reply = httpx.post(f"{url}/predict", json={"inputs": inputs}, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_the_dataset_keeps_the_words_of_every_span(run: TinyRun) -> None:
    """Characters of the text as it was written, for each row of each split."""
    table = read_split(artifact(run.run, "dataset"), "train")
    spans = [text[s.start : s.end] for text, label in zip(*(table[name].to_pylist() for name in ("text", "label")),
                                                          strict=True) for s in load(label)]  # fmt: skip
    assert len(spans) > 200
    assert all(word == word.strip() != "" for word in spans)


def test_the_report_is_about_spans(run: TinyRun) -> None:
    """Strict F1 and what else the suite names, a confusion of kinds, flips with words, slices by what prevails."""
    report = read_report(run.run / "report" / "report.json")
    assert {metric.metric for metric in report.metrics} >= {"entity_f1", "entity_recall", "entity_f1:Disease"}
    assert report.metrics[0].candidate.value > 0, "the tiny model has learned nothing, and nothing here is proven"
    assert report.confusion.labels == ("Chemical", "Disease", "O")
    assert "label" in {part.slice for part in report.slices}
    page = (run.run / "report" / "report.html").read_text(encoding="utf-8")
    assert "entity_f1" in page
    assert "[[0," not in page, "spans are shown by their words"


def test_entities_have_their_place_in_the_text(url: str) -> None:
    """In the shape of Hugging Face's pipelines, one text or several; an empty text has none."""
    one = _asked(url, SENTENCE)
    several = _asked(url, [SENTENCE, "", "x"])
    assert several[0] == one
    assert several[1] == []
    for entity in one:
        assert entity.keys() == {"entity_group", "score", "word", "start", "end"}
        assert SENTENCE[entity["start"] : entity["end"]] == entity["word"]


def test_a_sentence_is_answered_alike_alone_and_in_fifty_pages(run: TinyRun) -> None:
    """Each sentence of a document is a piece of its own; scores of the float model differ by rounding at most."""
    rows = read_split(artifact(run.run, "dataset"), "test")["text"].to_pylist()[:60]
    document = "\n\n".join(rows * 25)
    assert len(document) > 150_000
    predictor = Predictor(run.run / "onnx", device="cpu")
    answers = predictor.task.decode(predictor.predict([document]), predictor.signature, [document])[0]
    alone = predictor.task.decode(predictor.predict(rows), predictor.signature, rows)
    at, expected = 0, []
    for row, answer in zip(rows * 25, alone * 25, strict=True):
        at = document.index(row, at)
        expected += [{**one, "start": one["start"] + at, "end": one["end"] + at} for one in answer]
        at += len(row)
    assert len(answers) == len(expected) > 25
    for one, other in zip(answers, expected, strict=True):
        assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-4)
        assert one == other


def test_every_protocol_speaks_of_entities(url: str) -> None:
    """KServe v2 as JSON in a tensor, MLflow's as records and as CSV, lines of bulk; and the description says so."""
    expected = _asked(url, SENTENCE)
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [SENTENCE]}
    infer = httpx.post(f"{url}/v2/models/tiny-entities/infer", json={"inputs": [tensor]}).json()
    assert [one["name"] for one in infer["outputs"]] == ["entities"]
    assert json.loads(infer["outputs"][0]["data"][0]) == expected
    assert httpx.post(f"{url}/invocations", json={"inputs": [SENTENCE]}).json() == {"predictions": [expected]}
    csv = httpx.post(f"{url}/invocations", content=f"text\n{SENTENCE}\n", headers={"content-type": "text/csv"})
    assert csv.text.splitlines()[0] == "row,entity_group,score,word,start,end"
    assert len(csv.text.splitlines()) == 1 + len(expected)
    schemas = httpx.get(f"{url}/docs.json").json()["components"]["schemas"]
    assert schemas["Score"]["properties"]["entity_group"] == {"enum": ["Chemical", "Disease"]}


@pytest.mark.parametrize("parameters", [{"top_k": 2}, {"function_to_apply": "sigmoid"}, {"function_to_apply": "none"}])
def test_what_chooses_labels_is_refused(url: str, parameters: dict[str, Any]) -> None:
    """An entity has no other labels to choose among."""
    reply = httpx.post(f"{url}/predict", json={"inputs": SENTENCE, "parameters": parameters})
    assert reply.status_code == 422
    assert "token-classification" in reply.json()["error"]


def test_traffic_and_metrics_count_what_prevails_and_hold_no_text(url: str) -> None:
    """A kind, or O; in the metrics under these names only."""
    _asked(url, [SENTENCE] * 3)
    metrics = httpx.get(f"{url}/metrics").text
    counted = [line for line in metrics.splitlines() if line.startswith("ftdeploy_answers_total")]
    assert {line.split('label="')[1].split('"')[0] for line in counted} == {"O", "Chemical", "Disease"}
    assert "Naloxone" not in metrics


def test_texts_are_kept_without_identifiers_where_that_is_asked(run: TinyRun, tmp_path: Path) -> None:
    """Where a bundle keeps texts and masks them: answers speak of the text as it was sent, neither log nor traffic
    holds what recognisers find in it, and the words that are answered stand in what was kept where they stood."""
    copied = run.copy(tmp_path, until="validate")
    masks = ("--set", "monitor.traffic.text=true", "--set", "monitor.traffic.redact=true")
    made = ftdeploy("run", run.recipe, "--out", copied, *masks)
    assert made.returncode == 0, made.stderr
    assert "phonenumbers==" in (copied / "bundle" / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")
    text = f"Mrs. Jane Doe, MRN 00123456, jane.doe@example.org, +1 415 555 2671. {SENTENCE}"
    log = tmp_path / "log"
    # From the bundle's own source, which has to hold the recognisers.
    command = ["sh", "-c", f'exec "$@" >{log} 2>&1', "sh", sys.executable, "-m", "ftdeploy.serve"]
    with serving(command, cwd=copied / "bundle" / "src") as own:
        (answers,) = _asked(own, [text])
        about = httpx.get(f"{own}/about").json()
    assert about["records"] == "masked texts"
    assert all(text[one["start"] : one["end"]] == one["word"] for one in answers)
    files = [log, *(path for path in (copied / "traffic").rglob("*") if path.is_file())]
    written = b"".join(path.read_bytes() for path in files)
    assert not any(secret in written for secret in (b"Jane", b"00123456", b"example.org", b"2671"))
    (row,) = (row for path in files[1:] for row in read_segment(path))
    assert row["text"].endswith(SENTENCE)
    assert len(row["text"]) == len(text)


def test_an_evaluation_asks_a_bundle_again(run: TinyRun, tmp_path: Path) -> None:
    """`ftdeploy eval`, with the run's own suite: the same scores as in the run's report."""
    suite = json.loads(run.recipe.read_text(encoding="utf-8"))["validate"]["suite"]
    suite |= {
        "version": 1,
        "task": "token-classification",
        "cases": [{"name": "test", "recipe": str(run.recipe), "split": "test"}],
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(suite), encoding="utf-8")
    found = ftdeploy("eval", tmp_path / "suite.yaml", "--candidate", run.run / "bundle", "--absolute", "--report",
                     tmp_path / "report")  # fmt: skip
    assert found.returncode in (0, 10, 11), found.stderr
    ours = read_report(tmp_path / "report" / "report.json")
    theirs = read_report(run.run / "report" / "report.json")
    assert ours.rows == theirs.rows
    assert {one.metric: one.candidate.value for one in ours.metrics} == {
        one.metric: one.candidate.value for one in theirs.metrics
    }


def test_a_bundle_finds_names_for_the_privacy_of_another_recipe(run: TinyRun) -> None:
    """`data.privacy.ner` with a bundle of ours: its kinds by the type that they mean, without torch; a bundle that
    finds nothing of what is wanted is refused."""
    table = read_split(artifact(run.run, "dataset"), "train")
    predictor = Predictor(run.run / "compressed", device="cpu")
    texts = table["text"].to_pylist()
    found = predictor.task.decode(predictor.predict(texts), predictor.signature, texts)
    text, entities = next((text, some) for text, some in zip(texts, found, strict=True) if some)
    rules = {"ner": {"path": str(run.run / "bundle"), "labels": {"Chemical": "name", "Disease": "name"}},
             "policy": "redact", "min_confidence": 0.0}  # fmt: skip
    guard = make_guard(Privacy.model_validate(rules))
    assert guard is not None
    safe = guard.protect(Cells(text, "x", None, None, {}), {"label": None, "group": None, "id": None}, "1")
    assert not isinstance(safe, Rejected)
    assert "[NAME]" in safe.text
    assert entities[0]["word"] not in safe.text[: entities[0]["end"]]
    with pytest.raises(ModelError, match="is no model that finds PER"):
        make_guard(Privacy.model_validate({"ner": {"path": str(run.run / "bundle")}}))


@pytest.mark.parametrize("command", [["cross-validate", "recipe"], ["bench", "bundle", "--against", "torch"]])
def test_commands_that_compare_classes_say_so(run: TinyRun, command: list[str], tmp_path: Path) -> None:
    """Before hours of work, with what to use."""
    places = {"recipe": run.recipe, "bundle": run.run / "bundle"}
    arguments = [places.get(word, word) for word in command]
    out: list[str | Path] = ["--out", tmp_path] if command[0] == "cross-validate" else []
    assert "does not go with token-classification yet" in refusal(ftdeploy(*arguments, *out), 3)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"train": {"class_weights": "balanced"}}, "`class_weights` is made for one label a row"),
        ({"train": {"early_stopping": {"metric": "macro_f1"}}}, "macro_f1 is no metric of spans"),
        ({"compress": {"max_drop": {"macro_f1": 0.1}}}, "macro_f1 is no metric of spans"),
        ({"package": {"thresholds": {"score": 0.5, "fallback": "other"}}}, "`thresholds` is made for one label a row"),
        ({"data": {"quality": {}}}, "`quality` is made for one label a row"),
    ],
)
def test_what_is_made_for_labels_of_rows_is_refused_in_a_recipe(
    section: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """With its section, when the recipe is read."""
    recipe = write_tiny_entities(tmp_path, sentences=20, sections=section)
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    assert words in str(caught.value.problems)


@pytest.mark.slow
@pytest.mark.usefixtures("mirror")
def test_the_clinical_recipe_runs_on_real_rows(tmp_path: Path) -> None:
    """All rows of the three files are accounted for, with licence and citation; of a sample the real checkpoint learns
    entities in two epochs, and the export answers as it does."""
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "clinical-extraction.yaml"
    found = ftdeploy("run", recipe, "--until", "prepare", "--out", tmp_path / "all")
    assert found.returncode == 0, found.stderr
    profile = json.loads((tmp_path / "all" / "dataset" / "profile.json").read_text(encoding="utf-8"))
    facts = artifact(tmp_path / "all", "dataset").facts
    assert profile["read"] == 13938
    assert profile["labels"] == ["O", "B-Chemical", "I-Chemical", "B-Disease", "I-Disease"]
    assert sum(int(facts[name]) for name in ("rows", "rejected", "duplicates")) == 13938
    assert "CC BY 4.0" in json.dumps(profile)
    assert "BioCreative V CDR" in json.dumps(profile)
    sample = ("--set", "data.limit=800", "--set", "train.epochs=2")
    found = ftdeploy("run", recipe, "--until", "export", "--out", tmp_path / "some", *sample)
    assert found.returncode == 0, found.stderr
    learned = float(artifact(tmp_path / "some", "checkpoint").facts["validation_entity_f1"])
    assert learned > 0.3, "it learned less than a few hundred names would teach"
