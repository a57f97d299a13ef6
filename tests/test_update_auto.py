"""`ftdeploy update --auto` up to the training: drift or none, labels or too few."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from monitor_samples import features, reference
from small_runs import write_artifact
from test_monitor import serve
from test_prepare import many, write_jsonl
from test_serve_traffic import answered
from tiny import write_bundle

from ftdeploy.drift import write_reference
from ftdeploy.errors import ArtifactError, ConfigError, DataError, DriftFound
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe, as_text
from ftdeploy.registry import Registry
from ftdeploy.serve.model import bundle_digest
from ftdeploy.serve.traffic import Feedback, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions
from ftdeploy.stage import run_stage
from ftdeploy.update import Updated, update
from ftdeploy.update.auto import update_by_itself
from ftdeploy.update.collect import TooFewRows

LABELS = ("negative", "positive")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A registry whose champion has a dataset and a bundle that works, and a checkpoint that nobody opens here."""
    rows = [{**row, "label": LABELS[place % 2]} for place, row in enumerate(many(60))]
    body = {"version": 1, "name": "tiny", "task": "text-classification", "model": {"path": "/none"},
            "data": {"source": {"path": str(write_jsonl(tmp_path / "rows.jsonl", rows))}}}  # fmt: skip
    recipe = Recipe.model_validate(body)
    root = tmp_path / "registry" / "tiny"
    version = root / "versions" / "0123456789ab"
    run_stage(prepare, recipe, {}, version / "dataset")
    write_artifact(version, "checkpoint", "none", ())
    write_bundle(version / "bundle")
    write_reference(version / "bundle" / "src" / "model" / "drift_reference.npz", reference())
    (version / "recipe.yaml").write_text(as_text(recipe), encoding="utf-8")
    (root / "champion").symlink_to(Path("versions") / version.name)
    return root


def champion(home: Path) -> Path:
    found = Registry(home).champion()
    assert found is not None
    return found


def label(home: Path, rows: int) -> None:
    """Feedback on further texts that were kept."""
    bundle = champion(home) / "bundle"
    recorder = Recorder(bundle.parent / "traffic", digest=bundle_digest(bundle / "src"),
                        options=TrafficOptions(text=True))  # fmt: skip
    for number in range(rows):
        recorder.record(replace(answered(f"told-{number}"), labels=["negative"], texts=[f"told of {number}"]))
    recorder.record_feedback([Feedback(id=f"told-{number}", row=0, label=LABELS[number % 2], time=time.time())
                              for number in range(rows)])  # fmt: skip
    recorder.close()


def test_without_drift_nothing_is_done(home: Path) -> None:
    """Also where there are labels: cron comes again tomorrow."""
    serve(champion(home) / "bundle", features(300, seed=5)[0])
    label(home, 3)
    found = update_by_itself(home)
    assert found.outcome is None
    assert found.said.startswith("nothing to do: ")
    assert (home / "drift" / "drift.html").is_file()
    assert not list((home / "updates").glob("*/*"))


def test_too_little_traffic_is_no_alarm(home: Path) -> None:
    """Nor an error: the service has only just begun."""
    serve(champion(home) / "bundle", features(10, seed=5, away=3.0)[0])
    assert "too few" in update_by_itself(home).said


def test_drift_without_enough_labels_is_told_as_drift(home: Path) -> None:
    """With what to label, and how many are there."""
    serve(champion(home) / "bundle", features(300, seed=5, away=3.0)[0])
    with pytest.raises(DriftFound, match="none of the 300 recorded answers") as refused:
        update_by_itself(home)
    assert "to_label.csv" in refused.value.fix
    label(home, 30)
    with pytest.raises(DriftFound, match="30 new of 30 labelled rows; at least 200"):
        update_by_itself(home)


def test_files_need_no_drift(home: Path, tmp_path: Path) -> None:
    """Whoever gives rows wants them learned; too few of them are their error."""
    rows = [{"text": f"fresh {number}", "label": LABELS[number % 2]} for number in range(30)]
    with pytest.raises(TooFewRows, match="30 new"):
        update_by_itself(home, files=[write_jsonl(tmp_path / "new.jsonl", rows)])
    assert not (home / "drift").exists()


def test_without_traffic_there_is_nothing_to_go_by(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing recorded yet, or recording is off in this shell."""
    with pytest.raises(DataError, match="no traffic"):
        update_by_itself(home)
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    with pytest.raises(ConfigError, match="FTDEPLOY_TRAFFIC is off"):
        update_by_itself(home)


@pytest.mark.parametrize("do", [update, update_by_itself])
def test_a_champion_without_its_recipe_is_told_to_want_it(home: Path, do: Callable[..., Updated]) -> None:
    """All of its run may be there: not that only a part were."""
    (champion(home) / "recipe.yaml").unlink()
    with pytest.raises(ArtifactError, match=r"no recipe\.yaml to go on from") as caught:
        do(home, files=[home / "none.jsonl"])
    assert f"ftdeploy registry add RUN {home} --recipe RECIPE" in caught.value.fix


@pytest.mark.parametrize("do", [update, update_by_itself])
def test_where_nothing_is_trained_there_is_nothing_to_update(home: Path, do: Callable[..., Updated]) -> None:
    """Vectors are those of a checkpoint as it is: said before anything is read, drift or none, with what to do."""
    path = champion(home) / "recipe.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("text-classification", "feature-extraction"))
    with pytest.raises(ConfigError, match="`ftdeploy update` does not go with feature-extraction") as caught:
        do(home, files=[home / "none.jsonl"])
    assert "nothing to learn" in caught.value.cause
    assert "ftdeploy run" in caught.value.fix
    assert not (home / "drift").exists()
