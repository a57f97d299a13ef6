"""What the operating system says of this process, under the names of Prometheus' clients; memory that is given back."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import time
from functools import cache
from pathlib import Path

from ftdeploy.serve.exposition import Snapshot

_PROC = Path("/proc/self")
#: So long after the last large request its memory is given back, in seconds.
TRIM_SECONDS = 1.0
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


class Trimmer:
    """Gives freed memory back to the system, now and then. Used by the event loop alone.

    glibc keeps what was freed below anything that is still in use: after a few bodies of 2 MB with 300,000 lists in
    each, 50 MB. Looking for it takes some milliseconds, so it is done on a thread.
    """

    def __init__(self) -> None:
        self._due: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Do it in a second; what is asked meanwhile is done with it."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self._due = None
        asyncio.get_running_loop().run_in_executor(None, trim_heap)


def trim_heap() -> bool:
    """Give freed memory back; False where the C library cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return bool(trim is not None and trim(0) >= 0)
