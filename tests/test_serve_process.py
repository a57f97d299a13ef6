"""What is said of a process is what the operating system knows, and it tells processes apart."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from ftdeploy.serve.exposition import FAMILIES
from ftdeploy.serve.process import process_snapshot


def test_every_fact_is_a_declared_metric_and_plausible() -> None:
    """Of this very process: it has used time and memory and has files open."""
    found = process_snapshot()
    assert set(found) <= set(FAMILIES)
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_virtual_memory_bytes"] > found["process_resident_memory_bytes"] > 1e6
    assert 3 <= found["process_open_fds"] < found["process_max_fds"]


def test_an_open_file_is_counted(tmp_path: Path) -> None:
    """What leaks can be seen."""
    before = process_snapshot()["process_open_fds"]
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        assert process_snapshot()["process_open_fds"] == before + 2
    assert process_snapshot()["process_open_fds"] == before


def test_the_start_is_when_the_process_started_and_does_not_move() -> None:
    """A child started now, and its fork; asked twice it says the same, or each scrape would look like a restart."""
    code = (
        "import json, os, time; from ftdeploy.serve.process import process_snapshot as p\n"
        "a = p()['process_start_time_seconds']; time.sleep(0.05); same = a == p()['process_start_time_seconds']\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0: os.write(write, str(p()['process_start_time_seconds']).encode()); os._exit(0)\n"
        "print(json.dumps([a, same, float(os.read(read, 99))]))"
    )
    before = time.time()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    started, same, forked = json.loads(done.stdout)
    assert same
    assert before - 1 < started < forked <= time.time() + 1


def test_freed_memory_goes_back_to_the_system_a_moment_after_it_was_asked_for() -> None:
    """In a process of its own: 40 MB below something that is kept stay with it until the trimmer has run, which it does
    once for any number of wishes."""
    code = """
import asyncio, ctypes
from ftdeploy.serve import process

def resident():
    return process.process_snapshot()["process_resident_memory_bytes"] / 1e6

async def main():
    ran = []
    process.TRIM_SECONDS, trim = 0.01, process.trim_heap
    process.trim_heap = lambda: ran.append(trim())
    pieces = [ctypes.create_string_buffer(4000) for _ in range(10_000)]
    kept = ctypes.create_string_buffer(4000)
    before = resident()
    del pieces
    freed = resident()
    trimmer = process.Trimmer()
    trimmer.soon()
    trimmer.soon()
    while not ran:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    print(before - freed < 10, freed - resident() > 30, ran, len(kept))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True True [True] 4000\n", done.stderr + done.stdout
