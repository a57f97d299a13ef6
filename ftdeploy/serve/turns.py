"""Short turns on a processor for the event loop, so that it is not kept waiting by forward passes.

Where every processor runs a forward pass, a thread that wakes up waits until one of them has used up its turn: some
milliseconds, on kernels with a slow clock ten, once when a request comes and once more when its answer is there. Linux
from 6.12 on lets a thread ask for shorter turns (EEVDF's slices: not more of the processor, but sooner), and wakes it
in place of one with longer ones.
"""

from __future__ import annotations

import ctypes
import platform
import struct

#: The shortest that the kernel grants, in nanoseconds.
SLICE = 100_000
#: Numbers of ``sched_setattr`` and ``sched_getattr``, by machine.
_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
#: ``struct sched_attr`` (sched.h): size, policy, flags, nice, priority, runtime, deadline, period. The runtime of a
#: thread of an ordinary policy is its slice.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_ORDINARY = (0, 3)  # SCHED_OTHER, SCHED_BATCH


def ask_for_short_turns() -> bool:
    """For this thread; False, and nothing is changed, where the kernel cannot or does not want to."""
    numbers = _CALLS.get(platform.machine()) if platform.system() == "Linux" else None
    if numbers is None:
        return False
    setting, getting = numbers
    system = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if system.syscall(getting, 0, held, len(held), 0) != 0:
        return False
    _, policy, flags, nice, priority, _, deadline, period = _ATTRIBUTES.unpack(held.raw)
    if policy not in _ORDINARY:  # whoever runs it in real time knows why
        return False
    wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, flags, nice, priority, SLICE, deadline, period)
    return bool(system.syscall(setting, 0, wanted, 0) == 0 and system.syscall(getting, 0, held, len(held), 0) == 0
                and _ATTRIBUTES.unpack(held.raw)[5] == SLICE)  # fmt: skip
