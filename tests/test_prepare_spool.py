"""That the rows pass through: what stays in memory of each is a few numbers, never its text."""

from __future__ import annotations

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

from ftdeploy.artifact import sha256_file
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage

WORDS = [f"word{place}" for place in range(5000)]

#: Prepares files in batches of 512 rows, and prints for each the most bytes that Python, numpy and Arrow held. In a
#: process of its own, because Arrow counts from its beginning; so the files come in the order of their sizes.
MEASURE = """
import json, sys, tracemalloc
from pathlib import Path
import pyarrow
from ftdeploy.prepare import prepare, spool
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage

spool._BATCH_ROWS = 512
for given in map(json.loads, sys.argv[1:]):
    tracemalloc.start()
    run_stage(prepare, Recipe.model_validate(given), {}, Path(given["data"]["source"]["path"] + ".out"))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(held + pyarrow.default_memory_pool().max_memory())
"""


def write(path: Path, rows: int) -> int:
    """``rows`` rows of 40 words; the bytes of the file."""
    draw = random.Random(rows)  # noqa: S311 - test data
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("text", "label"))
        writer.writerows((" ".join(draw.choices(WORDS, k=40)), draw.choice("ab")) for _ in range(rows))
    return path.stat().st_size


def recipe(path: Path) -> dict[str, object]:
    data = {"source": {"path": str(path)}, "duplicates": {"near": "ignore"}}
    return {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}, "data": data}


def test_memory_grows_by_less_than_half_of_the_text(tmp_path: Path) -> None:
    """Four times the rows: keys, labels and places of each are kept, and no text, neither in Python nor in Arrow."""
    sizes = {rows: write(tmp_path / f"{rows}.csv", rows) for rows in (100, 1500, 6000)}
    recipes = [json.dumps(recipe(tmp_path / f"{rows}.csv")) for rows in sizes]
    found = subprocess.run([sys.executable, "-c", MEASURE, *recipes], check=True, stdout=subprocess.PIPE, text=True)
    _, few, many = map(int, found.stdout.split())  # the first pays for what is imported
    assert many - few < (sizes[6000] - sizes[1500]) / 2


def test_equal_rows_make_equal_files_however_they_are_packed(tmp_path: Path) -> None:
    """The splits depend on the rows and not on the file that they came in."""
    write(tmp_path / "a.csv", 300)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    sums = []
    for name in ("a.csv", "b.csv.gz"):
        out = tmp_path / f"out-{name}"
        run_stage(prepare, Recipe.model_validate(recipe(tmp_path / name)), {}, out)
        sums.append([sha256_file(out / f"{split}.parquet") for split in ("train", "validation", "test")])
    assert sums[0] == sums[1]
