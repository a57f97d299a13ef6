"""Reading a dataset artifact."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import label_names, read_profile, read_split
from ftdeploy.errors import ArtifactError
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage


@pytest.fixture
def made(tmp_path: Path) -> Artifact:
    """A dataset of 40 rows."""
    rows = "text,label\n" + "".join(f"text {n},{'no' if n % 2 else 'yes'}\n" for n in range(40))
    (tmp_path / "rows.csv").write_text(rows)
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    data = {"source": {"path": str(tmp_path / "rows.csv")}, "labels": ["yes", "no"]}
    return run_stage(prepare, Recipe.model_validate(sections | {"data": data}), {}, tmp_path / "dataset").artifact


def test_splits_are_tables_with_the_asked_columns(made: Artifact) -> None:
    """All rows together, and one column alone."""
    assert sum(read_split(made, name).num_rows for name in ("train", "validation", "test")) == 40
    assert read_split(made, "test", columns=["label"]).column_names == ["label"]


def test_labels_stand_in_the_order_of_their_ids(made: Artifact) -> None:
    """The recipe's order, and not the alphabet's."""
    assert label_names(made) == ("yes", "no") == tuple(read_profile(made)["labels"])


def test_artifact_of_another_kind_has_no_splits(made: Artifact) -> None:
    """A file that is not in the manifest is an artifact error and no traceback of parquet."""
    bare = Artifact(kind="onnx", path=made.path, digest="", made_by="export@1")
    with pytest.raises(ArtifactError, match=r"train\.parquet"):
        read_split(bare, "train")
