"""feature-extraction through the whole of FLOW, on real rows, and its bundle as people and programs use it."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tiny_embeddings import make_tiny_embeddings, write_tiny_embeddings
from tiny_run import TinyRun, artifact, ftdeploy
from workspace import serving

from ftdeploy.crossvalidate import cross_validate
from ftdeploy.dataset import read_split
from ftdeploy.drift import read_reference
from ftdeploy.errors import ConfigError, DriftFound
from ftdeploy.monitor import monitor_bundle
from ftdeploy.pipeline import run_recipe
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe
from ftdeploy.tune import tune
from ftdeploy.verdict import read_report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of the tiny recipe."""
    return make_tiny_embeddings(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="module")
def url(run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its bundle, served."""
    folder = tmp_path_factory.mktemp("served")
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with serving(command, cwd=folder) as found:
        yield found


def _post(url: str, path: str, document: Any) -> Any:
    reply = httpx.post(f"{url}{path}", json=document, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_nothing_is_trained_and_the_run_says_so(run: TinyRun) -> None:
    """In the log, as a fact, and in the card; the export is proven by cosine."""
    assert "nothing is trained" in run.output
    facts = artifact(run.run, "checkpoint").facts
    assert (facts["trained"], facts["pooling"]) == (False, "mean")
    assert float(artifact(run.run, "onnx").facts["min_cosine"]) > 0.9999
    card = (run.run / "bundle" / "src" / "model" / "model_card.md").read_text(encoding="utf-8")
    assert "A vector of 32 numbers" in card
    assert "nothing was trained" in card
    assert "softmax" not in card


def test_vectors_are_the_mean_of_the_tokens_with_length_one(run: TinyRun) -> None:
    """As transformers computes it from the checkpoint itself, beside a longer text as well: pooled in the graph."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["a good film", "a film that is longer than the other one, and not as good as it could have been"]
    folder = json.loads(run.recipe.read_text(encoding="utf-8"))["model"]["path"]
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = []
    with torch.inference_mode():
        for text in texts:
            tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=48)
            mean = model(**tokens).last_hidden_state.mean(dim=1)[0].numpy()
            expected.append(mean / np.linalg.norm(mean))
    assert Predictor(run.run / "onnx", device="cpu").predict(texts).logits == pytest.approx(
        np.array(expected), abs=1e-5
    )


def test_the_report_is_about_neighbours(run: TinyRun) -> None:
    """fp32 agrees with itself; the labels of the nearest rows are counted, and make the confusion."""
    report = read_report(run.run / "report" / "report.json")
    by_name = {metric.metric: metric for metric in report.metrics}
    assert by_name["neighbour_agreement"].baseline.value == 1.0
    assert 0.8 < by_name["neighbour_agreement"].candidate.value < 1.0, "int8 that changes nothing proves nothing"
    assert 0.3 < by_name["neighbour_accuracy"].candidate.value < 0.8
    assert report.confusion.labels == ("negative", "positive")
    assert sum(map(sum, report.confusion.candidate)) == report.rows
    assert {part.slice for part in report.slices} == {"text length", "label"}
    assert report.reliability is None
    assert "neighbour_agreement" in (run.run / "report" / "report.html").read_text(encoding="utf-8")


def test_every_protocol_gives_the_same_vectors(url: str) -> None:
    """TEI, OpenAI as numbers and as bytes, pipelines, KServe, MLflow, lines of bulk; of length 1."""
    text = "a good film"
    (vector,) = _post(url, "/embed", {"inputs": text})
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)
    (one,) = _post(url, "/v1/embeddings", {"input": text, "encoding_format": "base64"})["data"]
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    infer = _post(url, "/v2/models/tiny-embeddings/infer", {"inputs": [tensor]})["outputs"][0]
    assert infer["shape"] == [1, len(vector)]
    bulk = httpx.post(f"{url}/predict/bulk", content=json.dumps(text), headers={"content-type": "application/x-ndjson"})
    for other in (
        np.frombuffer(base64.b64decode(one["embedding"]), dtype="<f4"),
        _post(url, "/v1/embeddings", {"input": [text]})["data"][0]["embedding"],
        _post(url, "/predict", {"inputs": text}),
        _post(url, "/invocations", {"inputs": [text]})["predictions"][0],
        infer["data"],
        bulk.json()["predictions"],
    ):
        assert np.asarray(other, dtype=np.float64) == pytest.approx(np.asarray(vector), abs=1e-6)


