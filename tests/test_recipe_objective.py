"""What a recipe may ask of the objective and of regularisers, and which of it contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_recipe import SMALL, load, problems, write

from ftdeploy.recipe import TrainSettings, dump_section


def test_all_is_off_by_default() -> None:
    """Without a key, training minimises the plain cross-entropy of all rows alike, and keeps the weights themselves."""
    settings = TrainSettings()
    assert settings.class_weights == "none"
    assert not any((
        settings.focal_gamma, settings.label_smoothing, settings.r_drop, settings.mixout, settings.reinitialize_layers,
        settings.average_last, settings.lora, settings.ema, settings.teacher,
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("lora={}", "freeze={layers: 1}"), "lora and freeze exclude each other"),
        (("lora={}", "unfreeze={}"), "lora and unfreeze exclude each other"),
        (("lora={}", "mixout=0.1"), "lora and mixout exclude each other"),
        (("lora={}", "reinitialize_layers=1"), "lora and reinitialize_layers exclude each other"),
        (("ema={}", "average_last=2"), "ema and average_last exclude each other"),
        (("mixout=0.1", "reinitialize_layers=1"), "mixout and reinitialize_layers exclude each other"),
        (("mixout=0.1", "gradient_checkpointing=true"), "mixout and gradient_checkpointing exclude each other"),
        (("teacher={path: t, alpha: 1}", "focal_gamma=2"), "focal_gamma has no effect with teacher.alpha 1"),
        (("teacher={path: t, alpha: 1}", "label_smoothing=0.1"), "label_smoothing has no effect with teacher.alpha 1"),
        (("teacher={temperature: 2}",), "exactly one of path, url, package, hub"),
        (("class_weights=balancd",), "'balancd' is not one of"),
        (("class_weights={}",), "class_weights"),
        (("class_weights={positive: 0}",), "train.class_weights.positive: Input should be greater than 0"),
        (("ema={decay: 1}",), "train.ema.decay"),
        (("lora={rnk: 4}",), "did you mean 'rank'?"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path: Path, overrides: tuple[str, ...], told: str) -> None:
    """At the door, in one problem with its place and the reason."""
    (found,) = problems(write(tmp_path, SMALL), *(f"train.{setting}" for setting in overrides))
    assert told in found
    assert found.startswith("train")


def test_a_teacher_is_named_relative_to_the_recipe(tmp_path: Path) -> None:
    """As every path of a recipe; of the path only the name goes into a key, because the content does, too."""
    teacher = load(tmp_path, "train.teacher={path: runs/big/bundle}").train.teacher
    assert teacher is not None
    assert teacher.path == tmp_path / "runs/big/bundle"
    assert dump_section(teacher)["path"] == "bundle"
