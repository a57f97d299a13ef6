"""Cascades: a row that the first model is not sure of gets the second's answer, any other one the first's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny import WORDS, write_model_folder

from ftdeploy.compress.cascade import join, margin_at
from ftdeploy.compress.invariance import invariance
from ftdeploy.errors import CompressionError
from ftdeploy.measure import folder_size
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature, write_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = ("bad", "fair", "good")


@pytest.fixture
def texts() -> list[str]:
    random = np.random.default_rng(5)
    return [" ".join(random.choice(WORDS, size=random.integers(1, 12))) for _ in range(64)]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two models that agree on the table of words and on nothing else."""
    write_model_folder(tmp_path / "first", LABELS)
    write_model_folder(tmp_path / "second", LABELS)
    _change(tmp_path / "second", "head", lambda head: np.roll(head, 1, axis=1) * 3)
    return tmp_path / "first", tmp_path / "second"


def _change(folder: Path, name: str, how: object) -> None:
    model = onnx.load(str(folder / "model.onnx"))
    (tensor,) = (one for one in model.graph.initializer if one.name == name)
    values = np.asarray(how(numpy_helper.to_array(tensor)), dtype=np.float32)  # type: ignore[operator]  # a function
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, str(folder / "model.onnx"))


def _logits(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    return Predictor(folder, threads=1).predict(texts).logits


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_in_doubt_gets_the_second_models_answer(
    pair: tuple[Path, Path], texts: list[str], tmp_path: Path, share: float
) -> None:
    """Whatever batch a row is in; the others get the first's, to the last bit. None in doubt, and all, are no special
    cases."""
    first, second = (_logits(folder, texts) for folder in pair)
    margin = margin_at(first, share) + (1e-3 if share == 1 else -1e-3 if share == 0 else 0)
    join(*pair, tmp_path / "both", margin=margin)
    sorted_ = np.sort(first, axis=1)
    unsure = sorted_[:, -1] - sorted_[:, -2] < margin
    assert unsure.mean() == pytest.approx(share, abs=0.02)
    found = _logits(tmp_path / "both", texts)
    np.testing.assert_array_equal(found[~unsure], first[~unsure])
    np.testing.assert_allclose(found[unsure], second[unsure], rtol=1e-5)
    alone = np.concatenate([_logits(tmp_path / "both", [text]) for text in texts])
    np.testing.assert_allclose(alone, found, rtol=1e-5)
    assert invariance(tmp_path / "both", texts, tolerance=1e-4).within_tolerance


def test_the_embedding_is_the_first_models(pair: tuple[Path, Path], texts: list[str], tmp_path: Path) -> None:
    """It sees every row, and drift is watched by it."""
    join(*pair, tmp_path / "both", margin=1.0)
    first, both = (Predictor(folder, threads=1).predict(texts).embedding for folder in (pair[0], tmp_path / "both"))
    np.testing.assert_allclose(both, first, rtol=1e-5)


def test_what_both_models_have_stands_there_once(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Large constants, also where rounding has them differ in the last bit; nothing else is taken for the same."""
    wide = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    for folder, values in zip(pair, (wide, wide * (1 + 1e-7)), strict=True):
        _append(folder, "table", values.astype(np.float32))
    join(*pair, tmp_path / "both", margin=1.0)
    names = [one.name for one in onnx.load(str(tmp_path / "both" / "model.onnx")).graph.initializer]
    assert names.count("wide") == 1
    assert "second/wide" not in names
    assert {"head", "second/head"} <= set(names)
    assert folder_size(tmp_path / "both") < folder_size(pair[0]) + folder_size(pair[1])
    _append(pair[1], "table", wide + 1e-3, name="other")
    join(*pair, tmp_path / "apart", margin=1.0)
    names = [one.name for one in onnx.load(str(tmp_path / "apart" / "model.onnx")).graph.initializer]
    assert "second/other" in names


def _append(folder: Path, of: str, values: NDArray[np.float32], *, name: str = "wide") -> None:
    """Have a model read one more constant, which changes nothing: its mean times 0 is added to the table's rows."""
    model = onnx.load(str(folder / "model.onnx"))
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(values, name),
            numpy_helper.from_array(np.array(0, dtype=np.float32), f"{name}.nought"),
        ]
    )
    nodes = [
        helper.make_node("ReduceMean", [name], [f"{name}.mean"], keepdims=0),
        helper.make_node("Mul", [f"{name}.mean", f"{name}.nought"], [f"{name}.nothing"]),
        helper.make_node("Add", [of, f"{name}.nothing"], [f"{name}.{of}"]),
    ]
    for node in model.graph.node:
        node.input[:] = [f"{name}.{of}" if read == of else read for read in node.input]
    listed = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(listed)
    onnx.save(model, str(folder / "model.onnx"))


def test_the_signature_tells_the_inputs_of_both(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """And everything else as the first has it, but that int8 products must be exact where either wants that."""
    signature = read_signature(pair[1])
    session = signature.session.model_copy(update={"exact_int8": True})
    write_signature(pair[1], signature.model_copy(update={"session": session}))
    join(*pair, tmp_path / "both", margin=1.0)
    told, first = read_signature(tmp_path / "both"), read_signature(pair[0])
    assert told.session.exact_int8
    assert told.model_copy(update={"session": first.session}) == first
    model = onnx.load(str(tmp_path / "both" / "model.onnx"))
    assert [one.name for one in model.graph.input] == list(told.inputs)
    onnx.checker.check_model(model)


def test_models_that_read_or_answer_otherwise_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Other tokens, or other labels: nothing is made."""
    tokenizer = json.loads((pair[1] / "tokenizer.json").read_text(encoding="utf-8"))
    (pair[1] / "tokenizer.json").write_text(json.dumps({**tokenizer, "version": "1.0 "}), encoding="utf-8")
    with pytest.raises(CompressionError, match="do not read and answer the same"):
        join(*pair, tmp_path / "both", margin=1.0)
    write_model_folder(tmp_path / "other", ("x", "y", "z"))
    with pytest.raises(CompressionError, match="do not read and answer the same"):
        join(pair[0], tmp_path / "other", tmp_path / "both", margin=1.0)
    assert not (tmp_path / "both").exists()


def test_the_margin_leaves_the_share_below_it() -> None:
    """Of the distances of the two highest logits, whichever labels they are of."""
    logits = np.array([[0, 5, 4], [3, 0, 1], [9, 0, 0], [0, 0, 4]], dtype=np.float32)
    assert margin_at(logits, 0) == 1
    assert margin_at(logits, 1) == 9
    assert margin_at(logits, 1 / 3) == 2
