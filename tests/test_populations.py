"""What texts are held against, made out of a dataset by the model that ships."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_model_folder
from tiny_embeddings import write_tiny_embeddings

from ftdeploy.anomaly import read_populations
from ftdeploy.artifact import open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.errors import ConfigError
from ftdeploy.pipeline import run_recipe
from ftdeploy.populations import make_populations
from ftdeploy.recipe import load_recipe
from ftdeploy.signature import Anomaly, read_signature, write_signature


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, and a model whose logits are taken for vectors."""
    folder = tmp_path_factory.mktemp("populations")
    run_recipe(load_recipe(write_tiny_embeddings(folder, rows=200)), folder / "run", until="prepare")
    write_model_folder(folder / "run" / "onnx")
    told = {"task": "feature-extraction", "labels": (), "dimensions": 2}
    signature = read_signature(folder / "run" / "onnx").model_copy(update=told)
    write_signature(folder / "run" / "onnx", signature)
    return folder / "run"


def test_each_label_gets_its_rows(run: Path) -> None:
    """Those of train to compare with, those of validation to tell how far is usual; test rows tell what comes of it."""
    dataset = open_artifact(run / "dataset", kind="dataset")
    facts = make_populations(run / "onnx", dataset, Anomaly(level=0.2), device="cpu")
    found = read_populations(run / "onnx")
    assert found.labels == ("negative", "positive")
    sizes = {name: len(read_split(dataset, name)) for name in ("train", "validation")}
    assert len(found.reference) == sizes["train"]
    assert sum(map(len, found.calibration)) == len(found.together) == sizes["validation"]
    assert facts["populations"] == 2
    assert 0 <= float(facts["unusual_share"]) < 0.5


def test_labels_of_too_few_rows_are_an_error_where_all_have(run: Path) -> None:
    """With the number that it takes."""
    dataset = open_artifact(run / "dataset", kind="dataset")
    with pytest.raises(ConfigError, match=r"no label has the rows that a level of 0\.001 wants") as caught:
        make_populations(run / "onnx", dataset, Anomaly(level=0.001), device="cpu")
    assert "999 of validation" in caught.value.cause
