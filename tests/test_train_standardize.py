"""Numbers as a network learns them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from ftdeploy.onnx_export import units_of
from ftdeploy.signature import Units
from ftdeploy.train.standardize import note_units, standardize


def _table(*labels: float) -> pa.Table:
    return pa.table({"text": ["a"] * len(labels), "label": [str(label) for label in labels], "id": ["1"] * len(labels)})


def test_training_rows_have_mean_zero_and_variance_one() -> None:
    """The other splits are measured by them, and all come back by the units."""
    tables, units = standardize({"train": _table(10, 20, 30), "validation": _table(25)})
    train, validation = (np.array(tables[name]["label"].to_pylist(), dtype=float) for name in ("train", "validation"))
    assert (train.mean(), train.std()) == (pytest.approx(0), pytest.approx(1))
    assert units.offset + units.scale * validation == pytest.approx([25])
    assert tables["train"].column_names == ["text", "label", "id"]


def test_a_checkpoint_says_its_units() -> None:
    """The export finds them where `train` wrote them; another's checkpoint has the numbers themselves."""
    config = SimpleNamespace()
    assert units_of(config) == Units()
    note_units(config, Units(offset=3.5, scale=2.0))
    assert units_of(config) == Units(offset=3.5, scale=2.0)
