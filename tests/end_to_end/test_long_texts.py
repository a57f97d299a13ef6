"""Texts longer than the model reads, through the whole of FLOW, and its bundle: what decides stands behind the cut."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from checkpoints import write_tiny_recipe
from tiny_run import TinyRun, artifact, ftdeploy, refusal
from workspace import serving

from ftdeploy.errors import ConfigError
from ftdeploy.models import open_model
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe
from ftdeploy.signature import read_signature
from ftdeploy.verdict import read_report

WINDOWS = {"overlap": 4, "most": 6}
#: Says nothing, and fills a window of 16 tokens.
FILLER = "it is the film of the year and that was the end of it "


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of the tiny recipe with 16 tokens; every second text begins with filler."""
    folder = tmp_path_factory.mktemp("windows")
    model = {"path": str(folder / "model"), "max_length": 16, "windows": WINDOWS}
    sections: dict[str, Any] = {"model": model, "compress": {"candidates": ["ort-dynamic"]}, "train": {"epochs": 4}}
    recipe = write_tiny_recipe(folder, rows=600, sections=sections)
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label"))
        writer.writerows((FILLER * (index % 2) + row["text"], row["label"]) for index, row in enumerate(rows))
    found = ftdeploy("run", recipe, "--out", folder / "run")
    assert found.returncode == 0, found.stderr
    return TinyRun(recipe=recipe, run=folder / "run", output=found.stderr + found.stdout)


@pytest.fixture(scope="module")
def url(run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its bundle, served."""
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with serving(command, cwd=tmp_path_factory.mktemp("served")) as found:
        yield found


def test_training_export_search_and_suite_are_about_whole_texts(run: TinyRun) -> None:
    """As many answers as texts, in each; the signature goes along, and the checkpoint is read alike."""
    report = read_report(run.run / "report" / "report.json")
    profile = json.loads((run.run / "dataset" / "profile.json").read_text(encoding="utf-8"))
    assert report.rows == profile["splits"]["test"]["rows"]
    signature = read_signature(run.run / "bundle" / "src" / "model")
    assert signature.windows is not None
    assert signature.windows.model_dump() == WINDOWS | {"pooling": "mean"}
    texts = [FILLER + "a superb and touching film", "a dull mess"]
    exported, checkpoint = (open_model(str(run.run / kind), device="cpu") for kind in ("onnx", "checkpoint"))
    temperature = read_signature(run.run / "onnx").temperature
    if temperature == 1:
        assert exported.scores(texts) == pytest.approx(checkpoint.scores(texts), abs=1e-4)
    assert exported.scores(texts).argmax(axis=1).tolist() == checkpoint.scores(texts).argmax(axis=1).tolist()
    facts = artifact(run.run, "checkpoint").facts
    assert float(facts["validation_accuracy"]) == pytest.approx(
        float(artifact(run.run, "onnx").facts["parity_accuracy"]), abs=0.02
    )


def test_the_whole_text_is_answered(run: TinyRun, url: str) -> None:
    """What stands behind the first window has a say; the service answers as the model does; only what is behind the
    last window counts as cut."""
    predictor = Predictor(run.run / "bundle" / "src" / "model", device="cpu")
    texts = [FILLER + "superb and touching", FILLER + "a dull and stupid mess", FILLER * 20, "x"]
    asked = {"inputs": texts, "parameters": {"details": True}}
    reply = httpx.post(f"{url}/predict", json=asked, timeout=60).json()
    expected = predictor.task.decode(predictor.predict(texts), predictor.signature)
    for answer, own in zip(reply["predictions"], expected, strict=True):
        assert {one["label"]: one["score"] for one in answer} == pytest.approx(
            {one["label"]: one["score"] for one in own}, abs=0.02
        )
    first, second = ({one["label"]: one["score"] for one in answer} for answer in reply["predictions"][:2])
    assert first["positive"] > second["positive"]
    assert reply["truncated"] == [False, False, True, False]
    assert reply["tokens"][2] > 6 * 16


def test_every_face_speaks_of_windows(url: str) -> None:
    """KServe and MLflow answer long texts as well, raw scores are pooled logits, and the descriptions say how it
    reads."""
    text = FILLER + "superb and touching"
    answer = httpx.post(f"{url}/predict", json={"inputs": text}).json()
    (best,) = httpx.post(f"{url}/invocations", json={"inputs": [text]}).json()["predictions"]
    assert best["label"] == answer[0]["label"]
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    infer = httpx.post(f"{url}/v2/models/tiny/infer", json={"inputs": [tensor]}).json()
    assert infer["outputs"][0]["data"] == [answer[0]["label"]]
    raw = httpx.post(f"{url}/predict", json={"inputs": text, "parameters": {"function_to_apply": "none"}}).json()
    assert [one["label"] for one in raw] == [one["label"] for one in answer]
    stated = WINDOWS | {"pooling": "mean"}
    assert httpx.get(f"{url}/v2/models/tiny").json()["parameters"]["windows"] == stated
    assert httpx.get(f"{url}/about").json()["windows"] == stated
    assert "windows" in json.dumps(httpx.get(f"{url}/docs.json").json()["paths"]["/predict"])


def test_what_answers_row_by_row_says_so(run: TinyRun) -> None:
    """`ftdeploy bench` against other runtimes."""
    assert "does not go with model.windows" in refusal(ftdeploy("bench", run.run / "bundle", "--against", "torch"), 3)


@pytest.mark.parametrize(
    ("task", "windows", "words"),
    [
        ("token-classification", {}, "`windows` does not go with token-classification"),
        ("text-classification", {"overlap": 9}, "windows.overlap is at most half of max_length, 8"),
    ],
)
def test_what_does_not_fit_is_refused(task: str, windows: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With its place in the recipe."""
    sections: dict[str, Any] = {"model": {"max_length": 16, "windows": {"overlap": 4} | windows}}
    recipe = write_tiny_recipe(tmp_path, rows=20, checkpoint=tmp_path, sections=sections)
    document = json.loads(recipe.read_text(encoding="utf-8")) | {"task": task}
    recipe.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe)
    assert words in str(caught.value.problems)
