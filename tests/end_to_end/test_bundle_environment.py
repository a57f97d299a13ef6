"""A bundle on a machine that has Python and nothing else: its own requirements are enough, without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from workspace import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_run import TinyRun

pytestmark = pytest.mark.slow


def megabytes(folder: Path) -> float:
    """What the files of a folder take, without following links."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


@pytest.mark.parametrize("command", [["ftdeploy.serve"], ["bentoml", "serve", "."]], ids=["supervisor", "bentoml"])
def test_it_serves_from_its_own_requirements(
    tiny: TinyRun, fresh: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """By the supervisor that it carries, and by BentoML."""
    for name in [name for name in os.environ if name.startswith(("PYTHON", "FTDEPLOY_", "BENTOML_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", "off")
    bundle = tiny.run / "bundle"
    place = bundle / "src" if command[0] == "ftdeploy.serve" else bundle
    with serving([str(fresh / "bin" / "python"), "-m", *command], cwd=place) as url:
        answer = httpx.post(f"{url}/predict", json={"inputs": "a fine film"}).json()
    assert sum(one["score"] for one in answer) == pytest.approx(1, abs=1e-3)


@pytest.fixture(scope="module")
def fresh(tiny: TinyRun, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """A virtual environment with what the bundle names, and its size on the terminal."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    requirements = tiny.run / "bundle" / "env" / "python" / "requirements.txt"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*map(str, install), "-r", str(requirements)], check=True)
    listed = subprocess.run([folder / "bin" / "python", "-m", "pip", "list", "--format=freeze"], check=True,
                            capture_output=True, text=True)  # fmt: skip
    names = {line.split("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"onnxruntime", "bentoml"} <= names
    assert not names & {"torch", "transformers", "ftdeploy", "typer", "neural-compressor"}
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    captured = pytestconfig.pluginmanager.get_plugin("capturemanager")
    if reporter is not None and captured is not None:  # a process of xdist has none
        with captured.global_and_fixture_disabled():
            reporter.write_line(f"the environment of a bundle: {megabytes(folder):.0f} MB, {len(names)} distributions")
    return folder