def test_a_text_is_held_against_those_of_its_label(url: str, run: TinyRun) -> None:
    """By the populations in the bundle, as the card says; what is no label is refused."""
    (one,) = _post(url, "/anomaly", {"inputs": "a good film", "label": "positive"})
    assert one["unusual"] is (one["p_value"] <= 0.1)
    several = _post(url, "/anomaly", {"inputs": ["a good film", "a bad film"]})
    assert {found["nearest"] for found in (one, *several)} <= {"negative", "positive"}
    assert httpx.post(f"{url}/anomaly", json={"inputs": "a", "label": "neutral"}).status_code == 422
    facts = artifact(run.run, "bundle").facts
    assert facts["populations"] == 2
    assert float(facts["unusual_share"]) < 0.4
    card = (run.run / "bundle" / "src" / "model" / "model_card.md").read_text(encoding="utf-8")
    assert "Asked at `/anomaly`" in card


def test_the_limits_and_names_of_predict_hold(url: str) -> None:
    """Request ids, what was cut, too many texts, health, metrics under one name, and no labels that come back."""
    reply = httpx.post(f"{url}/embed", json={"inputs": ["good " * 100]}, headers={"x-request-id": "mine"})
    assert (reply.headers["x-request-id"], reply.headers["x-truncated"]) == ("mine", "0")
    assert httpx.post(f"{url}/embed", json={"inputs": "good " * 100, "truncate": False}).status_code == 413
    assert httpx.post(f"{url}/v1/embeddings", json={"input": ["a"] * 1000}).status_code == 413
    feedback = httpx.post(f"{url}/feedback", json={"request_id": "mine", "label": "embedding"})
    assert (feedback.status_code, "no label" in feedback.json()["error"]) == (409, True)
    metrics = httpx.get(f"{url}/metrics").text
    assert 'ftdeploy_answers_total{label="embedding"}' in metrics
    assert 'route="/embed"' in metrics
    about = httpx.get(f"{url}/about").json()
    assert (about["view"], about["labels"]) == ("vectors", [])


