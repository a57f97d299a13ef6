"""multi-label-classification through the whole of FLOW, and its bundle as people and programs use it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tiny_multi_label import make_tiny_labels, write_tiny_labels, write_unsure_labels
from tiny_run import TinyRun, artifact, ftdeploy, refusal, run_to_the_end
from workspace import serving

from ftdeploy.dataset import read_split
from ftdeploy.errors import ConfigError
from ftdeploy.metrics import resolve, score
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe
from ftdeploy.signature import read_signature
from ftdeploy.tasks.said import numbered
from ftdeploy.temperature import of_the_same_logits
from ftdeploy.verdict import read_report

TEXT = "a superb and touching film that nobody should miss, with a cast that gives all it has to every single scene"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of the tiny recipe."""
    return make_tiny_labels(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def url(run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its bundle, served."""
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with serving(command, cwd=tmp_path_factory.mktemp("served")) as found:
        yield found


def test_rows_keep_all_their_labels(run: TinyRun) -> None:
    """Two, one or none, as a list; the network has an output for each name."""
    table = read_split(artifact(run.run, "dataset"), "train")
    found = set(table["label"].to_pylist())
    assert found == {'["long", "positive"]', '["positive"]', '["long"]', "[]"}
    profile = json.loads((run.run / "dataset" / "profile.json").read_text(encoding="utf-8"))
    assert profile["labels"] == ["long", "positive"]


def test_the_report_is_about_sets(run: TinyRun) -> None:
    """Micro and macro F1, rows that are all right, one label of them; a confusion by name."""
    report = read_report(run.run / "report" / "report.json")
    by_name = {metric.metric: metric.candidate.value for metric in report.metrics}
    assert by_name.keys() >= {"label_f1", "label_macro_f1", "label_recall", "label_f1:long", "accuracy"}
    assert by_name["label_f1"] > 0.5, "the tiny model has learned nothing, and nothing here is proven"
    assert report.confusion.labels == ("long", "positive", "O")
    assert "label_f1" in (run.run / "report" / "report.html").read_text(encoding="utf-8")
    assert 0.05 < float(artifact(run.run, "onnx").facts["temperature"]) < 20


def test_a_suite_for_rows_of_ones_own_judges_it(run: TinyRun, tmp_path: Path) -> None:
    """Written from the very rows, with what stands between labels: the bundle is held against fp32 by metrics of sets,
    with the figures that its answers have; a suite that does not say its task is refused."""
    suite = tmp_path / "suite.yaml"
    made = ftdeploy("eval", "init", run.recipe.parent / "rows.csv", "--label", "labels", "--label-separator", "|",
                    "--out", suite)  # fmt: skip
    assert made.returncode == 0, made.stderr
    asked = ("eval", suite, "--candidate", run.run / "bundle", "--report", tmp_path / "report",
             "--set", "resamples=1000", "--set", "timing_rows=8", "--set", "timing_rounds=5")  # fmt: skip
    found = ftdeploy(*asked)
    assert found.returncode in (0, 10, 11), found.stderr
    report = read_report(tmp_path / "report" / "report.json")
    assert (report.task, report.rows) == ("multi-label-classification", 400)
    assert {gate.kind for gate in report.gates} == {
        "non-inferiority", "slices", "flips", "robustness", "consistency"
    }  # fmt: skip
    with (run.recipe.parent / "rows.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    truths = [json.dumps(sorted(name for name in row["labels"].split("|") if name)) for row in rows]
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    said = predictor.task.said(predictor.predict([row["text"] for row in rows]), predictor.signature).labels
    by_name = {metric.metric: metric.candidate.value for metric in report.metrics}
    assert by_name["label_f1"] == pytest.approx(_label_f1(truths, said), abs=0.02)
    suite.write_text(suite.read_text(encoding="utf-8").replace("task: multi-label", "# task: multi-label")
                     .replace("      label_separator:", "      # label_separator:"), encoding="utf-8")  # fmt: skip
    told = refusal(ftdeploy(*asked), 3)
    assert "'label_f1' is a metric of sets of labels (multi-label-classification), and text-classification" in told


def test_each_label_has_a_probability_of_its_own(run: TinyRun, url: str) -> None:
    """In the shape of Hugging Face's pipelines, all labels, the likeliest first; they do not add up to 1."""
    reply = httpx.post(f"{url}/predict", json={"inputs": [TEXT, ""]}).json()
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    (own,) = predictor.task.decode(predictor.predict([TEXT]), predictor.signature)
    assert {one["label"]: one["score"] for one in reply[0]} == pytest.approx(
        {one["label"]: one["score"] for one in own}, abs=0.02
    )
    assert reply[0][0]["score"] >= reply[0][1]["score"]
    assert (
        abs(sum(one["score"] for one in reply[0]) - 1) > 1e-3 or abs(sum(one["score"] for one in reply[1]) - 1) > 1e-3
    )
    best = httpx.post(f"{url}/predict", json={"inputs": TEXT, "parameters": {"top_k": 1}}).json()
    assert len(best) == 1


def test_a_softmax_is_refused(url: str) -> None:
    """Labels that do not exclude one another do not share one probability."""
    reply = httpx.post(f"{url}/predict", json={"inputs": TEXT, "parameters": {"function_to_apply": "softmax"}})
    assert reply.status_code == 422
    assert "multi-label-classification" in reply.json()["error"]
    raw = httpx.post(f"{url}/predict", json={"inputs": TEXT, "parameters": {"function_to_apply": "none"}})
    assert raw.status_code == 200


def test_every_protocol_speaks_of_sets(url: str) -> None:
    """KServe v2 gives the names that hold as JSON beside all probabilities; MLflow all labels, as records or CSV."""
    answer = httpx.post(f"{url}/predict", json={"inputs": TEXT}).json()
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
    asked = {"inputs": [tensor], "outputs": [{"name": name} for name in ("label", "score", "scores")]}
    infer = httpx.post(f"{url}/v2/models/tiny/infer", json=asked).json()
    outputs = {one["name"]: one["data"] for one in infer["outputs"]}
    scores = dict(zip(("long", "positive"), outputs["scores"], strict=True))
    assert json.loads(outputs["label"][0]) == sorted(name for name, score in scores.items() if score >= 0.5)
    assert scores == pytest.approx({one["label"]: one["score"] for one in answer}, abs=0.02)
    assert 0.25 <= outputs["score"][0] <= 1
    (records,) = httpx.post(f"{url}/invocations", json={"inputs": [TEXT]}).json()["predictions"]
    assert {one["label"] for one in records} == {"long", "positive"}
    csv = httpx.post(f"{url}/invocations", content=f'text\n"{TEXT}"\n', headers={"content-type": "text/csv"})
    assert csv.text.splitlines()[0] == "row,label,score"
    assert len(csv.text.splitlines()) == 3
    lines = httpx.post(f"{url}/predict/bulk", content=json.dumps(TEXT) + "\n")
    assert lines.status_code == 200, lines.text
    assert {one["label"] for one in json.loads(lines.text)["predictions"]} == {"long", "positive"}
    schemas = httpx.get(f"{url}/docs.json").json()["components"]["schemas"]
    assert schemas["Choice"]["properties"]["function_to_apply"]["enum"] == ["sigmoid", "none", None]


def test_metrics_count_the_first_label(url: str) -> None:
    """Or that there is none."""
    httpx.post(f"{url}/predict", json={"inputs": [TEXT] * 3})
    metrics = httpx.get(f"{url}/metrics").text
    counted = [line for line in metrics.splitlines() if line.startswith("ftdeploy_answers_total")]
    assert {line.split('label="')[1].split('"')[0] for line in counted} == {"(none)", "long", "positive"}


def test_commands_that_compare_classes_say_so(run: TinyRun, tmp_path: Path) -> None:
    """Before hours of work, with what to use."""
    found = ftdeploy("cross-validate", run.recipe, "--out", tmp_path)
    assert "does not go with multi-label-classification yet" in refusal(found, 3)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"train": {"class_weights": "balanced"}}, "`class_weights` is made for one label a row"),
        ({"train": {"label_smoothing": 0.1}}, "`label_smoothing` is made for labels of which one is right"),
        ({"train": {"early_stopping": {"metric": "macro_f1"}}}, "macro_f1 is no metric of sets of labels"),
        ({"compress": {"max_drop": {"macro_f1": 0.1}}}, "macro_f1 is no metric of sets of labels"),
        ({"export": {"thresholds": "F1"}}, "'F1' is not one of 'half' or 'f1'"),
        ({"package": {"thresholds": {"score": 0.5, "fallback": "other"}}}, "`thresholds` is made for one label a row"),
    ],
)
def test_what_is_made_for_one_label_is_refused_in_a_recipe(section: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With its section, when the recipe is read."""
    recipe = write_tiny_labels(tmp_path, rows=20, sections=section)
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    assert words in str(caught.value.problems)


def _label_f1(truths: list[str], said: list[str]) -> float:
    table, (references, predictions) = numbered(truths, said)
    return score(resolve("label_f1", table), references, predictions, len(table))


def test_labels_hold_from_thresholds_of_their_own(tmp_path: Path) -> None:
    """Found when the model is exported, judged by every gate, shipped as they were judged, and told: in the bundle,
    over HTTP, and what a half for all would have given on rows that had no part in it."""
    made = run_to_the_end(write_unsure_labels(tmp_path / "recipe"))
    facts = artifact(made.run, "onnx").facts
    fp32, model = made.run / "onnx", made.run / "bundle" / "src" / "model"
    exported, shipped = read_signature(fp32), read_signature(model)
    assert "seen" in exported.thresholds, "the tiny model has learned nothing, and nothing here is proven"
    assert exported.thresholds["seen"] < 0.5
    assert len(exported.thresholds) == facts["labels_with_threshold"]
    assert "Thresholds by F1 on" in made.output
    assert dict(shipped.thresholds) == pytest.approx(
        of_the_same_logits(exported.thresholds, exported.temperature, shipped.temperature)
    )
    table = read_split(artifact(made.run, "dataset"), "test")
    texts, truths = table["text"].to_pylist(), table["label"].to_pylist()
    predictor = Predictor(model, device="cpu")
    outputs = predictor.predict(texts)
    said = predictor.task.said(outputs, shipped).labels
    found = _label_f1(truths, said)
    report = read_report(made.run / "report" / "report.json")
    by_name = {metric.metric: metric.candidate.value for metric in report.metrics}
    assert by_name["label_f1"] == pytest.approx(found, abs=0.02)
    halves = predictor.task.said(outputs, shipped.model_copy(update={"thresholds": {}})).labels
    assert said != halves
    bundle = artifact(made.run, "bundle").facts
    assert bundle["label_f1"] == by_name["label_f1"]
    assert bundle["label_f1_by_threshold"] == pytest.approx(found, abs=0.02)
    assert bundle["label_f1_at_half"] == pytest.approx(_label_f1(truths, halves), abs=0.02)
    card = (model / "model_card.md").read_text(encoding="utf-8")
    assert "A label holds from a threshold of its own on" in card
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(made.run / "bundle")], cwd=tmp_path) as url:
        assert httpx.get(f"{url}/about").json()["thresholds"] == pytest.approx(dict(shipped.thresholds))
        told = httpx.get(f"{url}/v2/models/tiny").json()["parameters"]
        assert told["thresholds"] == pytest.approx(dict(shipped.thresholds))
        asked = texts[:40]
        tensor = {"name": "text", "shape": [len(asked)], "datatype": "BYTES", "data": asked}
        infer = httpx.post(f"{url}/v2/models/tiny/infer", json={"inputs": [tensor]}).json()
        answers = httpx.post(f"{url}/predict", json={"inputs": asked}).json()
    labels = next(one["data"] for one in infer["outputs"] if one["name"] == "label")
    for label, answer in zip(labels, answers, strict=True):
        held = {one["label"] for one in answer if one["score"] >= shipped.thresholds.get(one["label"], 0.5)}
        assert set(json.loads(label)) == held
