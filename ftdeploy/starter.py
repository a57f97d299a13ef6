"""What ``ftdeploy init`` writes: a commented recipe for somebody's own file, which runs as it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftdeploy.errors import ConfigError
from ftdeploy.recipe import ExportSettings
from ftdeploy.starter_rows import look_at, one_line, pair_line, scalar, slug, source_lines
from ftdeploy.starter_template import TEMPLATE

_TEST, _VALIDATION = 0.2, 0.1
#: `compress.max_drop` of the starter recipe, in units of accuracy.
MAX_DROP = 0.01
#: Share of test rows on which an int8 model and fp32 differ in being right; with small encoders it is 2 to 4%.
FLIPS = 0.04
# Normal quantiles of a one-sided 95% interval, and of a chance of 95% that a model with the tolerated drop passes.
_Z = 1.645 + 1.645
#: Whole rows: the least favourable one that `ftdeploy.statistics.compare` adds, and one because counts take steps.
STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Starter:
    """What was found in the file, and where the recipe is.

    Attributes:
        recipe: the file that was written.
        text, label: the columns.
        text_pair: the column with a second text, where rows have one.
        rows: rows with text and label.
        labels: the labels, sorted.
        margin: of the accuracy gate, in units of accuracy.
    """

    recipe: Path
    text: str
    label: str
    rows: int
    labels: tuple[str, ...]
    margin: float
    text_pair: str | None = None


def write_starter(data_file: Path, out: Path, *, text: str | None = None, label: str | None = None,
                  text_pair: str | None = None, name: str | None = None) -> Starter:  # fmt: skip
    """Write a starter recipe for a CSV, TSV, JSON Lines or Parquet file.

    Args:
        data_file: the user's rows.
        out: the recipe to write; it must not exist.
        text: the column with the text; guessed (long, mostly different values) when None.
        label: the column with the label; guessed (few different values) when None.
        text_pair: the column with a second text; never guessed.
        name: of the recipe; from the file's name when None.

    Raises:
        SourceError: there is no such file.
        DataError: the file cannot be read, or the columns cannot be guessed; it lists those there are.
        ConfigError: ``out`` exists already.
    """
    if out.exists():
        raise _exists(out)
    found = look_at(data_file, text=text, label=label, text_pair=text_pair)
    if not found.task.one_label:
        raise ConfigError(
            f"column {found.label!r} holds lists, and `ftdeploy init` writes recipes for one label a row",
            cause=f"they look like labels of {found.task.name}",
            fix=f"name another column with --label; or write the recipe by hand, with `task: {found.task.name}`",
        )
    text_column, label_column, counts = found.text, found.label, found.counts
    rows = sum(counts.values())
    margin = supported_margin(round(rows * _TEST))
    body = TEMPLATE.format(
        file=one_line(data_file.name),
        name=slug(name or data_file.stem),
        source="\n    ".join(source_lines(found.source, data_file, out)),
        text=scalar(text_column),
        text_pair=pair_line(text_pair),
        label=scalar(label_column),
        others=_others(found.columns, (text_column, text_pair, label_column)),
        labels=", ".join(scalar(item) for item in sorted(counts)),
        test=_TEST,
        validation=_VALIDATION,
        rows=f"{rows:,}",
        test_rows=f"{round(rows * _TEST):,}",
        epochs=3 if rows >= 2000 else 6,  # noqa: PLR2004 - fewer rows want more passes to take as many steps
        opset=ExportSettings().opset,
        max_drop=f"{MAX_DROP:g}",
        margin=f"{margin:g}",
        margin_words=_margin_words(margin),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with out.open("x", encoding="utf-8") as handle:
            handle.write(body)
    except FileExistsError as error:
        raise _exists(out) from error
    return Starter(
        recipe=out, text=text_column, label=label_column, rows=rows, labels=tuple(sorted(counts)), margin=margin,
        text_pair=text_pair,
    )  # fmt: skip


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
