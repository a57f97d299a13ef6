"""What rows are refused for as a whole, in the same words wherever they are read: for a recipe, a suite, a starter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ftdeploy.errors import DataError, did_you_mean
from ftdeploy.prepare.cleaning.counts import HOLDS_IDENTIFIER, Counts

#: Labels that an error lists.
_SHOWN = 20


def no_rows(name: str) -> DataError:
    """The error for a file without any row.

    Args:
        name: of the file, or what else holds the rows.
    """
    return DataError(
        f"{name} holds no rows",
        cause="the file has a header only, or an export that failed",
        fix="name the file with the rows",
    )


def no_column(missing: Sequence[str], columns: Iterable[str], *, whose: str = "",
              under: str = "`data.columns` or `data.slices`") -> DataError:  # fmt: skip
    """The error for columns that are not there: those there are, and what may have been meant.

    Args:
        missing: names; at least one.
        columns: what the rows have.
        whose: source or case, where there are several.
        under: the keys by which columns are named.
    """
    there = [str(name) for name in columns]
    hints = [did_you_mean(name, there) for name in missing]
    close = [f"{hint} for {name!r}" for name, hint in zip(missing, hints, strict=True) if hint.startswith("did")]
    return DataError(
        (f"{whose}: " if whose else "")
        + f"there is no column {', '.join(map(repr, missing))}; the columns are: {', '.join(there)}",
        cause=f"a misspelt name under {under}, or another delimiter than the file's",
        fix="; ".join(close) or f"name columns that there are under {under}",
    )


def check_label_map(whose: str, label_map: Mapping[str, str | None], met: Iterable[str]) -> None:
    """Refuse a `label_map` that renames a label which no row has.

    Args:
        whose: source or case.
        label_map: label of the file -> what it is called.
        met: names in the labels of its rows, frequent ones first where that is known.

    Raises:
        DataError: with the label that may have been meant, of those that the map does not have yet.
    """
    found = list(met)
    unused = sorted(label_map.keys() - set(found))
    if not unused:
        return
    others = [name for name in found if name not in label_map]
    hint = did_you_mean(unused[0], others)
    if not hint.startswith("did you mean"):
        hint = f"labels without a name there: {', '.join(others[:_SHOWN]) or 'none'}"
    raise DataError(
        f"{whose}: no row has the label {unused[0]!r} of its label_map",
        cause="it is misspelt there, or the rows do not have it; on the left stand the labels as the file has them",
        fix=f"correct label_map; {hint}",
    )


def nothing_left(name: str, read: int, counts: Counts) -> DataError:
    """The error for a source of which no row can be used: its name, the rows read, and why they were set aside."""
    if not read:
        return no_rows(name)
    reasons = {reason: tally.rows for reason, tally in counts.rejected.items()}
    listed = ", ".join(f"{reason}: {rows:,}" for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]))
    private = sum(rows for reason, rows in reasons.items() if reason.startswith(HOLDS_IDENTIFIER))
    if 2 * private > sum(reasons.values()):
        return DataError(
            f"no row of {name} is left after cleaning ({read:,} read; {listed})",
            cause="`data.privacy` says `drop` for types of identifiers that most rows hold, or are taken to hold",
            fix="choose redact, pseudonymise or keep for these types; `ftdeploy preview` shows what was found",
        )
    return DataError(
        f"no row of {name} is left after cleaning ({read:,} read; {listed})",
        cause="`data.columns` names the wrong columns, or the limits under `data.clean` do not fit the texts",
        fix="correct them; rows that are set aside keep their reason in the profile",
    )
