"""What ``ftdeploy eval init`` writes: a commented suite for somebody's own rows, with margins that they can support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ftdeploy.errors import ConfigError, DataError
from ftdeploy.evaluation.cases import gather
from ftdeploy.evaluation.starter_template import CALIBRATION, TEMPLATE
from ftdeploy.pairs import TEXT, as_columns
from ftdeploy.starter import FLIPS, supported_margin, write_new
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
from ftdeploy.suite import Case, CaseColumns

#: Normal quantile of a one-sided 95% interval.
_Z = 1.645
#: Rows that gates ask again; each is asked several times.
_ASKED = 256
#: Rows under which a slice is not reported.
_SLICE = 50
#: Labels whose first row is suggested as golden.
_GOLDEN = 5
_CHARS = 120


@dataclass(frozen=True, kw_only=True)
class SuiteStarter:
    """What was found in the file, and where the suite is.

    Attributes:
        suite: the file that was written.
        task: what labels like these are of.
        text, label: the columns.
        rows: rows that are judged.
        labels: label, or name in labels, -> rows.
        margin: of the accuracy gate.
        digest: of the case.
        notes: what may have been meant otherwise, a sentence each.
    """

    suite: Path
    task: str
    text: str
    label: str
    rows: int
    labels: Mapping[str, int]
    margin: float
    digest: str
    notes: tuple[str, ...] = ()


def write_suite(data_file: Path, out: Path, *, text: str | None = None, label: str | None = None,
                text_pair: str | None = None, separator: str | None = None) -> SuiteStarter:  # fmt: skip
    """Write a suite whose case is a CSV, TSV, JSON Lines or Parquet file.

    Args:
        data_file: the rows.
        out: the suite to write; it must not exist.
        text: the column with the text; guessed (long, mostly different values) when None.
        label: the column with the label; guessed (few different values) when None.
        text_pair: the column with a second text; never guessed.
        separator: what stands between labels in a cell, where a text has any number of them; never guessed. Lists of
            labels, and spans or tags as lists, are seen.

    Raises:
        SourceError: there is no such file.
        DataError: it cannot be read, the columns cannot be guessed, its labels are numbers to be estimated, or a row
            has no text or label.
        ConfigError: ``out`` exists already.
        StorageError: the disk refuses; nothing of ``out`` is left.
    """
    if out.exists():
        raise _exists(out)
    found = look_at(data_file, text=text, label=label, text_pair=text_pair, separator=separator)
    _refuse_numbers(found)
    task, name = found.task, slug(data_file.stem)
    columns = CaseColumns(text=found.text, text_pair=text_pair, label=found.label, label_separator=separator)
    case = Case(name=name, source=found.source, duplicates="drop", columns=columns)
    check_pairs(found)
    rows = gather([case], seed=0, task=task.name)
    (kept,) = rows.cases
    margin = supported_margin(kept.rows, drop=0.0)
    asked = min(_ASKED, kept.rows)
    body = TEMPLATE.format(
        file=one_line(data_file.name),
        name=name,
        task=task.name,
        metrics=", ".join(task.metrics),
        metric=task.metrics[0],
        separator="" if separator is None else f"\n      label_separator: {scalar(separator)}",
        rows=f"{kept.rows:,}",
        source="\n      ".join(source_lines(found.source, data_file, out)),
        text=scalar(found.text),
        text_pair=pair_line(text_pair),
        label=scalar(found.label),
        others=one_line(
            ", ".join(column for column in found.columns if column not in (found.text, text_pair, found.label))[:200]
        )
        or "none",
        dropped=kept.source.partition("; ")[2] or "none here",
        digest=kept.digest,
        flips=f"{FLIPS:.0%}",
        margin=f"{margin:g}",
        slices=f"{_slice_margin(rows.labels[name]):g}",
        broken=f"{_share(FLIPS / 2, kept.rows):g}",
        calibration=CALIBRATION.format(margin=f"{_calibration(kept.rows):g}") if task.one_label else "",
        asked=asked,
        robust=f"{_share(0.05, asked):g}",
        typos=f"{_share(0.15, asked):g}",
        consistent=f"{_share(0.02, min(128, kept.rows)):g}",
        golden=_golden(found, rows.table.select(["text", "label"]).to_pylist()),
    )
    try:
        write_new(out, body)
    except FileExistsError as error:
        raise _exists(out) from error
    return SuiteStarter(suite=out, task=task.name, text=found.text, label=found.label, rows=kept.rows,
                        labels=rows.labels[name], margin=margin, digest=kept.digest,
                        notes=tuple(reading_notes(found)))  # fmt: skip


def _refuse_numbers(found: Found) -> None:
    if found.task.number:
        raise DataError(
            f"column {found.label!r} holds {len(found.columns[found.label].values):,} different numbers",
            cause="they look like numbers to be estimated, and `ftdeploy eval init` knows margins for labels only",
            fix="write the suite by hand, with `task: text-regression`, metrics [r2, spearman] and a margin that you "
            "can bear; or name another column: --label COLUMN",
        )


def _exists(out: Path) -> ConfigError:
    return ConfigError(
        f"{out} exists already and was not touched",
        cause="`ftdeploy eval init` never overwrites",
        fix="name another file with --out, or move this one away",
    )


def _share(usual: float, rows: int) -> float:
    """The smallest maximum, in half points, under which a model whose share is ``usual`` passes 19 times in 20: the
    upper end of its interval lies about twice the normal quantile above the true share."""
    needed = usual + 2 * _Z * math.sqrt(usual * (1 - usual) / max(rows, 1)) + 2 / max(rows, 1)
    return min(math.ceil(needed * 200) / 200, 0.95)


def _slice_margin(labels: Mapping[str, int]) -> float:
    """The drop in a slice that can be shown: of the smallest label that is reported."""
    return supported_margin(min((count for count in labels.values() if count >= _SLICE), default=_SLICE), drop=0.0)


def _calibration(rows: int) -> float:
    """The smallest margin, in half points, under which a model that is as well calibrated passes 19 times in 20.

    Two simulated models of accuracy 0.8 that disagree on 3.3% of the rows had differences of the calibration error with
    a standard deviation of 0.17 to 0.21 / sqrt(rows), for 200 to 8,000 rows. Two points are always borne.
    """
    return max(0.02, math.ceil(200 * 2 * _Z * 0.21 / math.sqrt(max(rows, 1))) / 200)


def _golden(found: Found, rows: list[dict[str, str]]) -> str:
    """A row of each label, as comments: whether it is one that nobody argues about, a reader decides."""
    lines, task = [], found.task
    for label in sorted(found.counts)[:_GOLDEN]:
        told = (row for row in rows if task.summary(row["label"]) == label and len(row["text"]) <= _CHARS)
        row = next(told, None)
        if row is not None:
            columns = as_columns(row["text"]) if found.text_pair is not None else {TEXT: row["text"]}
            texts = ", ".join(f"{name}: {scalar(one_line(text))}" for name, text in columns.items())
            lines.append(f"#   - {{{texts}, label: {scalar(task.show(row['label'], row['text']))}}}")
    return "\n".join(lines) or "#   - {text: TEXT, label: LABEL}"
