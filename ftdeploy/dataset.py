"""Reading a dataset artifact; the stages that need rows share this and not each other.

The columns of a split are ``text``, ``label``, ``group`` (null without one), ``id``, and those of ``data.slices``; all
strings. ``unlabelled.parquet``, where the recipe has `data.unlabelled`, has ``text`` and ``id``. ``profile.json`` says
what was read, what was set aside and why, and what is in each split.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ftdeploy.artifact import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
_UNLABELLED = "unlabelled.parquet"


def read_split(dataset: Artifact, name: SplitName, *, columns: list[str] | None = None) -> pa.Table:
    """The rows of one split, in the order of the source.

    Args:
        dataset: a dataset artifact.
        name: which split.
        columns: only these; None is all.

    Raises:
        ArtifactError: the artifact has no such file.
    """
    import pyarrow.parquet as pq

    return pq.read_table(dataset.file(f"{name}.parquet"), columns=columns)


def read_unlabelled(dataset: Artifact) -> list[str]:
    """The texts that only a teacher answers, in the order of `data.unlabelled`; empty where there are none.

    Args:
        dataset: a dataset artifact.
    """
    import pyarrow.parquet as pq

    if _UNLABELLED not in dataset.files:
        return []
    texts: list[str] = pq.read_table(dataset.file(_UNLABELLED), columns=["text"])["text"].to_pylist()
    return texts


def read_profile(dataset: Artifact) -> Mapping[str, Any]:
    """What ``prepare`` counted; the keys are described in ``ftdeploy/prepare/profile.py``.

    Raises:
        ArtifactError: the artifact has no profile.
    """
    document: dict[str, Any] = json.loads(dataset.file("profile.json").read_text(encoding="utf-8"))
    return document


def label_names(dataset: Artifact) -> tuple[str, ...]:
    """The labels in the order of their ids: ``data.labels``, or those found, sorted."""
    return tuple(read_profile(dataset)["labels"])
