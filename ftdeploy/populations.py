"""What the service holds texts against: the vectors of the labels' rows, made when the bundle is packaged."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.anomaly import NEAREST, populations, write_populations
from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SplitName, read_split
from ftdeploy.errors import ConfigError
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import Device
from ftdeploy.signature import Anomaly
from ftdeploy.stage import Facts

if TYPE_CHECKING:
    from numpy.typing import NDArray


def make_populations(folder: Path, dataset: Artifact, settings: Anomaly, *, device: Device) -> Facts:
    """Write the populations of the labels that have enough rows into a model folder.

    Args:
        folder: of a model that answers with vectors.
        dataset: texts are held against its rows of train, and those of validation say how far is usual.
        settings: ``package.anomaly``.
        device: see `Predictor`.

    Returns:
        ``populations``, and ``unusual_share``: of the test rows, which had no part in it, those that count as unusual.

    Raises:
        ConfigError: no label has enough rows.
    """
    predictor = Predictor(folder, device=device)

    def rows(split: SplitName) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        table = read_split(dataset, split, columns=["text", "label"]).to_pylist()
        labels = [predictor.task.summary(row["label"]) for row in table]
        return predictor.predict([row["text"] for row in table]).logits, np.array(labels, dtype=object)

    least = math.ceil(1 / settings.level - 1 - 1e-9)
    with progress.task("populations of the labels"):
        reference = rows("train")
        known = populations(reference, rows("validation"), least=least)
        vectors, labels = rows("test")
    if not known.labels:
        raise ConfigError(
            f"package.anomaly: no label has the rows that a level of {settings.level:g} wants",
            cause=f"it takes {NEAREST} rows of train and {least} of validation",
            fix="raise the level or data.split.validation, or give the rows labels of which each has more",
        )
    write_populations(folder, known)
    values = [known.p_values(vectors[labels == label], label)[0] for label in known.labels]
    together = np.concatenate(values)
    share = float((together <= settings.level).mean()) if len(together) else 0.0
    progress.say(
        f"texts are held against {len(known.labels)} of {len(set(reference[1]))} labels; of {len(together):,} test "
        f"rows {share:.1%} count as unusual, at a level of {settings.level:.0%}"
    )
    return {"populations": len(known.labels), "unusual_share": share}
