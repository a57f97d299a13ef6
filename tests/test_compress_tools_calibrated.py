"""Int8 whose activation scales are constants, or one a row: neighbours in a batch do not matter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny import WORDS
from two_layers import write_two_layers

from ftdeploy.compress.invariance import invariance
from ftdeploy.compress.sensitivity import relative_error
from ftdeploy.compress.tools import calibrated as tool
from ftdeploy.compress.tools.calibrated import calibrated
from ftdeploy.compress.tools.calibration import write_rows
from ftdeploy.errors import CompressionError
from ftdeploy.predictor import Predictor


@pytest.fixture
def texts() -> list[str]:
    random = np.random.default_rng(2)
    return [" ".join(random.choice(WORDS, size=random.integers(2, 12))) for _ in range(48)]


def _made(
    folder: Path, texts: list[str], *, name: str = "int8", loud: float = 1.0, **options: Any
) -> tuple[Path, float]:
    """The tool's model folder, and the error of its logits."""
    source = write_two_layers(folder / "float", loud=loud)
    made = write_two_layers(folder / name)
    predictor = Predictor(source, threads=1)
    write_rows(folder / "rows.npz", [row.ids for row in predictor.encode(texts)])
    calibrated(source, made / "model.onnx", {"calibration": str(folder / "rows.npz"), **options})
    expected = predictor.predict(texts).logits
    return made, relative_error(Predictor(made, threads=1).predict(texts).logits, expected)


def _kinds(folder: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(folder / "model.onnx")).graph.node)


@pytest.mark.parametrize("row_scales", [(), ("first/MatMul", "head/Gemm"), "all"])
def test_answers_stay_and_do_not_depend_on_neighbours(tmp_path: Path, texts: list[str], row_scales: Any) -> None:
    """All products with weights are int8, the logits hardly move, and a row is answered alike in any batch."""
    made, error = _made(tmp_path, texts, row_scales=row_scales)
    kinds = _kinds(made)
    assert kinds["MatMulIntegerToFloat"] == 3
    assert not {"MatMul", "Gemm", "DynamicQuantizeLinear"} & kinds.keys()
    assert 0 < error < 0.01
    assert invariance(made, texts, tolerance=1e-4).within_tolerance


def test_ranges_are_found_once_for_all_variants_of_a_model(
    tmp_path: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another variant of the same model, quantized by the same rows, takes them as they were found, and is the same
    file as without; other layers in float, or another model, are looked at anew."""
    looks = 0
    look = tool._activations

    def counting(*given: Any) -> Any:
        nonlocal looks
        looks += 1
        return look(*given)

    monkeypatch.setattr(tool, "_activations", counting)
    known: dict[str, Any] = {"known": str(tmp_path / "ranges")}
    plain, _ = _made(tmp_path, texts, name="plain", row_scales="all")
    _made(tmp_path, texts, name="first", **known)
    again, _ = _made(tmp_path, texts, name="again", row_scales="all", **known)
    assert looks == 2
    assert (again / "model.onnx").read_bytes() == (plain / "model.onnx").read_bytes()
    _made(tmp_path, texts, name="less", exclude=("first/MatMul",), **known)
    _made(tmp_path, texts, name="other", loud=40.0, **known)
    assert looks == 4


def test_a_loud_token_costs_the_others_nothing_with_scales_by_row(tmp_path: Path, texts: list[str]) -> None:
    """A constant range gives most of its steps to the loud one."""
    _, constant = _made(tmp_path, texts, name="constant", loud=40.0)
    _, by_row = _made(tmp_path, texts, name="rows", loud=40.0, row_scales="all")
    assert by_row < constant / 4


def test_a_bias_goes_into_the_product_and_excluded_layers_stay(tmp_path: Path, texts: list[str]) -> None:
    """The Gemm's bias needs no pass of its own; what is excluded is a float product as before."""
    made, _ = _made(tmp_path, texts, name="int8")
    assert _kinds(made)["Add"] == 0
    kept, _ = _made(tmp_path, texts, name="kept", exclude=["second/MatMul", "head/Gemm"])
    assert (_kinds(kept)["MatMulIntegerToFloat"], _kinds(kept)["MatMul"], _kinds(kept)["Add"]) == (1, 2, 1)


def test_the_range_is_chosen_by_the_error(tmp_path: Path, texts: list[str]) -> None:
    """No single share of the values that is tried for all layers is better than the choice for each."""
    _, chosen = _made(tmp_path, texts, name="chosen", loud=10.0)
    _, cut = _made(tmp_path, texts, name="cut", loud=10.0, coverage=0.95)
    assert chosen < cut


def test_what_cannot_be_done_is_said(tmp_path: Path, texts: list[str]) -> None:
    """Nothing left to quantize, and scales by row in a graph that is too old for them."""
    with pytest.raises(CompressionError, match="nothing to quantize"):
        _made(tmp_path, texts, exclude=["first/MatMul", "second/MatMul", "head/Gemm"])
    old = write_two_layers(tmp_path / "old", opset=17)
    with pytest.raises(CompressionError, match="opset of at least 18"):
        calibrated(old, tmp_path / "out.onnx", {"calibration": str(tmp_path / "rows.npz"), "row_scales": "all"})
