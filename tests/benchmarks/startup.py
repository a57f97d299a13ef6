"""What starting costs: CPU seconds of ``ftdeploy --help``, wall seconds of a run in which nothing has changed.

Usage: ``python tests/benchmarks/startup.py [RECIPE]``; the recipe must have been run before. Prints; judges nothing.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

RUNS = 7


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _median(command: list[str], clock: Callable[[], float]) -> float:
    taken = []
    for _ in range(RUNS):
        before = clock()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(clock() - before)
    return statistics.median(taken)


def main(recipe: str) -> None:
    """Print both figures, medians of seven runs; for scale, those of a Python that does nothing."""
    ftdeploy = [sys.executable, "-m", "ftdeploy"]
    nothing = [sys.executable, "-c", "pass"]
    for name, command, clock in (
        ("python -c pass, CPU", nothing, _cpu_seconds),
        ("ftdeploy --help, CPU", [*ftdeploy, "--help"], _cpu_seconds),
        (f"ftdeploy run {recipe}, nothing changed, wall", [*ftdeploy, "run", recipe], time.monotonic),
    ):
        sys.stdout.write(f"{name}: {_median(command, clock):.2f} s\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "recipes/sentiment.yaml")
