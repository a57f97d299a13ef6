"""The master file of CUAD v1 (Hendrycks et al. 2021): 510 contracts, and for each of 41 categories the clauses found.

A CSV with a row for each contract. A category's column holds a list of texts, written as Python writes one; the column
`<category>-Answer` behind it holds what the annotators concluded, and is not read.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator
from pathlib import Path

#: A year in a file's name: when the contract was filed with the SEC.
_YEAR = re.compile(r"(?<!\d)(19[89]|20[012])\d(?:[01]\d[0-3]\d)?(?!\d)")
#: Names, parties and dates: found once in nearly every contract, short, and no clauses.
NO_CLAUSES = frozenset({"Document Name", "Parties", "Agreement Date", "Effective Date"})


def load(path: Path) -> Iterator[dict[str, str]]:
    """Yield the clauses that their contract has under one category.

    A clause that a contract has under several categories (a licence that is exclusive, and perpetual) has no one right
    answer and is left out, whichever these are.

    Args:
        path: ``master_clauses.csv``.

    Yields:
        ``text``, ``label`` (the category), ``contract`` (the name of its file), ``filed`` (the decade in that name, as
        ``2010s``; else ``unknown``) and ``id`` (the contract's number in the file, and the clause's in the contract).

    Raises:
        ValueError: a column that does not hold a list of texts.
    """
    for row, categories in _clauses(path):
        if len(categories) == 1:
            yield row | {"label": categories[0]}


def load_each(path: Path) -> Iterator[dict[str, str]]:
    """Yield every clause once for each category that its contract has it under, as CUAD's own tables count them.

    A clause of several categories then stands there with as many labels, of which at most one can be answered:
    ``data.duplicates.exact: keep`` keeps them.

    Args, Yields, Raises:
        as `load`; behind ``id`` stands the category's number.
    """
    for row, categories in _clauses(path):
        for number, category in enumerate(categories, start=1):
            yield row | {"label": category, "id": f"{row['id']}-{number}"}


def _clauses(path: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Each text of a contract and all of its categories; texts equal but for case and white space are one."""
    with path.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=1):
            contract = row.pop("Filename")
            year = _YEAR.search(contract)
            filed = f"{year[1]}0s" if year else "unknown"
            found: dict[str, tuple[str, list[str]]] = {}
            for category, cell in row.items():
                if category in NO_CLAUSES or category.endswith("-Answer"):
                    continue
                for text in _texts(cell, f"contract {number}, {category}"):
                    _, categories = found.setdefault(" ".join(text.split()).casefold(), (text, []))
                    if category not in categories:
                        categories.append(category)
            for place, (text, categories) in enumerate(found.values(), start=1):
                yield {"text": text, "contract": contract, "filed": filed, "id": f"{number}-{place}"}, categories


def _texts(cell: str, where: str) -> list[str]:
    try:
        texts = ast.literal_eval(cell)
    except (ValueError, SyntaxError):
        texts = None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where}: no list of texts: {cell[:80]!r}")
    return texts
