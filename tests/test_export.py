"""The export answers as the torch model does, or is refused; it carries a second output."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import TinyRun, artifact, changed_recipe, ftdeploy, refusal

from ftdeploy.dataset import read_split
from ftdeploy.errors import ParityError
from ftdeploy.export import _parity, _torch_outputs
from ftdeploy.onnx_export import load_model, supported
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import ExportSettings
from ftdeploy.signature import read_signature
from ftdeploy.tasks import TASKS
from ftdeploy.temperature import calibrate

TASK = TASKS["text-classification"]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's threads wait for one another where other tests run beside; such a small model gains nothing by them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _prove(tiny: TinyRun, model: Any, folder: Path, **settings: Any) -> dict[str, float | int]:
    return _parity(model, Predictor(folder), artifact(tiny.run, "dataset"), ExportSettings(**settings), TASK)


def test_the_export_of_a_run_is_proven_and_the_proof_is_kept(tiny: TinyRun) -> None:
    """Equal metrics, logits and embeddings within the tolerance, on every validation row; parity.json says so."""
    folder = artifact(tiny.run, "onnx").path
    found = _prove(tiny, load_model(tiny.run / "checkpoint", TASK), folder, embedding_layer=1)
    assert found["parity_rows"] == 80
    assert 0 <= found["max_logit_difference"] < 1e-4
    assert json.loads((folder / "parity.json").read_text(encoding="utf-8")) == pytest.approx(found, abs=1e-6)


def test_the_export_and_what_ships_have_a_temperature_each(tiny: TinyRun) -> None:
    """Fitted on all validation rows' logits of that very model: signature, facts and candidates.json say the same, and
    the bundle and its drift reference go by that of what ships."""
    dataset = artifact(tiny.run, "dataset")
    table = read_split(dataset, "validation")
    references = TASK.targets(table["label"].to_pylist(), ("negative", "positive"))
    for kind in ("onnx", "compressed"):
        made = artifact(tiny.run, kind)
        signed = read_signature(made.path).temperature
        expected = calibrate(Predictor(made.path).predict(table["text"].to_pylist()).logits, references, "fit")
        assert signed == pytest.approx(expected.temperature, rel=0.01)
        if kind == "onnx" or made.facts["winner"] != "fp32":
            assert made.facts["temperature"] == signed
            assert made.facts["log_loss"] == pytest.approx(expected.log_loss, abs=1e-4)
    bundle = tiny.run / "bundle" / "src" / "model"
    assert read_signature(bundle).temperature == read_signature(tiny.run / "compressed").temperature


@pytest.mark.slow
def test_a_temperature_of_the_recipe_is_that_of_all_models(tiny: TinyRun, tmp_path: Path) -> None:
    """Export and winner alike, and both stages run again where it changes."""
    run = tiny.copy(tmp_path, until="train")
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", export={"temperature": 3})
    found = ftdeploy("run", recipe, "--out", run, "--until", "compress")
    assert found.returncode == 0, found.stderr
    assert {read_signature(run / kind).temperature for kind in ("onnx", "compressed")} == {3.0}
    assert "Temperature 3 (set by the recipe)" in found.stderr + found.stdout


def test_other_weights_are_not_the_same_model(tiny: TinyRun) -> None:
    """Weights that differ by a little give other logits: an error, with the size of the difference, not a warning."""
    import torch

    model = load_model(tiny.run / "checkpoint", TASK)
    with torch.no_grad():
        model.classifier.bias += torch.tensor([0.0, 0.01])
    with pytest.raises(ParityError, match=r"logits differ by up to 0\.01") as caught:
        _prove(tiny, model, tiny.run / "onnx", embedding_layer=1)
    assert caught.value.cause
    assert caught.value.fix


def test_a_metric_that_differs_is_an_error_even_where_the_tolerance_is_wide(tiny: TinyRun) -> None:
    """Whoever raises max_logit_difference still cannot ship a model that scores otherwise."""
    import torch

    model = load_model(tiny.run / "checkpoint", TASK)
    with torch.no_grad():
        model.classifier.bias += torch.tensor([0.0, 50.0])
    with pytest.raises(ParityError, match=r"accuracy is 0\.\d+ in ONNX Runtime and 0\.\d+ in torch"):
        _prove(tiny, model, tiny.run / "onnx", embedding_layer=1, max_logit_difference=100)


def test_the_embedding_is_compared_too(tiny: TinyRun) -> None:
    """The mean of another layer is another embedding, though the logits are the same."""
    with pytest.raises(ParityError, match="embeddings differ") as caught:
        _prove(tiny, load_model(tiny.run / "checkpoint", TASK), tiny.run / "onnx", embedding_layer=2)
    assert "logits" not in caught.value.what


def test_answers_that_are_no_numbers_are_not_equal(tiny: TinyRun) -> None:
    """NaN compares as neither smaller nor larger, and must not slip through."""
    import torch

    model = load_model(tiny.run / "checkpoint", TASK)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    with pytest.raises(ParityError, match="logits differ by up to nan"):
        _prove(tiny, model, tiny.run / "onnx", embedding_layer=1)


def test_the_second_output_is_the_masked_mean_of_the_layer(tiny: TinyRun) -> None:
    """Row by row and in one padded batch alike, so that padding has no part in it."""
    predictor = Predictor(tiny.run / "onnx")
    texts = read_split(artifact(tiny.run, "dataset"), "validation")["text"].to_pylist()[:8]
    alone = _torch_outputs(load_model(tiny.run / "checkpoint", TASK), predictor, texts, 1)
    together = predictor.run([row.ids for row in predictor.encode(texts)])
    np.testing.assert_allclose(together.embedding, alone.embedding, atol=1e-5)
    assert together.embedding.shape == (8, 32)


def test_a_layer_that_is_not_there(tiny: TinyRun, tmp_path: Path) -> None:
    """Exit code 6, with the number of layers there are."""
    run = tiny.copy(tmp_path, until="train")
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", export={"embedding_layer": 3})
    said = refusal(ftdeploy("run", recipe, "--out", run), 6)
    assert "embedding_layer is 3, and the model has 2 layers" in said
    assert not (run / "onnx").exists()


def test_which_architectures_can_be_exported() -> None:
    """As Optimum knows them; an unknown one is no crash."""
    assert supported("bert", "text-classification")
    assert supported("distilbert", "text-classification")
    assert not supported("bert", "summarization")
    assert not supported("never-heard-of", "text-classification")


def test_an_export_without_its_tokenizer_settings_would_not_cut(tiny: TinyRun, tmp_path: Path) -> None:
    """Truncation is written into tokenizer.json, so whoever reads the file cuts where training cut."""
    from tokenizers import Tokenizer

    shutil.copyfile(tiny.run / "onnx" / "tokenizer.json", tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert len(tokenizer.encode("good film " * 500).ids) == 48
    assert len(tokenizer.encode("good film").ids) < 10
