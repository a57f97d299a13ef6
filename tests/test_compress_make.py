"""Making model folders: what a quantizer's says of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from two_layers import write_two_layers

from ftdeploy.compress import make as module
from ftdeploy.compress.make import CASCADE, FIRST_TOKEN, Chain, Workshop
from ftdeploy.compress.students import Cut
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


def _workshop(tmp_path: Path, **changes: Any) -> Workshop:
    write_two_layers(tmp_path / "source")
    write_rows(tmp_path / "rows.npz", [[4, 5, 6, 7], [8, 9, 10, 11]])
    return Workshop(
        onnx=tmp_path / "source", config=tmp_path / "config.json", calibration=tmp_path / "rows.npz", texts=(),
        safety=0, reduce_range=False, work=tmp_path / "work", **{"school": None, **changes},
    )  # fmt: skip


@pytest.mark.parametrize(
    "fault", [RuntimeError("not enough memory: you tried to allocate 9 bytes"), MemoryError("gone")]
)
def test_a_student_that_torch_cannot_make_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """No memory, no inverse of a matrix: the candidate has failed with the reason, and the search goes on; so has one
    whose last layer cannot be spared."""

    def failing(*_given: Any, **_named: Any) -> None:
        raise fault

    monkeypatch.setattr(module, "make_student", failing)
    monkeypatch.setattr(module, "spare_last_layer", failing)
    workshop = _workshop(tmp_path, school=cast("Any", object()))
    cut = Cut(layers=(0,), channels=32, heads=1)
    for chain in (Chain(steps=(cut.name,)), Chain(steps=(FIRST_TOKEN,))):
        made = workshop.make(chain, cut=cut)
        assert (made.folder, made.reason) == (None, str(fault))


def test_a_cascade_is_made_of_two_chains_and_stands_as_one_model(tmp_path: Path) -> None:
    """Both are made where they are not there yet; what is missing of the second is the reason why there is none."""
    workshop = _workshop(tmp_path)
    made = workshop.make(Chain(steps=("calibrated", CASCADE), second=("calibrated-rows",), margin=1.0))
    assert made.folder is not None, made.reason
    assert {path.name for path in (tmp_path / "work" / "made").iterdir() if path.is_dir()} == {
        "calibrated", "calibrated-rows", f"calibrated+{CASCADE}",
    }  # fmt: skip
    assert workshop.make(Chain(steps=("calibrated", CASCADE), second=("ort-fp16",), margin=9.0)) == made
    none = workshop.make(Chain(steps=("calibrated-rows", CASCADE), second=(FIRST_TOKEN,), margin=1.0))
    assert (none.folder, none.reason) == (None, "first-token: there is no checkpoint to export again")
