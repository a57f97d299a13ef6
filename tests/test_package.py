"""What a bundle holds: a Bento, the model, and everything that it needs to be served, watched and trusted."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny_run import ENVIRONMENT, TinyRun, artifact, changed_recipe, ftdeploy, refusal

from ftdeploy.dataset import read_split
from ftdeploy.drift import WIDTH, compute_reference, read_reference
from ftdeploy.package import origins_in_words
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import DataSettings, ModelSettings
from ftdeploy.serve import RUNTIME
from ftdeploy.serve.thresholds import sure_enough
from ftdeploy.signature import read_signature
from ftdeploy.tasks import TASKS
from ftdeploy.verdict import read_report


def _model(tiny: TinyRun) -> Path:
    return tiny.run / "bundle" / "src" / "model"


def _requirements(tiny: TinyRun) -> dict[str, str]:
    text = (tiny.run / "bundle" / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")
    return dict(line.split("==") for line in text.splitlines())


def test_bentoml_takes_the_bundle_for_a_bento(tiny: TinyRun) -> None:
    """It reads name, version and service; no clock of ours stands in it."""
    code = "import sys; from bentoml._internal.bento.bento import Bento; b = Bento.from_path(sys.argv[1]); \
print(b.tag.name, b.info.service, b.info.creation_time.year)"
    command = [sys.executable, "-c", code, str(tiny.run / "bundle")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["tiny", "service:Model", "1980"]


def test_the_model_is_the_compressed_one_with_limits_and_traffic_options(tiny: TinyRun) -> None:
    """Byte for byte; the signature says the same and adds what the recipe's serve and monitor sections say."""
    compressed = artifact(tiny.run, "compressed")
    for name in ("model.onnx", "tokenizer.json"):
        assert (_model(tiny) / name).read_bytes() == compressed.file(name).read_bytes()
    before, after = read_signature(compressed.path), read_signature(_model(tiny))
    assert after.model_copy(update={"serve": {}, "traffic": {}, "alerts": {}, "monitor": {}}) == before
    assert after.monitor["min_rows"] == 50
    assert after.serve["max_texts"] == 256
    assert after.traffic["enabled"] is True
    assert after.traffic["segment_rows"] == 10_000
    assert after.alerts["log"] is True


def test_requirements_are_pinned_as_installed_and_without_torch(tiny: TinyRun) -> None:
    """What runs the model, at the versions it was measured with; nothing that trains."""
    found = _requirements(tiny)
    for name in ("onnxruntime", "tokenizers", "numpy", "bentoml", "pydantic"):
        assert found[name] == version(name)
    assert not {"torch", "transformers", "optimum", "neural-compressor", "datasets", "pyarrow"} & found.keys()


def test_the_bundle_carries_the_part_of_ftdeploy_that_it_runs_on(tiny: TinyRun) -> None:
    """Exactly the runtime modules, as they are here."""
    source = tiny.run / "bundle" / "src" / "ftdeploy"
    here = Path(__file__).resolve().parent.parent / "ftdeploy"
    assert {path.relative_to(source).as_posix() for path in source.rglob("*.py")} == set(RUNTIME)
    for name in RUNTIME:
        assert (source / name).read_bytes() == (here / name).read_bytes()


def test_the_bill_of_materials_names_model_and_packages(tiny: TinyRun) -> None:
    """CycloneDX: the model with its hash, each package with the version that is pinned."""
    document = json.loads((_model(tiny) / "sbom.json").read_text(encoding="utf-8"))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    model, *libraries = document["components"]
    digest = hashlib.sha256((_model(tiny) / "model.onnx").read_bytes()).hexdigest()
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert {entry["name"]: entry["version"] for entry in libraries} == _requirements(tiny)
    assert all(entry["purl"] == f"pkg:pypi/{entry['name']}@{entry['version']}" for entry in libraries)


def test_the_model_card_has_the_figures_of_the_report(tiny: TinyRun) -> None:
    """Metrics with their intervals, verdict, lineage and where the data is from; valid front matter."""
    card = (_model(tiny) / "model_card.md").read_text(encoding="utf-8")
    report = read_report(_model(tiny) / "report.json")
    for metric in report.metrics:
        value = metric.candidate
        assert f"| {metric.metric} | {value.value:.4f} ({value.lower:.4f} to {value.upper:.4f}) |" in card
    assert f"**{report.verdict}**" in card
    assert f"logits divided by {read_signature(_model(tiny)).temperature:g}" in card
    for kind in ("dataset", "checkpoint", "compressed"):
        assert artifact(tiny.run, kind).digest[:12] in card
    assert yaml.safe_load(card.split("---")[1]) == {"pipeline_tag": "text-classification"}


def test_the_model_card_names_every_source_with_licence_and_citation(tmp_path: Path) -> None:
    """Several sources, each with what the recipe states of it, or what the README of a hub folder does."""
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Rows\n")
    sources = [
        {"path": "a.csv", "licence": "CC0-1.0", "citation": "Nobody (2026)"},
        {"hub": str(tmp_path / "hub"), "name": "other"},
        {"path": "b.csv"},
    ]
    data = DataSettings.model_validate({"sources": sources})
    model = ModelSettings.model_validate({"path": "checkpoint", "licence": "Apache-2.0"})
    assert origins_in_words(data, model) == [
        "data a: file a.csv",
        "data other: hub hub@main",
        "data b: file b.csv",
        "model: file checkpoint",
        "data a, licence: CC0-1.0",
        "data other, licence: cc-by-4.0",
        "model, licence: Apache-2.0",
        "data a, citation: Nobody (2026)",
    ]


