"""A disk that runs full at any point: its own exit code, nothing half-made, and the next run goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import ENVIRONMENT, STAGES, TinyRun, changed_recipe

pytestmark = pytest.mark.slow

#: `attempt` runs the recipe and prints what came of it and what stands there.
ATTEMPT = """
attempt() {
  "$PYTHON" -m ftdeploy run "$RECIPE" --out "$DISK/run" "$@" 2> "$LOG"; echo "code $?"
  cat "$LOG"; ls -a "$DISK/run" | sed 's/^/there /'
}
"""
#: On a disk of its own, in turns too small (by what is left beyond what is used, in kilobytes) and large enough.
SMALL_DISK = """
left() { mount -o remount,size=$(($(df --output=used -k "$DISK" | tail -1) + $1))k "$DISK"; }
mkdir -p "$DISK" && mount -t tmpfs -o size=40k tmpfs "$DISK"
attempt
left 660; attempt
left 64000; attempt --until export
left 100; attempt
left 64000; attempt --until validate
left 200; attempt
left 64000; attempt
"$PYTHON" -m ftdeploy verify "$DISK/run"
"""
#: The same by the largest file that may be written (in blocks of 1024 bytes), which needs no rights at all.
SMALL_FILES = """
(ulimit -f 4; attempt)
(ulimit -f 100; attempt)
attempt
"$PYTHON" -m ftdeploy verify "$DISK/run"
"""


def _can_mount() -> bool:
    """Whether this user may mount something in a namespace of its own; many containers forbid it."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


#: Means -> the command, and the stages that it stops.
MEANS = {"file-size": (["bash", "-c", ATTEMPT + SMALL_FILES], ["prepare", "train"])}
if _can_mount():
    MEANS["disk"] = (
        ["unshare", "-rm", "bash", "-c", ATTEMPT + SMALL_DISK],
        ["prepare", "train", "compress", "package"],
    )


@pytest.mark.parametrize("means", MEANS)
def test_a_full_disk_is_told_as_such_and_costs_nothing_that_was_finished(
    tiny: TinyRun, tmp_path: Path, means: str
) -> None:
    """Whichever stage it strikes, the run ends with exit code 14 and three parts, leaves no half artifact and keeps the
    finished ones, and goes on when there is room. A compression tool that fails for want of room does not count as a
    bad candidate."""
    command, expected = MEANS[means]
    # Optimum copies the model before it makes one.
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress={"candidates": ["optimum-dynamic"]})
    names = {"DISK": tmp_path / "disk", "RECIPE": recipe, "LOG": tmp_path / "log", "PYTHON": Path(sys.executable)}
    environment = {**os.environ, **ENVIRONMENT, **{name: os.fspath(path) for name, path in names.items()}}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    stood: set[str] = set()
    stopped = []
    for part in re.split(r"^code ", found.stdout, flags=re.MULTILINE)[1:]:
        code, _, printed = part.partition("\n")
        there = set(re.findall(r"^there (\w\S*)$", printed, flags=re.MULTILINE))
        assert not [name for name in there if name.endswith((".partial", ".old"))]
        finished = there & set(STAGES.values())
        assert stood <= finished
        stood = finished
        if code != "0":
            assert code == "14", part
            assert "(exit code 14)" in printed
            assert "Traceback" not in printed
            assert all(word in printed for word in ("what:", "cause:", "fix:"))
            stopped += re.findall(r"what: +(\w+) could not write", printed)
    assert stopped == expected
    assert found.stdout.count("intact") == len(STAGES)
