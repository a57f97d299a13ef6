"""What the operating system says of this process, under the names that Prometheus' clients give it."""

from __future__ import annotations

import os
import resource
import time
from functools import cache
from pathlib import Path

from ftdeploy.serve.exposition import Snapshot

_PROC = Path("/proc/self")
_STARTED = time.time()  # where there is no /proc: when this module was imported


def process_snapshot() -> Snapshot:
    """Processor time, memory, open files, start time; without /proc only the first and the last."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found: Snapshot = {
        "process_cpu_seconds_total": usage.ru_utime + usage.ru_stime,
        "process_start_time_seconds": _started(os.getpid()),
    }
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY:
        found["process_max_fds"] = files
    try:
        virtual, resident = (_PROC / "statm").read_text(encoding="ascii").split()[:2]
        found["process_open_fds"] = len(os.listdir(_PROC / "fd"))  # noqa: PTH208  # names only, and many of them
    except OSError:
        return found
    page = resource.getpagesize()
    found["process_virtual_memory_bytes"] = int(virtual) * page
    found["process_resident_memory_bytes"] = int(resident) * page
    return found


@cache  # a value that changed by a hundredth would look like a new process
def _started(_process: int) -> float:
    """When this process was started, Unix time."""
    try:
        ticks = int((_PROC / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19])
        since = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return _STARTED
    return round(time.time() - since, 2)
