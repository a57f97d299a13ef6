"""How time and memory of ``prepare`` grow with the rows: a quarter, half and all of them, side by side.

Usage: ``python tests/benchmarks/prepare_scale.py [ROWS] [KEY=VALUE ...]``; 1,000,000 rows of 40 words by default, with
keys of the recipe's ``data`` section as ``--set`` takes them (``duplicates.near=ignore``). Each size is prepared in a
process of its own from a CSV file that is written row by row. Prints; judges nothing. What stays of a row in memory: 31
bytes of keys, label, group, source and place; where near duplicates are looked for, its sketch lies in a file.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

WORDS_IN_A_ROW, VOCABULARY = 40, 30_000
LABELS = ("negative", "neutral", "positive")


def texts(rows: int) -> Iterator[str]:
    """Sentences of made-up words whose frequencies fall as those of words do (Zipf's law); the same in every run."""
    draw = random.Random(0)  # noqa: S311 - test data
    syllables = [first + vowel for first in "bcdfghklmnprstvw" for vowel in ("a", "e", "i", "o", "u", "ai", "ou")]
    words = ["".join(draw.choices(syllables, k=draw.choice((1, 2, 2, 3, 3, 4)))) for _ in range(VOCABULARY)]
    weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
    for _ in range(rows):
        chosen = draw.choices(words, cum_weights=weights, k=WORDS_IN_A_ROW)
        yield " ".join(chosen).capitalize() + "."


def write(path: Path, rows: int) -> None:
    """``rows`` of them as CSV, with labels."""
    draw = random.Random(1)  # noqa: S311 - test data
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label"))
        writer.writerows((text, draw.choice(LABELS)) for text in texts(rows))


def prepare_one(path: Path, out: Path, overrides: list[str]) -> None:
    """Prepare a file in this process, and print what it took as JSON."""
    import resource

    from ftdeploy.prepare import prepare
    from ftdeploy.recipe import load_recipe
    from ftdeploy.stage import run_stage

    recipe = out / "recipe.yaml"
    sections = {"version": 1, "name": "scale", "task": "text-classification", "model": {"path": "none"}}
    recipe.write_text(json.dumps(sections | {"data": {"source": {"path": str(path)}}}))
    settings = load_recipe(recipe, overrides=[f"data.{override}" for override in overrides])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    made = run_stage(prepare, settings, {}, out / "dataset").artifact
    taken = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "kept": made.facts["rows"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps(taken | {"mb": peak / 1024, "start_mb": before / 1024}) + "\n")


def main(rows: int, overrides: list[str]) -> None:
    """Print a line for each size, and what a row costs from one size to the next."""
    row = "{:>12} {:>12} {:>10} {:>10} {:>12} {:>14} {:>16}\n"
    sys.stdout.write(row.format("rows", "kept", "seconds", "CPU s", "us CPU a row", "peak MB", "bytes a new row"))
    sys.stdout.flush()
    last: dict[str, float] = {}
    for size in (rows // 4, rows // 2, rows):
        with tempfile.TemporaryDirectory(prefix="ftdeploy-scale-") as folder:
            path = Path(folder) / "rows.csv"
            write(path, size)
            command = [sys.executable, __file__, "--one", str(path), folder, *overrides]
            taken = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        grown = (taken["mb"] - last["mb"]) * 2**20 / (size - last["rows"]) if last else float("nan")
        each = f"{taken['cpu'] / size * 1e6:.1f}"
        figures = (f"{size:,}", f"{taken['kept']:,}", f"{taken['seconds']:.1f}", f"{taken['cpu']:.1f}", each)
        sys.stdout.write(row.format(*figures, f"{taken['mb']:.0f}", f"{grown:.0f}" if last else "-"))
        sys.stdout.flush()
        last = taken | {"rows": size}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        prepare_one(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2:])
