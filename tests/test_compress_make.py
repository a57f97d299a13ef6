"""Making model folders: what a quantizer's says of its weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from two_layers import write_two_layers

from ftdeploy.compress.make import Chain, Workshop
from ftdeploy.compress.tools.calibration import write_rows
from ftdeploy.signature import read_signature


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantizer", "reduce_range", "exact"),
    [
        ("ort-dynamic", False, True),
        ("ort-dynamic", True, False),
        ("ort-static-minmax", True, False),
        ("calibrated", False, False),
        ("ort-int8", False, False),
    ],
)
def test_a_model_says_whether_its_weights_want_vnni(
    tmp_path: Path, quantizer: str, reduce_range: bool, exact: bool
) -> None:
    """So that whoever opens it elsewhere asks for exact products; where weights were asked to fit, or fit by
    themselves, nobody has to."""
    source = write_two_layers(tmp_path / "source")
    write_rows(tmp_path / "rows.npz", [[4, 5, 6, 7], [8, 9, 10, 11]])
    workshop = Workshop(
        onnx=source, config=tmp_path / "config.json", calibration=tmp_path / "rows.npz", texts=(), safety=0,
        reduce_range=reduce_range, school=None, work=tmp_path / "work",
    )  # fmt: skip
    made = workshop.make(Chain(steps=(quantizer,)))
    assert made.folder is not None, made.reason
    before, after = read_signature(source), read_signature(made.folder)
    assert after.session.exact_int8 is exact
    assert after.model_copy(update={"session": before.session}) == before
