"""A child process ends with its parent, however that ends; otherwise it runs a module as `python -m` does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftdeploy.child import run_module


def _module(folder: Path, source: str) -> dict[str, str]:
    (folder / "job.py").write_text(source, encoding="utf-8")
    return {"PYTHONPATH": os.fspath(folder)}


def test_arguments_streams_status_and_directory(tmp_path: Path) -> None:
    """The module sees its arguments and its working directory as its own; both streams and the status come back."""
    source = "import sys, os\nprint(sys.argv[1:], os.getcwd(), __name__)\nsys.exit('sorry')\n"
    found = run_module("job", ["a b", Path("c")], cwd=tmp_path, environment=_module(tmp_path, source))
    assert found.stdout == f"['a b', 'c'] {tmp_path} __main__\n"
    assert found.stderr == "sorry\n"
    assert found.returncode == 1


def test_a_child_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    """A timeout ends the child too."""
    source = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(3600)\n"
    with pytest.raises(subprocess.TimeoutExpired):
        run_module("job", [], cwd=tmp_path, environment=_module(tmp_path, source), timeout=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), 0)


def test_a_child_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the parent: the child, in the middle of its work, ends and writes nothing more."""
    source = "import os, time\nopen('made', 'w').write(str(os.getpid()))\nos.rename('made', 'pid')\ntime.sleep(3600)\n"
    environment = os.environ | _module(tmp_path, source)
    parent = "from ftdeploy.child import run_module; run_module('job', [])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, env=environment) as process:
        while not (tmp_path / "pid").exists():
            assert process.poll() is None
            time.sleep(0.01)
        child = int((tmp_path / "pid").read_text(encoding="utf-8"))
        os.kill(child, 0)  # it is there
        process.kill()
    while _runs(child):  # a child that outlives its parent keeps the test here
        time.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        # An orphan that ended may wait as a zombie for whoever adopted it.
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
