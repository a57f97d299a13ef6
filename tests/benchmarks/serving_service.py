"""A service under test in processes of its own: started on a free port, watched from outside, ended."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Service:
    """A running service and its processes."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def pids(self) -> list[int]:
        """Of the process and its descendants."""
        found = [self.process.pid]
        for pid in found:
            with suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += map(int, (task / "children").read_text().split())
        return found

    def memory(self) -> int:
        """Resident memory of all of them, bytes."""
        pages = (int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self.pids())
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def files(self) -> int:
        """Open files of all of them."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids())

    def cpu(self) -> float:
        """Processor seconds that all of them have used."""
        stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids())
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS

    def ready(self, path: str = "/readyz") -> bool:
        """Whether a GET of this path is answered with 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def bentoml_serve(bundle: Path) -> list[str]:
    """The command that serves a bundle; `serving` gives it the port."""
    return [sys.executable, "-m", "bentoml", "serve", str(bundle.resolve()), "--host", "127.0.0.1", "--port", "PORT"]


def ftdeploy_serve(bundle: Path) -> list[str]:
    """Likewise, by our own supervisor; the bundle has to be as it was sealed."""
    return [sys.executable, "-m", "ftdeploy", "serve", str(bundle.resolve()), "--port", "PORT"]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], *, log: Path, path: str = "/readyz", **environment: str) -> Iterator[Service]:
    """Start a service, wait until it is ready, and end it afterwards.

    Args:
        command: ``PORT`` in it becomes the number of a free port.
        log: where it writes.
        path: is answered with 200 when it is ready.
        environment: laid over ours, of which neither our limits nor our Python path goes to it.
    """
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTDEPLOY_", "BENTOML_"))}
    for name in ("PYTHONPATH", "OMP_NUM_THREADS"):
        clean.pop(name, None)
    started = [word.replace("PORT", str(port)) for word in command]
    with log.open("wb") as sink:
        process = subprocess.Popen(started, env=clean | environment, cwd=log.parent, stdout=sink,
                                   stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    service = Service(process, port, log)
    try:
        while not service.ready(path):
            if process.poll() is not None:
                raise SystemExit(log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
