"""A folder as a newcomer has it after cloning, with the sentiment recipe run in it once for all tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parent.parent.parent
SETUP = ("Makefile", "pyproject.toml", "constraints.txt", "README.md", "tests/test_errors.py")
PARTS = (*SETUP, "recipes", "evaluation_suites")
#: A tenth of the training's time for the search: what is then shipped is decided by the same rules, but no student is
#: taught, which takes several epochs. Whole searches are run by hand (MEASUREMENTS.md).
BUDGET = ("--set", "compress.budget=0.1")
#: Two epochs instead of three.
SHORT = ("--set", "train.epochs=2", *BUDGET)


@dataclass(frozen=True)
class Workspace:
    """Where `make run` was run, and what it printed."""

    folder: Path
    output: str

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "runs" / "sentiment"

    def ftdeploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the workspace; it must succeed."""
        command = [sys.executable, "-m", "ftdeploy", *arguments]
        found = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        return found


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` in the workspace, with the environment that the tests run in taken as installed."""
    stamp = f"{sys.prefix}/.installed"
    command = ["make", f"VENV={sys.prefix}", "-o", stamp, *arguments]
    if not Path(stamp).exists():
        Path(stamp).touch()
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def prepare_workspace(folder: Path) -> Workspace:
    """Lay out the workspace and run the recipe in it: minutes.

    `FTDEPLOY_TEST_RUN` may name a folder that is kept between calls while developing; the run in it is then taken up
    where it stands, by ftdeploy's own rules.
    """
    kept = os.environ.get("FTDEPLOY_TEST_RUN")
    folder = Path(kept) if kept else folder
    for part in PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    found = make(folder, "run", f"RUN_ARGS={' '.join(SHORT)}")
    assert found.returncode == 0, found.stdout + found.stderr
    return Workspace(folder=folder, output=found.stderr + found.stdout)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], *, cwd: Path, port: int | None = None) -> Iterator[str]:
    """A service in a process of its own, from ready to ended; the url is yielded."""
    chosen = port or free_port()
    line = [*command] if port else [*command, "--host", "127.0.0.1", "--port", str(chosen)]
    process = subprocess.Popen(line, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"http://127.0.0.1:{chosen}"
    try:
        _await_ready(url, process)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
        assert process.returncode is not None, output


def _await_ready(url: str, process: subprocess.Popen[str]) -> None:
    while True:
        assert process.poll() is None, process.communicate()[0]
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
