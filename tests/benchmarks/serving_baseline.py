"""What ONNX Runtime answers in this process, without HTTP: texts tokenised beforehand, in the best batching there is.

Usage: ``python serving_baseline.py MODEL TEXTS SECONDS [WAY]``; MODEL is a bundle's ``src/model``, TEXTS
a JSON list. A `Found` comes back as JSON. Texts of alike length go together under a budget of padded tokens; every
budget is tried with all processors in one pass and with a pass for each processor, and the best of them is measured,
or WAY, the best of an earlier run.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftdeploy.predictor import Predictor

#: Padded tokens in a batch.
BUDGETS = (128, 256, 512, 1024, 2048, 4096)
#: Texts of the contest between the ways.
SAMPLE = 256

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Found:
    """What this processor does.

    Attributes:
        texts: a second, in the best batching.
        way: which that was.
        single: quantile -> seconds that one text at a time takes, with all processors.
    """

    texts: float
    way: str
    single: dict[str, float]


def main(folder: Path, texts: Sequence[str], seconds: float, way: str) -> Found:
    """Find the best way, where none is given, and measure it."""
    from ftdeploy.hardware import processors
    from ftdeploy.predictor import Predictor

    count = processors()
    wide, narrow = Predictor(folder, threads=count), Predictor(folder, threads=1)
    rows = [row.ids for row in wide.encode(texts)]
    for predictor in (wide, narrow):
        predictor.run([max(rows, key=len)] * 8)
    ways = {
        name: (predictor, lanes, budget)
        for budget in BUDGETS
        for name, predictor, lanes in (
            (f"{budget} tokens, a pass on {count} threads", wide, 1),
            (f"{budget} tokens, {count} passes of one thread", narrow, count),
        )
    }
    sample = random.Random(0).sample(rows, min(SAMPLE, len(rows)))  # noqa: S311  # test data
    best = way or max(ways, key=lambda name: _throughput(*ways[name], sample, seconds=0))
    measured = _throughput(*ways[best], rows, seconds=seconds)
    return Found(measured, best, _single(wide, rows, seconds=min(seconds, 3.0)))


def _throughput(predictor: Predictor, lanes: int, budget: int, rows: Rows, *, seconds: float) -> float:
    """Texts a second, over as many passes through all of them as begin in that time; each lane takes the next batch."""
    from ftdeploy.batching import by_length

    batches = [[rows[index] for index in batch] for batch in by_length([len(row) for row in rows], tokens=budget)]
    lock = threading.Lock()
    left: list[Rows] = []
    done = 0
    began = time.perf_counter()

    def lane() -> None:
        nonlocal done
        while True:
            with lock:
                if not left and (not done or time.perf_counter() - began < seconds):
                    left.extend(batches)
                    done += len(rows)
                if not left:
                    return
                batch = left.pop()  # the longest first, so that no lane ends long after the others
            predictor.run(batch)

    threads = [threading.Thread(target=lane) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done / (time.perf_counter() - began)


def _single(predictor: Predictor, rows: Rows, *, seconds: float) -> dict[str, float]:
    """How long one text takes, alone."""
    order = random.Random(0).sample(rows, len(rows))  # noqa: S311  # test data
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        predictor.run([order[len(taken) % len(order)]])
        taken.append(time.perf_counter() - start)
    taken.sort()
    return {name: taken[int(len(taken) * share)] for name, share in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items()}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    asked = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    found = main(Path(sys.argv[1]), asked, float(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