def test_the_drift_reference_remembers_rows_that_were_not_trained_on(tiny: TinyRun) -> None:
    """Validation and test rows, as numbers; shapes and totals fit, and it can be computed again from the bundle."""
    found = read_reference(_model(tiny) / "drift_reference.npz")
    rows = 80 + 100
    assert int(found["rows"]) == rows
    assert found["projection"].shape == (32, WIDTH)
    assert found["mean"].shape == (WIDTH,)
    assert found["covariance"].shape == (WIDTH, WIDTH)
    assert found["sample"].shape == (rows, WIDTH)
    for name in ("label", "confidence", "length", "unknown"):
        assert found[f"{name}_counts"].sum() == rows
    dataset = artifact(tiny.run, "dataset")
    rows_read = [row for split in ("validation", "test") for row in read_split(dataset, split).to_pylist()]
    task, predictor = TASKS["text-classification"], Predictor(_model(tiny))
    truths = task.targets([row["label"] for row in rows_read], predictor.signature.labels)
    again = compute_reference(predictor, task, [row["text"] for row in rows_read], seed=13, truths=truths)
    assert again.keys() == found.keys() - {"shift_magnitude", "shift_error"}
    assert found["confusion"].sum() == found["reliability_rows"].sum() == rows
    assert len(found["shift_magnitude"]) == len(found["shift_error"]) > 10
    for name, value in again.items():
        np.testing.assert_allclose(value.astype(float), found[name].astype(float), rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_thresholds_of_the_recipe_are_in_the_bundle_and_told(tiny: TinyRun, tmp_path: Path) -> None:
    """In the signature, on the model card, among the facts, as said of the test rows; a label that is misspelt is
    refused by name, and nothing is left of that bundle."""
    run = tiny.copy(tmp_path, until="validate")
    scores = {"fallback": "unclear", "score": 0.7, "scores": {"positve": 0.9}}
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", package={"thresholds": scores})
    said = refusal(ftdeploy("run", recipe, "--out", run), 3)
    assert "'positve' is not a label of the model" in said
    assert "did you mean 'positive'?" in said
    assert not list(run.glob("bundle*"))

    scores["scores"] = {"positive": 0.9}
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", package={"thresholds": scores})
    found = ftdeploy("run", recipe, "--out", run)
    assert found.returncode == 0, found.stderr
    model = run / "bundle" / "src" / "model"
    signature = read_signature(model)
    assert (signature.fallback, signature.thresholds) == ("unclear", {"positive": 0.9, "negative": 0.7})
    facts = artifact(run, "bundle").facts
    rows = read_split(artifact(run, "dataset"), "test").to_pylist()
    answers = TASKS[signature.task].decode(Predictor(model).predict([row["text"] for row in rows]), signature)
    below = [not sure_enough(answer, signature) for answer in answers]
    assert facts["fallback_share"] == pytest.approx(sum(below) / len(rows))
    assert f"answers `unclear` first: to {100 * sum(below) / len(rows):.1f}% of the test rows" in (
        model / "model_card.md"
    ).read_text(encoding="utf-8")


@pytest.mark.slow
def test_equal_inputs_make_an_equal_bundle(tiny: TinyRun, tmp_path: Path) -> None:
    """Packaged again, in another place and at another time, it has the same digest. Judged again, only what tells of
    measured speed differs."""
    run = tiny.copy(tmp_path, until="validate")
    assert ftdeploy("run", tiny.recipe, "--out", run).returncode == 0
    first = artifact(run, "bundle")
    assert first.digest == artifact(tiny.run, "bundle").digest

    shutil.rmtree(run / "report")
    assert ftdeploy("run", tiny.recipe, "--out", run).returncode == 0
    second = artifact(run, "bundle")
    changed = {name for name in second.files if second.files[name] != first.files[name]}
    assert second.files.keys() == first.files.keys()
    assert changed <= {"bento.yaml", "src/model/report.json", "src/model/report.html"}


@pytest.mark.slow
def test_a_bentoml_that_fails_is_told_and_leaves_nothing(tiny: TinyRun, tmp_path: Path) -> None:
    """Exit code 16 with BentoML's own words; the finished stages stay, and no bundle or rest of one."""
    fake = tmp_path / "fakes" / "bentoml"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("")
    (fake / "__main__.py").write_text("raise SystemExit('Error: this Bento cannot be')")
    run = tiny.copy(tmp_path, until="validate")
    environment = ENVIRONMENT | {"PYTHONPATH": str(fake.parent)}
    said = refusal(ftdeploy("run", tiny.recipe, "--out", run, environment=environment), 16)
    assert "Error: this Bento cannot be" in said
    assert not list(run.glob("bundle*"))
    assert artifact(run, "report").facts["verdict"] == "pass"
