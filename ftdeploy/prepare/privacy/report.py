"""``privacy`` in profile.json: how much of each type was found where, and what became of it. It counts, never quotes.

Keys: ``key`` (fingerprint of the secret; null without one), ``ids`` (what was done to the columns id and group),
``rows`` (cleaned rows with an identifier in their text), ``types`` (by type: ``policy``, ``found``, ``rows``,
``splits`` with the findings by split and under ``aside`` those of rows that are in none, ``labels`` with the findings
by label), ``columns`` (by column other than the text: findings by type), ``dropped`` (rows set aside by type).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.prepare.privacy.guard import Guard, name_list
from ftdeploy.prepare.privacy.secret import key_fingerprint, read_key
from ftdeploy.prepare.split import TEST, TRAIN, VALIDATION, Index
from ftdeploy.privacy.kinds import IDENTIFIER_TYPES
from ftdeploy.recipe.privacy import Privacy

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OF_THE_RECIPE = frozenset({"source", "sources", "licence", "citation", "encoding"})
_SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def report(guard: Guard, index: Index, where: NDArray[np.uint8]) -> dict[str, Any]:
    """The profile's key, as plain data.

    Args:
        guard: after the last row.
        index: the numbers of the cleaned rows.
        where: per row, a constant of ``ftdeploy.prepare.split``.
    """
    rows = np.frombuffer(guard.rows, dtype=np.uint64).astype(np.int64)
    kinds = np.frombuffer(guard.kinds, dtype=np.uint8)
    types: dict[str, Any] = {}
    for number, kind in enumerate(IDENTIFIER_TYPES):
        here = rows[kinds == number]
        if not len(here):
            continue
        places, labels = where[here], np.bincount(index.label[here], minlength=len(index.labels))
        splits = {name: int((places == place).sum()) for name, place in _SPLITS.items()}
        types[kind] = {
            "policy": guard.rules.policy_of(kind),
            "found": len(here),
            "rows": len(np.unique(here)),
            "splits": splits | {"aside": len(here) - sum(splits.values())},
            "labels": {name: int(count) for name, count in zip(index.labels, labels, strict=True) if count},
        }
    return {
        "key": None if guard.key is None else key_fingerprint(guard.key),
        "ids": guard.rules.ids,
        "rows": len(np.unique(rows)),
        "types": types,
        "columns": {name: dict(sorted(counts.items())) for name, counts in sorted(guard.columns.items())},
        "dropped": dict(sorted(guard.dropped.items())),
    }


def add_to(profile: Mapping[str, Any], guard: Guard, index: Index, where: NDArray[np.uint8]) -> dict[str, Any]:
    """The profile with the key `privacy`, and with whatever identifier the other keys quote redacted: a time, a label,
    a text that recurs. What the recipe itself says of its sources stays as it is.
    """
    shown = {key: value if key in _OF_THE_RECIPE else guard.scrub(value) for key, value in profile.items()}
    found = report(guard, index, where)
    progress.say(in_words(found))
    return shown | {"privacy": found}


def in_words(found: Mapping[str, Any]) -> str:
    """A line for people."""
    listed = [f"{one['found']:,} {kind} ({one['policy']})" for kind, one in found["types"].items()]
    listed += [f"{sum(kinds.values()):,} in the column {name}" for name, kinds in found["columns"].items()]
    listed += [f"{rows:,} rows dropped for {kind}" for kind, rows in found["dropped"].items()]
    return f"identifiers: {', '.join(listed) or 'none found'}"


def outside(rules: Privacy | None) -> dict[str, str]:
    """What decides the result and stands in no manifest: the secret's fingerprint, the names, the model, versions.

    Raises:
        ConfigError: the secret is missing.
        SourceError: the list of names cannot be read.
    """
    from hashlib import sha256

    if rules is None:
        return {}
    key = read_key(rules)
    made = {"privacy": "1", "phonenumbers": _version("phonenumbers")}
    if key is not None:
        made["privacy.key"] = key_fingerprint(key)
    listed = name_list(rules)
    if listed:
        made["privacy.names"] = sha256("\n".join(sorted(listed)).encode()).hexdigest()
    if rules.ner is not None:
        made["privacy.ner"] = _folder(rules.ner.path.rglob("*"))
        made["transformers"] = _version("transformers")
    if rules.presidio:
        made["presidio-analyzer"] = _version("presidio-analyzer")
    return made


def _version(distribution: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"  # whoever uses it says so


def _folder(paths: Iterable[Any]) -> str:
    from ftdeploy.artifact import digest_of, sha256_file

    return digest_of({path.name: sha256_file(path) for path in paths if path.is_file()})
