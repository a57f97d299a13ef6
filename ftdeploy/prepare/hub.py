"""A data set in the hub's layout, read row by row with the ``datasets`` library; none of its code is run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ftdeploy.errors import DataError, DependencyError


def read_hub(path: Path, *, split: str, subset: str | None) -> Iterator[Mapping[str, Any]]:
    """The rows of one split, labels as their names where the data set declares names (``ClassLabel``).

    Args:
        path: a local folder in the hub's layout: data files, and a README.md whose YAML may name configurations; or one
            that ``save_to_disk`` of the library wrote.
        split: which one.
        subset: which configuration, where there are several.

    Raises:
        DataError: no such split or configuration, or files that the library cannot read.
        DependencyError: ``datasets`` is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise DependencyError(
            "`hub:` for data needs the package datasets",
            cause="ftdeploy was installed without its training extra",
            fix="pip install 'ftdeploy[train]'",
        ) from error
    # A folder of nobody's making may hold anything: what the library's readers raise is told in its own words.
    faults = (ValueError, OSError, TypeError, KeyError, datasets.exceptions.DatasetsError)
    try:
        rows = _saved(path, split)
        if rows is None:
            rows = stream(str(path), subset=subset, split=split)
        names = class_names(rows.features)
        for row in rows:
            yield {key: names[key](value) if key in names else value for key, value in row.items()}
    except faults as error:
        chosen = f"the split {split!r}" + (f" of {subset!r}" if subset else "")
        raise DataError(
            f"{path.name}: the `datasets` library cannot load {chosen}: {_words(error)}",
            cause="there is no such split or configuration, or the files are not in the hub's layout (data files, "
            "README.md)",
            fix="set `data.source.split` and `data.source.subset`; or name one file with `path:` and its `format`",
        ) from error


def stream(place: str, *, subset: str | None, split: str) -> Any:
    """The rows of one split, read as they are asked for. In CSV files `NA`, `null`, `None` and the like are what stands
    there, as in every other file; the library, which reads them by pandas, would take them for missing.

    Args:
        place: a folder in the hub's layout, or what else the library knows.
        subset: which configuration, where there are several.
        split: which one.
    """
    import datasets

    builder = datasets.load_dataset_builder(place, name=subset)
    if getattr(builder.config, "keep_default_na", False) and builder.config.na_values is None:
        builder.config.keep_default_na, builder.config.na_values = False, [""]
    return builder.as_streaming_dataset(split=split)


def _saved(path: Path, split: str) -> Any:
    """The rows of a folder that ``save_to_disk`` wrote, memory-mapped; None where it is none. One of a single data set
    has no splits.

    Raises:
        KeyError: there is no such split.
    """
    import datasets

    if not any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return None
    found = datasets.load_from_disk(str(path))
    return found[split] if isinstance(found, datasets.DatasetDict) else found


def _words(error: Exception) -> str:
    """What the library says; of a failed reader, what the reader said."""
    inner = error.__cause__ if error.__cause__ is not None and not str(error).strip() else error
    return " ".join(str(inner).split())[:300] or type(inner).__name__


def class_names(features: Mapping[str, Any] | None) -> dict[str, Callable[[Any], Any]]:
    """For each column of class numbers: a function that turns a number (or a list of them) into names.

    Args:
        features: of a data set of the `datasets` library; None where it does not know them.
    """
    found: dict[str, Callable[[Any], Any]] = {}
    for key, feature in (features or {}).items():
        inner: Any = getattr(feature, "feature", None)
        if hasattr(feature, "int2str"):
            found[key] = partial(_name, feature)
        elif hasattr(inner, "int2str"):
            found[key] = partial(_list_names, inner)
    return found


def parquet_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, Callable[[Any], Any]]:
    """For each column of class numbers, in a Parquet file that the ``datasets`` library has written: a function that
    turns a number (or a list of them) into names, so that the file says the same by its path as in its folder. The
    library itself is not asked, as it may not be installed.

    Args:
        metadata: of the file's Arrow schema.
    """
    try:
        told = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    found: dict[str, Callable[[Any], Any]] = {}
    for key, feature in features:
        inner = feature[0] if isinstance(feature, list) and feature else feature  # as older releases write a list
        inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
        names = inner.get("names") if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" else None
        if isinstance(names, list):
            found[key] = partial(_called, names) if inner is feature else partial(_all_called, names)
    return found


def _all_called(names: list[str], values: list[int | None] | None) -> list[Any] | None:
    """Numbers by their names; what is the number of none stays, and is told by who reads the row."""
    if values is None:
        return None
    return [_called(names, value) if value != -1 else value for value in values]


def _called(names: list[str], value: int | None) -> Any:
    # -1 is the hub's way to say that a test row has no label.
    if value is None or value == -1:
        return None
    return str(names[value]) if 0 <= value < len(names) else value


def _name(feature: Any, value: int | None) -> str | None:
    return None if value is None or value == -1 else str(feature.int2str(value))


def _list_names(feature: Any, values: list[int] | None) -> list[str | None] | None:
    return None if values is None else [_name(feature, value) for value in values]
