"""Tags of a row's tokens, as data sets have them: numbers that have names, in any of the schemes of CoNLL files.

What a source says of its tags (`columns.tag_names`, `scheme`) is settled here; rows have names in IOB2 behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from ftdeploy.errors import DataError
from ftdeploy.spans import Scheme, TagError, is_tag, to_iob2

#: A cell and its place -> the cell with names.
Settle = Callable[[Any, str], Any]


def settled_tags(scheme: Scheme | Literal["auto"], names: Sequence[str]) -> Settle | None:
    """What makes of a label's cell one with names in IOB2; None where nothing has to be made of it.

    Args:
        scheme: of the source; with ``auto``, whoever reads the labels tells IOB2 and BIOES apart.
        names: of the numbers, in their order; none where tags are no numbers.
    """
    if not names and scheme == "auto":
        return None

    def settle(cell: Any, where: str) -> Any:
        if not isinstance(cell, list):
            return cell
        tags = [_name(value, names, where) for value in cell] if names else cell
        # What is no tag is told with the row's other faults.
        good = all(isinstance(tag, str) and is_tag(tag) for tag in tags)
        return _iob2(tags, scheme, where) if good and scheme != "auto" else tags

    return settle


def _name(value: Any, names: Sequence[str], where: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    if not 0 <= value < len(names):
        raise DataError(
            f"the row at {where}: {value} is the number of no tag; there are {len(names)}, from 0 on",
            cause="`columns.tag_names` is not complete, or a token has no tag (as -100 or -1)",
            fix="list the names in the order of their numbers, as the data set's card has them; or correct the row",
        )
    return names[value]


def _iob2(tags: list[str], scheme: Scheme, where: str) -> list[str]:
    try:
        return to_iob2(tags, scheme)
    except TagError as error:
        raise DataError(
            f"the row at {where}, token {error.at + 1}: {error}",
            cause="a tag was changed by hand, or the tags are in another scheme",
            fix="correct the tags, or set `scheme` to iob1, iob2 or bioes as the rows have it",
        ) from error
