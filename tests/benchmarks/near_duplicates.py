"""Near duplicates with datasketch and with ours, side by side: time and memory per row; run by hand, prints tables.

The first table: texts of 40 words, of which one in ten has a copy with a word changed; each measurement in a process of
its own, its memory as the growth of the peak while sketches, bands and pairs are made. Both find pairs at a similarity
of 0.8 over pairs of words, with 128 permutations; datasketch's candidates are held against the threshold as ours are.

The second, where a mirror is given (FTDEPLOY_MIRROR): product titles of PriceRunner, whose cluster says which titles
are one product. That is no more than a hint: titles of one product often share few words, and titles that differ in one
word are often two products.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

from ftdeploy.prepare.clean import fold
from ftdeploy.prepare.near import PERMUTATIONS, Sketches, find_clusters, find_pairs

THRESHOLD, WORDS, CHANGED = 0.8, 40, 10
MICRO = 1e6
KIB = 1024


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201 - printing is what it is for


def draw_texts(path: Path, rows: int) -> None:
    """Write texts over 20,000 words, a line each; each tenth is the one before it with a word changed."""
    draw = random.Random(1)  # noqa: S311 - test data
    words = [f"w{number:x}" for number in range(20_000)]
    text: list[str] = []
    with path.open("w", encoding="utf-8") as handle:
        for row in range(rows):
            if row % CHANGED == CHANGED - 1:
                text[draw.randrange(WORDS)] = draw.choice(words)
            else:
                text = draw.choices(words, k=WORDS)
            handle.write(" ".join(text) + "\n")


def ours(texts: Iterable[str]) -> tuple[int, float, float]:
    """Pairs found, seconds for the sketches, seconds for the pairs."""
    began = time.process_time()
    made = Sketches(shingles="words", size=2)
    for text in texts:
        made.add(text)
    sketches = made.array()
    sketched = time.process_time()
    pairs = find_pairs(sketches, np.arange(len(sketches)), threshold=THRESHOLD)
    return len(pairs), sketched - began, time.process_time() - sketched


def theirs(texts: Iterable[str]) -> tuple[int, float, float]:
    """The same with datasketch's MinHash and MinHashLSH, as its documentation uses them."""
    from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]  # it ships none

    began = time.process_time()
    made = []
    for text in texts:
        words = [*text.split(), ""]
        one = MinHash(num_perm=PERMUTATIONS)
        one.update_batch([f"{left} {right}".encode() for left, right in pairwise(words)])
        made.append(one)
    sketched = time.process_time()
    index, found = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), 0
    for row, one in enumerate(made):
        found += sum(made[other].jaccard(one) >= THRESHOLD for other in index.query(one))
        index.insert(row, one)
    return found, sketched - began, time.process_time() - sketched


def measure(name: str, rows: int, path: Path) -> None:
    """Print one line; runs in a process of its own, which reads one text at a time."""
    function: Callable[[Iterable[str]], tuple[int, float, float]] = {"ours": ours, "datasketch": theirs}[name]
    with path.open(encoding="utf-8") as texts:
        function([next(texts) for _ in range(4096)])  # imports, and buffers that do not grow with the rows
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with path.open(encoding="utf-8") as texts:
        pairs, sketching, pairing = function(texts)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * KIB
    planted = rows // CHANGED
    say(
        f"{name:>12} {rows:>10,} {sketching / rows * MICRO:>12.1f} {pairing / rows * MICRO:>12.1f} "
        f"{grown / rows:>12,.0f} {pairs / planted:>10.3f}"
    )


def titles(path: Path) -> None:
    """Print precision and recall of pairs of titles against one product, by threshold and shingles."""
    with path.open(encoding="utf-8") as handle:
        product = {fold(row[1]): row[3] for row in csv.reader(handle) if row[1].strip()}
    texts, clusters = list(product), np.unique(list(product.values()), return_inverse=True)[1]
    sizes = np.bincount(clusters)
    true = int((sizes * (sizes - 1) // 2).sum())
    say(f"\n{len(texts):,} different titles, {len(sizes):,} products, {true:,} pairs of titles of one product")
    say(f"{'shingles':>14} {'threshold':>10} {'pairs':>8} {'precision':>10} {'recall':>8} {'rows':>8} {'largest':>8}")
    for shingles, size in (("words", 1), ("words", 2), ("characters", 5)):
        made = Sketches(shingles=shingles, size=size)  # type: ignore[arg-type]  # one of two words
        for text in texts:
            made.add(text)
        for threshold in (0.9, 0.8, 0.7, 0.6):
            pairs = find_pairs(made.array(), np.arange(len(texts)), threshold=threshold)
            same = int((clusters[pairs[:, 0]] == clusters[pairs[:, 1]]).sum())
            together = np.bincount(find_clusters(pairs).cluster)
            say(
                f"{f'{size} {shingles}':>14} {threshold:>10} {len(pairs):>8,} {same / len(pairs):>10.3f} "
                f"{same / true:>8.3f} {together.sum():>8,} {together.max():>8,}"
            )


def main() -> None:
    """Measure both at each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--only", choices=["ours", "datasketch"])
    given = parser.parse_args()
    columns = ("", "rows", "sketch us/row", "pairs us/row", "bytes/row", "found")
    say("{:>12} {:>10} {:>12} {:>12} {:>12} {:>10}".format(*columns))
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for rows in given.rows:
            draw_texts(Path(folder) / "texts", rows)
            for name in [given.only] if given.only else ["datasketch", "ours"]:
                child = context.Process(target=measure, args=(name, rows, Path(folder) / "texts"))
                child.start()
                child.join()
    mirror = Path(os.environ.get("FTDEPLOY_MIRROR", ""))
    if (mirror / "pricerunner.csv").is_file():
        titles(mirror / "pricerunner.csv")


if __name__ == "__main__":
    main()
