"""A service whose disk is full: every request is answered, rows are dropped and counted, and it is said once."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from test_serve_service import free_port
from tiny import write_bundle

from ftdeploy.serve.traffic import SETTLED, read_segment

pytestmark = pytest.mark.slow

#: The service on a disk of its own; what it left there is copied out when it is over.
SMALL_DISK = """
mkdir -p "$DISK" && mount -t tmpfs -o size=128k tmpfs "$DISK"
"$@" & child=$!
trap 'kill -TERM $child' TERM
wait $child; wait $child; code=$?
cp -r "$DISK/." "$KEPT"
exit $code
"""


@dataclass
class Service:
    """A running service with its log."""

    process: subprocess.Popen[bytes]
    url: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, count: int) -> None:
        """Ask one by one; each is answered."""
        with httpx.Client(base_url=self.url) as client:
            for _ in range(count):
                assert client.post("/predict", json={"inputs": "a superb film"}).status_code == 200

    def counted(self) -> tuple[int, int]:
        """Rows written and dropped, as the metrics say."""
        found = dict(
            line.rsplit(" ", 1) for line in httpx.get(f"{self.url}/metrics").text.splitlines() if line[0] != "#"
        )
        return int(found["ftdeploy_traffic_rows_total"]), int(found["ftdeploy_traffic_dropped_total"])

    def said(self, words: str) -> int:
        """How many lines of the log have these words."""
        return sum(words in line["message"] for line in self.lines)

    @property
    def worker(self) -> int:
        """The process that answers."""
        return int(self.lines[-1]["pid"])


def until(condition: Callable[[], object]) -> None:
    """Wait until something has come about."""
    while not condition():
        time.sleep(0.05)


@contextmanager
def serving(bundle: Path, traffic: Path, *before: str, **environment: str) -> Iterator[Service]:
    """`bentoml serve`, its log read from a pipe."""
    port = free_port()
    command = [
        *before,
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        str(bundle),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    settings = {**os.environ, "FTDEPLOY_TRAFFIC": str(traffic), **environment}
    process = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               start_new_session=True)  # fmt: skip
    service = Service(process, f"http://127.0.0.1:{port}")

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"{"):
                service.lines.append(json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        until(lambda: service.said("is ready") or process.poll() is not None)
        assert process.poll() is None
        yield service
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def play(service: Service, fill: Callable[[], None], free: Callable[[], None]) -> int:
    """Full, and free again, under requests; gives the rows that were written in the end."""
    service.ask(5)
    until(lambda: service.counted() == (5, 0))
    fill()
    for number in range(1, 5):  # in several goes, so that the recorder meets the disk several times
        service.ask(20)
        until(partial(lambda expected: sum(service.counted()) == expected, 5 + 20 * number))
    written, dropped = service.counted()
    assert dropped > 0
    assert service.said("traffic is not recorded") == 1
    assert service.said("recorded again") == 0
    free()
    time.sleep(SETTLED)
    service.ask(3)
    until(lambda: service.counted() == (written + 3, dropped))
    until(lambda: service.said("recorded again") == 1)
    assert service.said(f"; {dropped} rows were not") == 1
    assert service.said("traffic is not recorded") == 1
    service.process.terminate()
    assert service.process.wait() == 0
    return written + 3


def rows(folder: Path) -> int:
    """Rows of the segments, each of which must be sealed and whole."""
    paths = list(folder.iterdir())
    assert all(path.suffix == ".jsonl" and path.read_bytes().endswith(b"\n") for path in paths), paths
    return sum(1 for path in paths for _ in read_segment(path))


def test_a_limit_on_files_costs_rows_and_no_answer(tmp_path: Path) -> None:
    """The largest file that the running worker may write is set to nothing and back, which needs no rights at all."""
    bundle, traffic = write_bundle(tmp_path / "bundle"), tmp_path / "traffic"
    with serving(bundle.path, traffic) as service:

        def limit(size: int) -> None:
            hard = resource.prlimit(service.worker, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(service.worker, resource.RLIMIT_FSIZE, (size, hard))

        written = play(service, lambda: limit(0), lambda: limit(resource.RLIM_INFINITY))
    assert rows(traffic) == written


def can_mount() -> bool:
    """Whether this user may mount something in a namespace of its own; many containers forbid it."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def full(handle: IO[bytes]) -> bool:
    """Write some more, unless there is no room."""
    try:
        return not handle.write(b"x" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True


@pytest.mark.skipif(not can_mount(), reason="needs a namespace of its own to mount a small disk in")
def test_a_full_disk_costs_rows_and_no_answer(tmp_path: Path) -> None:
    """A disk of 128 kB that something else fills to the last byte, and empties again."""
    bundle, disk, kept = write_bundle(tmp_path / "bundle"), tmp_path / "disk", tmp_path / "kept"
    kept.mkdir()
    command = ["unshare", "-rm", "bash", "-c", SMALL_DISK, "bash"]
    with serving(bundle.path, disk / "traffic", *command, DISK=str(disk), KEPT=str(kept)) as service:
        ballast = Path(f"/proc/{service.worker}/root{disk}") / "ballast"

        def fill() -> None:
            with ballast.open("wb", buffering=0) as handle:
                while not full(handle):
                    pass

        written = play(service, fill, ballast.unlink)
    assert rows(kept / "traffic") == written
