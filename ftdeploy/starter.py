"""What ``ftdeploy init`` writes: a commented recipe for somebody's own file, which runs as it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.errors import ConfigError, StorageError, first_of
from ftdeploy.recipe import ExportSettings
from ftdeploy.starter_columns import LEAST_OF_A_LABEL
from ftdeploy.starter_rows import (
    Found,
    check_pairs,
    look_at,
    one_line,
    pair_line,
    reading_notes,
    scalar,
    slug,
    source_lines,
)
from ftdeploy.starter_template import TEMPLATE

if TYPE_CHECKING:
    from ftdeploy.tasks import Task

_TEST, _VALIDATION = 0.2, 0.1
#: `compress.max_drop` of the starter recipe, in units of accuracy.
MAX_DROP = 0.01
#: Share of test rows on which an int8 model and fp32 differ in being right; with small encoders it is 2 to 4%.
FLIPS = 0.04
# Normal quantiles of a one-sided 95% interval, and of a chance of 95% that a model with the tolerated drop passes.
_Z = 1.645 + 1.645
#: Whole rows: the least favourable one that `ftdeploy.statistics.compare` adds, and one because counts take steps.
STEPS = 2


#: What is learned of labels, for the recipe's line with the task.
_LEARNED = {
    "text-classification": "one label for a text",
    "multi-label-classification": "every label that holds for a text, or none",
    "token-classification": "spans of a text, each of a kind",
    "text-regression": "a number for a text, in the units of the column",
}


@dataclass(frozen=True, kw_only=True)
class Starter:
    """What was found in the file, and where the recipe is.

    Attributes:
        recipe: the file that was written.
        task: what labels like these are of.
        text, label: the columns.
        text_pair: the column with a second text, where rows have one.
        rows: rows with text and label.
        labels: the labels, or the names that they are made of, sorted; of numbers none.
        numbers: the lowest and the highest, where a number is estimated.
        notes: what whoever reads the recipe should know, a sentence each.
        margin: of the gate on the first metric, in units of it.
    """

    recipe: Path
    task: str
    text: str
    label: str
    rows: int
    labels: tuple[str, ...]
    margin: float
    text_pair: str | None = None
    numbers: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def write_starter(data_file: Path, out: Path, *, text: str | None = None, label: str | None = None,
                  text_pair: str | None = None, separator: str | None = None,
                  name: str | None = None, task: str | None = None) -> Starter:  # fmt: skip
    """Write a starter recipe for a CSV, TSV, JSON Lines or Parquet file.

    Args:
        data_file: the user's rows.
        out: the recipe to write; it must not exist.
        text: the column with the text; guessed (long, mostly different values) when None.
        label: the column with the label; guessed (few different values) when None.
        text_pair: the column with a second text; never guessed.
        separator: what stands between labels in a cell, where a text has any number of them; never guessed. Lists of
            labels, and spans or tags as lists, are seen.
        name: of the recipe; from the file's name when None.
        task: text-regression or text-classification, where a column holds numbers; guessed (see
            `ftdeploy.starter_columns.Column.measured`) when None.

    Raises:
        SourceError: there is no such file.
        DataError: the file cannot be read, or the columns cannot be guessed, and it lists those there are.
        ConfigError: ``out`` exists already, or ``task`` is another one.
        StorageError: the disk refuses; nothing of ``out`` is left.
    """
    if out.exists():
        raise _exists(out)
    found = look_at(data_file, text=text, label=label, text_pair=text_pair, separator=separator, task=task)
    check_pairs(found)
    learned, text_column, label_column = found.task, found.text, found.label
    labels = tuple(sorted(name for name in found.counts if name not in learned.summaries(())))  # but that there is none
    rows, column = found.rows, found.columns[label_column]
    tests = _test_rows(found)
    margin = supported_margin(tests)
    body = TEMPLATE.format(
        file=one_line(data_file.name),
        name=slug(name or data_file.stem),
        source="\n    ".join(source_lines(found.source, data_file, out)),
        text=scalar(text_column),
        text_pair=pair_line(text_pair),
        label=scalar(label_column),
        separator="" if separator is None else f"\n    label_separator: {scalar(separator)}",
        task=learned.name,
        learned=_LEARNED[learned.name],
        metrics=", ".join(learned.metrics),
        metric=learned.metrics[0],
        others=_others(found.columns, (text_column, text_pair, label_column, found.split)),
        labels=_labels_line(learned, labels),
        stratified=f"each {'fifth of the numbers' if learned.number else 'label'} everywhere",
        split="\n    ".join(_split_lines(found.split)),
        test=_TEST,
        validation=_VALIDATION,
        rows=f"{rows:,}",
        test_rows=f"{tests:,}",
        epochs=3 if rows >= 2000 else 6,  # noqa: PLR2004 - fewer rows want more passes to take as many steps
        opset=ExportSettings().opset,
        max_drop=f"{MAX_DROP:g}",
        margin=f"{margin:g}",
        margin_words=_margin_words(margin),
    )
    try:
        write_new(out, body)
    except FileExistsError as error:
        raise _exists(out) from error
    return Starter(
        recipe=out, task=learned.name, text=text_column, label=label_column, rows=rows, labels=labels, margin=margin,
        text_pair=text_pair, numbers=(column.low, column.high) if learned.number else None,
        notes=tuple(_notes(found, given=task is not None)),
    )  # fmt: skip


def write_new(path: Path, text: str) -> None:
    """Write a text file that is not there yet, UTF-8; its folder is made when missing.

    Raises:
        FileExistsError: it is there by now.
        StorageError: the disk refuses; nothing of the file is left, as that would block the next try.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("x", encoding="utf-8")
        try:
            with handle:
                handle.write(text)
        except BaseException:
            path.unlink()
            raise
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}",
            cause="no permission, a file in the way, or a full or read-only disk",
            fix="name another file with --out, or free space",
        ) from error


