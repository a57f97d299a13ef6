"""Running a Python module in a process of its own that ends when we end, however that happens.

A plain child outlives a parent that is killed: it would go on writing into the folder that the next run works in. So
the child holds the reading end of a pipe whose other end only we hold, and goes when the pipe closes.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_module(module: str, arguments: Sequence[str | os.PathLike[str]], *, cwd: Path | None = None,
               environment: Mapping[str, str] | None = None,
               timeout: float | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Run ``python -m module arguments...`` to its end.

    Args:
        module: its dotted name.
        arguments: of its command line.
        cwd: working directory; None is ours.
        environment: variables laid over ours.
        timeout: seconds after which it is killed.

    Returns:
        Return code, stdout and stderr; a failure of the module is not an exception.

    Raises:
        subprocess.TimeoutExpired: it took longer than ``timeout``.
    """
    command = [sys.executable, "-m", "ftdeploy.child", module, *(os.fspath(argument) for argument in arguments)]
    reading, writing = os.pipe()
    try:
        return subprocess.run(  # noqa: S603  # our own interpreter, no shell
            command,
            stdin=reading,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)


def _end_with_parent() -> None:
    os.read(0, 1)  # nobody ever writes: it returns when the parent is gone
    os._exit(1)


def main() -> None:
    """In the child: watch the parent, and become the module."""
    del sys.argv[0]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
