"""text-regression through the whole of FLOW, and its bundle as people and programs use it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tiny_regression import make_tiny_numbers, write_tiny_numbers
from tiny_run import TinyRun, artifact, ftdeploy, refusal
from workspace import serving

from ftdeploy.dataset import read_split
from ftdeploy.drift import read_reference
from ftdeploy.errors import ConfigError
from ftdeploy.models import open_model
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe
from ftdeploy.verdict import read_report

TEXT = "a superb and touching film that nobody should miss, with a cast that gives all it has to every single scene"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of the tiny recipe, whose labels are 100 and the number of words."""
    return make_tiny_numbers(tmp_path_factory.mktemp("numbers"))


@pytest.fixture(scope="module")
def url(run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its bundle, served."""
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with serving(command, cwd=tmp_path_factory.mktemp("served")) as found:
        yield found


def test_rows_keep_their_numbers(run: TinyRun) -> None:
    """As strings; the profile tells of each split what lies in it, and the splits have alike shares of them."""
    table = read_split(artifact(run.run, "dataset"), "train")
    assert min(map(float, table["label"].to_pylist())) > 100
    profile = json.loads((run.run / "dataset" / "profile.json").read_text(encoding="utf-8"))
    means = [profile["numbers"][split]["mean"] for split in ("train", "validation", "test")]
    assert max(means) - min(means) < profile["numbers"]["train"]["deviation"] / 4
    assert "deviation" in (run.run / "index.html").read_text(encoding="utf-8")


def test_answers_are_in_the_units_of_the_labels(run: TinyRun) -> None:
    """The network learns standardised numbers, and the signature says of which mean and deviation they were."""
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    table = read_split(artifact(run.run, "dataset"), "test")
    outputs = predictor.predict(table["text"].to_pylist())
    assert abs(float(outputs.logits.mean())) < 1
    truths = np.array(table["label"].to_pylist(), dtype=np.float64)
    said = np.array(predictor.task.said(outputs, predictor.signature).labels, dtype=np.float64)
    assert abs(said.mean() - truths.mean()) < truths.std() / 2
    assert predictor.signature.units.offset > 100


def test_the_report_is_about_numbers(run: TinyRun) -> None:
    """Metrics where lower is better are gated as those where higher is; no reliability, no confusion."""
    report = read_report(run.run / "report" / "report.json")
    by_name = {metric.metric: metric.candidate.value for metric in report.metrics}
    assert by_name.keys() == {"r2", "spearman", "mae", "mse"}
    assert by_name["spearman"] > 0.5, "the tiny model has learned nothing, and nothing here is proven"
    assert report.reliability is None
    assert report.confusion.labels == ()
    assert all(gate.verdict == "pass" for gate in report.gates)
    assert "spearman" in (run.run / "report" / "report.html").read_text(encoding="utf-8")
    assert "temperature" not in artifact(run.run, "onnx").facts


def test_the_search_knows_errors_from_scores(run: TinyRun) -> None:
    """Of each metric it says which way is better, and holds it against what may be lost."""
    found = json.loads((run.run / "compressed" / "candidates.json").read_text(encoding="utf-8"))
    (candidate,) = [one for one in found["candidates"] if one["steps"]]
    assert {name: one["greater_is_better"] for name, one in candidate["metrics"].items()} == {
        "r2": True, "spearman": True, "mae": False,
    }  # fmt: skip
    assert candidate["status"] in ("kept", "undecided", "dropped")


def test_every_protocol_answers_with_the_number(run: TinyRun, url: str) -> None:
    """A list with one score in the shapes of Hugging Face's pipelines, a record for MLflow, an FP32 tensor, a line."""
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    (own,) = predictor.task.decode(predictor.predict([TEXT]), predictor.signature)
    value = pytest.approx(own[0]["score"], abs=0.5)
    one, other = httpx.post(f"{url}/predict", json={"inputs": [TEXT, ""]}).json()
    assert one == [{"label": "score", "score": value}]
    assert other[0]["score"] < one[0]["score"], "an empty text has no words"
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT]}
    infer = httpx.post(f"{url}/v2/models/tiny/infer", json={"inputs": [tensor]}).json()
    assert infer["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [1], "data": [value]}]
    records = httpx.post(f"{url}/invocations", json={"inputs": [TEXT]}).json()["predictions"]
    assert records == [{"label": "score", "score": value}]
    csv = httpx.post(f"{url}/invocations", content=f'text\n"{TEXT}"\n', headers={"content-type": "text/csv"})
    assert csv.text.splitlines()[0] == "label,score"
    lines = httpx.post(f"{url}/predict/bulk", content=json.dumps(TEXT) + "\n")
    assert json.loads(lines.text)["predictions"] == [{"label": "score", "score": value}]


def test_nothing_is_made_of_a_number(url: str) -> None:
    """It is no logit, and the description of the service says so."""
    for function in ("softmax", "sigmoid"):
        asked = {"inputs": TEXT, "parameters": {"function_to_apply": function}}
        reply = httpx.post(f"{url}/predict", json=asked)
        assert reply.status_code == 422
        assert reply.json()["error"] == f"{function} does not go with text-regression: a number is no probability"
    raw = httpx.post(f"{url}/predict", json={"inputs": TEXT, "raw_scores": True})
    assert raw.json() == httpx.post(f"{url}/predict", json={"inputs": TEXT}).json()
    document = httpx.get(f"{url}/docs.json").json()
    assert document["components"]["schemas"]["Choice"]["properties"]["function_to_apply"]["enum"] == ["none", None]
    assert httpx.get(f"{url}/about").json()["view"] == "numbers"
    metrics = httpx.get(f"{url}/metrics").text
    assert 'ftdeploy_answers_total{label="(number)"}' in metrics
    assert "ftdeploy_confidence_ratio_count 0" in metrics


def test_a_service_and_its_bundle_are_judged_alike(run: TinyRun, url: str) -> None:
    """By the numbers that they give, whichever protocol they are asked in."""
    texts = read_split(artifact(run.run, "dataset"), "test")["text"].to_pylist()[:20]
    bundle = open_model(str(run.run / "bundle"), device="cpu")
    for place in (url, f"{url}/predict"):
        service = open_model(place, labels=("score",))
        assert service.labels == ("score",)
        ours, theirs = (np.array(one.said(texts).labels, dtype=np.float64) for one in (bundle, service))
        np.testing.assert_allclose(theirs, ours, atol=0.5)
        service.close()
    bundle.close()


def test_drift_looks_at_the_numbers(run: TinyRun) -> None:
    """In bins that hold equally many of them; there are no labels to count, and no accuracy to estimate."""
    reference = read_reference(run.run / "bundle" / "src" / "model" / "drift_reference.npz")
    assert "label_counts" not in reference
    assert "confusion" not in reference
    assert reference["confidence_edges"][1] > 90
    assert reference["confidence_counts"].max() < reference["rows"] / 4


def test_what_is_no_number_is_refused_with_its_place(tmp_path: Path) -> None:
    """To leave such rows out could hide that the wrong column was named."""
    recipe = write_tiny_numbers(tmp_path, rows=20)
    with (tmp_path / "rows.csv").open("a", encoding="utf-8") as handle:
        handle.write('a text,"3,5"\n')
    told = refusal(ftdeploy("check", recipe), 5)
    assert "the row at 22: '3,5' is no number" in told
    assert "a comma as the decimal sign" in told


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"data": {"labels": ["1", "2"]}}, "the labels of text-regression are numbers"),
        ({"train": {"class_weights": "balanced"}}, "`class_weights` is made for one label a row"),
        ({"train": {"label_smoothing": 0.1}}, "`label_smoothing` is made for labels of which one is right"),
        ({"train": {"early_stopping": {"metric": "mae"}}}, "of mae lower is better; name r2, spearman, pearson"),
        ({"train": {"early_stopping": {"metric": "accuracy"}}}, "accuracy is no metric of numbers"),
        ({"compress": {"max_drop": {"r2": 1.5}}}, "`max_drop.r2`: input should be less than 1"),
        ({"export": {"temperature": 2.0}}, "`temperature`: numbers have no probabilities"),
    ],
)
def test_what_is_made_for_labels_is_refused_in_a_recipe(section: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With its section, when the recipe is read."""
    recipe = write_tiny_numbers(tmp_path, rows=20, sections=section)
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    assert words in str(caught.value.problems)