def test_drift_is_found_by_the_embedding_and_nothing_is_said_of_labels(
    run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference has neither labels nor confidence, and no accuracy is made up."""
    reference = read_reference(run.run / "bundle" / "src" / "model" / "drift_reference.npz")
    assert not [name for name in reference if name.startswith(("label", "confidence", "confusion"))]
    texts = read_split(artifact(run.run, "dataset"), "train")["text"].to_pylist()[:100]
    changed = [" ".join(reversed(text.upper().split()[:3])) + " 0123 zzz" for text in texts]
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))
    with serving(command, cwd=tmp_path) as found:
        _post(found, "/embed", {"inputs": changed})
    told = monitor_bundle(run.run / "bundle", traffic=tmp_path / "traffic", report=tmp_path / "drift")
    assert told.report.verdict == "drift"
    names = {test.name for test in told.report.tests}
    assert "embedding (MMD)" in names
    assert not names & {"predicted labels", "confidence"}
    assert (told.report.accuracy, told.report.labels) == (None, ())
    assert {path.name for path in told.folder.iterdir()} == {"drift.json", "drift.html"}, "there is nothing to label"
    with pytest.raises(DriftFound) as caught:
        told.refuse()
    assert "label" not in caught.value.fix


def test_an_evaluation_asks_a_bundle_again(run: TinyRun, tmp_path: Path) -> None:
    """`ftdeploy eval` against the float export: the same scores as in the run's report."""
    suite = json.loads(run.recipe.read_text(encoding="utf-8"))["validate"]["suite"]
    suite |= {
        "version": 1,
        "task": "feature-extraction",
        "cases": [{"name": "test", "recipe": str(run.recipe), "split": "test"}],
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(suite), encoding="utf-8")
    found = ftdeploy("eval", tmp_path / "suite.yaml", "--candidate", run.run / "bundle", "--baseline",
                     run.run / "onnx", "--report", tmp_path / "report")  # fmt: skip
    assert found.returncode in (0, 10, 11), found.stderr
    ours = read_report(tmp_path / "report" / "report.json")
    theirs = read_report(run.run / "report" / "report.json")
    assert {one.metric: one.candidate.value for one in ours.metrics} == {
        one.metric: one.candidate.value for one in theirs.metrics
    }


def test_a_service_and_the_checkpoint_are_asked_for_vectors(run: TinyRun, url: str, tmp_path: Path) -> None:
    """The bundle that is served answers as its folder; the checkpoint's vectors have the neighbours of its export's."""
    suite = {
        "version": 1,
        "task": "feature-extraction",
        "metrics": ["neighbour_agreement"],
        "gates": [{"kind": "non-inferiority", "metric": "neighbour_agreement", "margin": 0.05}],
        "cases": [{"name": "test", "recipe": str(run.recipe), "split": "test"}],
        "resamples": 1000,
    }
    (tmp_path / "suite.yaml").write_text(json.dumps(suite), encoding="utf-8")
    for candidate, baseline in ((url, run.run / "bundle"), (run.run / "checkpoint", run.run / "onnx")):
        found = ftdeploy("eval", tmp_path / "suite.yaml", "--candidate", candidate, "--baseline", baseline,
                         "--report", tmp_path / "report")  # fmt: skip
        assert found.returncode == 0, found.stderr
        (told,) = read_report(tmp_path / "report" / "report.json").metrics
        assert told.candidate.value == pytest.approx(1, abs=0.005)


def test_texts_without_labels_will_do(tmp_path: Path) -> None:
    """`columns.label: null`: the splits are made, and neighbours alone are compared."""
    recipe = write_tiny_embeddings(tmp_path, rows=120, sections={"data": {"columns": {"text": "text", "label": None}}})
    table = read_split(run_recipe(load_recipe(recipe), tmp_path / "run", until="prepare")["dataset"], "test")
    assert set(table["label"].to_pylist()) == {'[""]'}


def test_commands_that_train_say_so(run: TinyRun, tmp_path: Path) -> None:
    """Before anything is done."""
    for refused in (partial(tune, run.recipe, tmp_path), partial(cross_validate, load_recipe(run.recipe), tmp_path)):
        with pytest.raises(ConfigError, match="does not go with feature-extraction"):
            refused()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"train": {"epochs": 1}}, "`epochs`: nothing is trained"),
        ({"export": {"temperature": 2.0}}, "`temperature`: vectors have no probabilities"),
        ({"compress": {"max_drop": {"accuracy": 0.1}}}, "accuracy is no metric of neighbours"),
        ({"package": {"thresholds": {"score": 0.5, "fallback": "x"}}}, "`thresholds` is made for one label a row"),
        ({"data": {"quality": {}}}, "`quality` is made for one label a row"),
    ],
)
def test_what_is_made_for_labels_is_refused_in_a_recipe(section: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With its section, when the recipe is read."""
    recipe = write_tiny_embeddings(tmp_path, rows=20, sections=section)
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    assert words in str(caught.value.problems)


@pytest.mark.slow
@pytest.mark.usefixtures("mirror")
def test_the_recipe_exports_the_real_checkpoint(tmp_path: Path) -> None:
    """Of a sample of the titles; pooled as its 1_Pooling says, and like products lie nearer than unlike ones."""
    recipe = Path(__file__).resolve().parents[2] / "recipes" / "embeddings.yaml"
    found = ftdeploy("run", recipe, "--until", "export", "--out", tmp_path, "--set", "data.limit=500")
    assert found.returncode == 0, found.stderr
    assert "pooling: mean (as the checkpoint's 1_Pooling says)" in found.stderr
    assert "CC BY 4.0" in found.stderr
    predictor = Predictor(tmp_path / "onnx", device="cpu")
    assert predictor.signature.dimensions == 384
    assert predictor.signature.labels == ()
    one, like, unlike = predictor.predict(["sony a6300 camera body", "nikon z6 camera", "bosch 8kg washer"]).logits
    assert one @ like > one @ unlike + 0.2
