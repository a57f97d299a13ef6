"""check: what can be known before anything runs, from real files and the real Optimum."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ftdeploy.check import check_recipe
from ftdeploy.errors import ConfigError, DeviceError, ModelError, SourceError
from ftdeploy.recipe import Recipe, load_recipe

CONFIG = {"model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384}


def write(folder: Path, config: dict[str, object] | None = None, *overrides: str) -> Recipe:
    """A recipe over 1,100 bytes of rows and a folder that has all that a checkpoint must have."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps(CONFIG if config is None else config), encoding="utf-8")
    (model / "tokenizer.json").write_text("{}", encoding="utf-8")
    save_file({"weight": np.zeros(1000, dtype=np.float32)}, model / "model.safetensors")
    (folder / "rows.csv").write_text("text,label\n" + "x" * 1089, encoding="utf-8")
    (folder / "recipe.yaml").write_text(
        "version: 1\nname: demo\ntask: text-classification\ndata: {source: {path: rows.csv}}\nmodel: {path: model}\n",
        encoding="utf-8",
    )
    return load_recipe(folder / "recipe.yaml", overrides=overrides)


def test_findings_of_a_sound_recipe(tmp_path: Path) -> None:
    """Sources by name, sizes as they are, the architecture, and rough costs."""
    found = check_recipe(write(tmp_path, None, "device=cpu"))
    assert found["data"] == "file rows.csv"
    assert found["data bytes"] == 1100
    assert found["checkpoint"] == "file model"
    assert found["architecture"] == "bert, exportable for text-classification"
    assert found["device"] == "cpu (forced by the recipe)"
    assert str(found["time, roughly"]).endswith("minutes, of the order of")
    assert json.loads(json.dumps(found)) == found


def test_more_data_takes_more_time(tmp_path: Path) -> None:
    """The estimate goes with rows and epochs; a limit caps it."""

    def minutes(recipe: Recipe) -> int:
        return int(str(check_recipe(recipe)["time, roughly"]).split()[0])

    small = write(tmp_path, None, "device=cpu")
    os.truncate(tmp_path / "rows.csv", 50_000_000)
    large = minutes(small)
    twice = minutes(load_recipe(tmp_path / "recipe.yaml", overrides=["device=cpu", "train.epochs=6"]))
    capped = minutes(load_recipe(tmp_path / "recipe.yaml", overrides=["device=cpu", "data.limit=100"]))
    assert capped < large < twice
    assert twice == pytest.approx(2 * large, rel=0.02)


def test_an_architecture_that_cannot_be_exported(tmp_path: Path) -> None:
    """Told before hours of training, with the name of the architecture."""
    with pytest.raises(ModelError, match="mamba"):
        check_recipe(write(tmp_path, {**CONFIG, "model_type": "mamba"}))
    with pytest.raises(ModelError, match="cannot export"):
        check_recipe(write(tmp_path, {"hidden_size": 3}))


@pytest.mark.parametrize("config", [{"model_type": "bert"}, {**CONFIG, "hidden_size": 0}])
def test_an_architecture_of_unknown_size(tmp_path: Path, config: dict[str, object]) -> None:
    """No estimate rather than a wrong one."""
    assert check_recipe(write(tmp_path, config, "device=cpu"))["time, roughly"] == "not estimated for this architecture"


def test_one_fault_keeps_its_own_class(tmp_path: Path) -> None:
    """And with it its exit code."""
    recipe = write(tmp_path)
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        check_recipe(recipe)
    (tmp_path / "model").rename(tmp_path / "modle")
    with pytest.raises(SourceError) as caught:
        check_recipe(recipe)
    assert caught.value.fix == "did you mean 'modle'?"


def test_a_forced_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known before anything runs."""
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    with pytest.raises(DeviceError):
        check_recipe(write(tmp_path, None, "device=cuda"))


def test_several_faults_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data, checkpoint and device: one error with a problem for each section."""
    monkeypatch.setattr("ftdeploy.hardware.nvidia_devices", lambda: 0)
    recipe = write(tmp_path, None, "device=cuda", "data.source.loader=rows.py:read")
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(ConfigError) as caught:
        check_recipe(recipe)
    found = {problem.path: problem.message for problem in caught.value.problems}
    assert list(found) == ["data.source", "model", "device"]
    assert "rows.py" in found["data.source"]
    assert "config.json" in found["model"]
    assert "cuda" in found["device"]