def _split_lines(column: str | None) -> list[str]:
    if column is None:
        return ["# column: COLUMN            # where one says train, validation or test; else rows are divided so:"]
    return [
        f"column: {scalar(column)}   # says which rows are for what; a split that no row names is cut from train, so:",
        "leakage: drop               # what stands in two splits, or nearly so, is taken out of train; `error` stops",
    ]


def _test_rows(found: Found) -> int:
    """Of the rows with text and label, about."""
    from ftdeploy.prepare.leakage import part_named
    from ftdeploy.prepare.split import TEST

    if found.split is None:
        return round(found.rows * _TEST)
    values = found.columns[found.split].values
    named = sum(count for value, count in values.items() if part_named(value) == TEST)
    return round(found.rows * (named / values.total() or _TEST))


def _labels_line(task: Task, labels: Sequence[str]) -> str:
    if task.number:
        return "# no `labels`: a label is a number as 3, -0.5 or 1e3; a row with an empty cell is set aside"
    named = ", ".join(map(scalar, labels if len(labels) > 1 else ()))  # a recipe wants two, or takes those found
    return f"labels: [{named}]   # in the order of their ids; a row with another label is an error"


def _notes(found: Found, *, given: bool) -> Iterator[str]:
    """What may have been meant otherwise, and what `prepare` will not take."""
    yield from reading_notes(found)
    if found.split is not None:
        yield f"the column {found.split} says which rows are for training and which for the test; the recipe goes by it"
    column = found.columns[found.label]
    if found.task.number and not given:
        yield f"{found.label} is taken for numbers to be estimated; --task text-classification makes each a label"
    elif found.task.one_label and column.numeric and not given:
        yield f"{found.label} holds numbers, and each is taken for a label; --task text-regression estimates them"
    rare = sorted(repr(name) for name, count in found.counts.items() if count < LEAST_OF_A_LABEL)
    if found.task.one_label and rare:
        yield (
            f"labels with fewer than {LEAST_OF_A_LABEL} rows, at which `ftdeploy run` stops: {first_of(rare, 5)}; "
            "correct or merge them, remove their rows, or add some"
        )
    folded = Counter(name.casefold() for name in found.counts)
    alike = sorted(name for name in found.counts if folded[name.casefold()] > 1)
    if alike:
        yield f"labels that differ in case alone are different labels: {', '.join(map(repr, alike[:6]))}"
    if found.misfits:
        yield (
            f"{found.misfits:,} labels cannot be read, and `ftdeploy run` stops at the first ({found.fault}): correct "
            "these cells, or empty them, which sets their rows aside"
        )


def supported_margin(test_rows: int, *, drop: float = MAX_DROP) -> float:
    """The smallest margin of a non-inferiority gate on accuracy, in half points, that decides with room: a candidate
    that is worse by ``drop``, which compression lets through, passes about 19 times in 20. A smaller margin would end
    good runs as inconclusive.

    The difference of two paired accuracies has variance flips / rows (McNemar), with flips taken as 4%; so the margin
    must exceed drop + (z_0.95 + z_0.95) * sqrt(flips / rows), and two rows.

    Args:
        test_rows: of the gate.
        drop: a true drop of accuracy that must pass.
    """
    rows = max(test_rows, 1)
    needed = drop + _Z * math.sqrt(FLIPS / rows) + STEPS / rows
    return min(math.ceil(needed * 200) / 200, 0.5)


def _exists(out: Path) -> ConfigError:
    return ConfigError(
        f"{out} exists already and was not touched",
        cause="`ftdeploy init` never overwrites",
        fix="name another file, or move this one away",
    )


def _others(columns: Iterable[str], named: Sequence[str | None]) -> str:
    rest = [name for name in columns if name not in named]
    return one_line(", ".join(rest[:20])) or "none"


def _margin_words(margin: float) -> str:
    if margin > 0.03:  # noqa: PLR2004 - three points are more than most would give away
        return "Few: only a large drop can be told from chance; with more test rows, make the margin smaller"
    return "So many decide about this margin; with more of them, make it smaller"
