"""Groups by identity terms, how labels are spread over groups, and weights that make both independent."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import sha256_file
from ftdeploy.dataset import SplitName
from ftdeploy.errors import DataError
from ftdeploy.prepare.profile import SplitProfile
from ftdeploy.prepare.rewrite import rewrite_train
from ftdeploy.recipe import Bias, term_column

_VALUES = 100


def term_columns(bias: Bias | None) -> tuple[str, ...]:
    """The columns that the lists of terms add to a dataset."""
    return () if bias is None else tuple(term_column(name) for name in bias.terms)


def outside(bias: Bias | None) -> dict[str, str]:
    """The sha256 of each file of terms; they belong to the key of `prepare`.

    Raises:
        DataError: there is no such file.
    """
    files = {} if bias is None else {name: terms for name, terms in bias.terms.items() if isinstance(terms, Path)}
    missing = [path for path in files.values() if not path.is_file()]
    if missing:
        raise DataError(
            f"{missing[0]} does not exist, and `data.bias.terms` names it",
            cause="the path is wrong; paths in a recipe are relative to the recipe's own folder",
            fix="correct the path, or write the terms into the recipe",
        )
    return {f"terms {name}": sha256_file(path) for name, path in files.items()}


def find_terms(bias: Bias | None) -> Callable[[str], dict[str, str]]:
    """A function from a text to the value of each of `term_columns`; compiled once.

    Raises:
        DataError: a file of terms is empty or not UTF-8.
    """
    matchers = {} if bias is None else {term_column(name): _matcher(terms) for name, terms in bias.terms.items()}
    return lambda text: {column: match(text) for column, match in matchers.items()}


def _matcher(terms: Sequence[str] | Mapping[str, Sequence[str]] | Path) -> Callable[[str], str]:
    if isinstance(terms, Path):
        terms = _read_terms(terms)
    groups = terms if isinstance(terms, Mapping) else {term: (term,) for term in terms}
    group = {_form(term): name for name, listed in groups.items() for term in listed}
    # The longest first: "black woman" before "black". Not \b, which finds no border beside a sign like that of C++.
    listed = "|".join(re.escape(term).replace(r"\ ", r"\s+") for term in sorted(group, key=lambda t: (-len(t), t)))
    pattern = re.compile(rf"(?<!\w)(?:{listed})(?!\w)")

    def match(text: str) -> str:
        found = pattern.search(_form(text, joined=False))
        return "" if found is None else group[_form(found[0])]

    return match


def _form(text: str, *, joined: bool = True) -> str:
    folded = unicodedata.normalize("NFC", text).casefold()
    return " ".join(folded.split()) if joined else folded


def _read_terms(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is not UTF-8 text",
            cause="it was written in another encoding",
            fix="save it as UTF-8, with a term on each line",
        ) from error
    terms = tuple(dict.fromkeys(term for line in lines if (term := line.partition("#")[0].strip())))
    if not terms:
        raise DataError(
            f"{path.name} holds no terms",
            cause="it is empty, or all of its lines are comments",
            fix="write a term on each line",
        )
    return terms


def assess(folder: Path, bias: Bias | None, labels: Sequence[str], splits: dict[SplitName, SplitProfile], *,
           columns: Sequence[str]) -> dict[str, Any]:  # fmt: skip
    """How the labels are spread over the groups of the training rows; weights, where the recipe wants them.

    Args:
        folder: holds the splits that were just written.
        bias: the recipe's section; None does nothing.
        labels: names, in the order of their ids.
        splits: the counts of each split.
        columns: the columns that rows are grouped by.

    Returns:
        ``bias`` of ``profile.json``; {} when off.

    Raises:
        DataError: the column to reweigh by does not exist.
    """
    if bias is None:
        return {}
    if bias.reweigh is not None and bias.reweigh not in columns:
        raise DataError(
            f"`data.bias.reweigh` names the column {bias.reweigh!r}, and rows are grouped by: "
            f"{', '.join(columns) or 'nothing'}",
            cause="the column is misspelt, or missing in `data.slices`",
            fix="add the column to `data.slices`, or name a list of `data.bias.terms` as terms:NAME",
        )
    path = folder / "train.parquet"
    found: dict[str, Any] = {"columns": {name: _spread(path, name, labels) for name in columns}}
    if bias.reweigh is not None:
        value, label = _read(path, bias.reweigh), _read(path, "label")
        weights = reweighing(value, label)
        splits["train"] = rewrite_train(
            path, factors=np.array([weights[pair] for pair in zip(value, label, strict=True)]),
            slices=splits["train"].slices,
        )  # fmt: skip
        found["reweigh"] = {"column": bias.reweigh, "weights": _nested(weights)}
        progress.say(f"reweighed by {bias.reweigh}: {min(weights.values()):.2f} to {max(weights.values()):.2f}")
    return {"bias": found}


def reweighing(groups: Sequence[str], labels: Sequence[str]) -> dict[tuple[str, str], float]:
    """The weight of a row with each group and label: P(group) P(label) / P(group, label), so that in the weighted rows
    the label does not depend on the group (Kamiran & Calders 2012, "Data preprocessing techniques for classification
    without discrimination").
    """
    group, label, both = Counter(groups), Counter(labels), Counter(zip(groups, labels, strict=True))
    return {(g, y): group[g] * label[y] / (len(groups) * count) for (g, y), count in sorted(both.items())}


def _spread(path: Path, column: str, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By value, the commonest first: rows, and the share of each label among them."""
    values, given = _read(path, column), _read(path, "label")
    both = Counter(zip(values, given, strict=True))
    return {
        value: {"rows": rows, "labels": {name: round(both[value, name] / rows, 4) for name in labels}}
        for value, rows in Counter(values).most_common(_VALUES)
    }


def _nested(weights: Mapping[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for (value, label), weight in weights.items():
        found.setdefault(value, {})[label] = round(weight, 4)
    return found


def _read(path: Path, column: str) -> list[str]:
    import pyarrow.parquet as pq

    return [value or "" for value in pq.read_table(path, columns=[column]).column(column).to_pylist()]
