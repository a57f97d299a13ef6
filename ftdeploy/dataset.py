"""Reading a dataset artifact; the stages that need rows share this and not each other.

The columns of a split are ``text``, ``label``, ``group`` (null without one), ``id``, and those of ``data.slices``; all
strings. ``unlabelled.parquet``, where the recipe has `data.unlabelled`, has ``text`` and ``id``. Where rows have a
second text, files have it as ``text_pair``, and what is read of them here has both texts in ``text``
(`ftdeploy.pairs`). ``profile.json`` says what was read, what was set aside and why, and what is in each split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ftdeploy.artifact import Artifact
from ftdeploy.pairs import TEXT, TEXT_PAIR, with_joined_texts

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
    return read_texts(dataset.file(f"{name}.parquet"), columns=columns)


def read_texts(path: Path, *, columns: list[str] | None = None) -> pa.Table:
    """A table of texts out of a parquet file; pairs are joined.

    Args:
        path: the file.
        columns: only these; None is all.
    """
    import pyarrow.parquet as pq

    return with_joined_texts(pq.read_table(path, columns=with_text_pair(path, columns)))


def read_batches(path: Path, *, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """`read_texts`, so many rows at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, pre_buffer=False) as file:  # else it keeps all that was read
        for batch in file.iter_batches(batch_size=rows, columns=with_text_pair(path, columns)):
            yield with_joined_texts(batch)


def with_text_pair(path: Path, columns: list[str] | None) -> list[str] | None:
    """The columns to read of a parquet file, so that a text comes with its second one, where rows have one."""
    import pyarrow.parquet as pq

    if columns is None or TEXT not in columns or TEXT_PAIR not in pq.read_schema(path).names:
        return columns
    return [*columns, TEXT_PAIR]


def read_unlabelled(dataset: Artifact) -> list[str]:
    """The texts that only a teacher answers, in the order of `data.unlabelled`; empty where there are none.

    Args:
        dataset: a dataset artifact.
    """
    if _UNLABELLED not in dataset.files:
        return []
    texts: list[str] = read_texts(dataset.file(_UNLABELLED), columns=["text"])["text"].to_pylist()
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


def pair_columns(dataset: Artifact) -> tuple[str, str] | None:
    """How the recipe calls the two texts of a row; None where rows have one."""
    found = read_profile(dataset).get("pairs")
    return None if found is None else (str(found[0]), str(found[1]))
