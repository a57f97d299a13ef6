"""Numbers as a network learns them: with a mean of 0 and a variance of 1 over the training rows, whatever their units.

The checkpoint says what they were in its config.json (``ftdeploy_offset``, ``ftdeploy_scale``), for a number is
``offset + scale * logit``; the export writes it into the signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftdeploy.signature import Units
from ftdeploy.values import numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


def standardize(tables: Mapping[str, pa.Table]) -> tuple[dict[str, pa.Table], Units]:
    """The rows of the splits with standardised labels, and what these are in the units of the data.

    Args:
        tables: ``train``, of which mean and standard deviation are taken, and others.
    """
    import pyarrow as pa

    found = {name: numbers(table["label"].to_pylist()) for name, table in tables.items()}
    train = found["train"]
    units = Units(offset=float(train.mean()), scale=float(train.std()) or 1.0)
    made = {}
    for name, table in tables.items():
        values = [repr(value) for value in ((found[name] - units.offset) / units.scale).tolist()]
        made[name] = table.set_column(table.column_names.index("label"), "label", pa.array(values, pa.string()))
    return made, units


def note_units(config: Any, units: Units) -> None:
    """Write them into a checkpoint's config."""
    config.ftdeploy_offset, config.ftdeploy_scale = units.offset, units.scale
