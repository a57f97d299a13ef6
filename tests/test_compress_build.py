"""A compression tool in its child process: whatever it does, there is a model or a reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import write_model_folder

from ftdeploy.compress import build
from ftdeploy.compress.build import _run_tool


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model to compress."""
    write_model_folder(tmp_path / "onnx")
    return tmp_path / "onnx" / "model.onnx"


def _fake(folder: Path, monkeypatch: pytest.MonkeyPatch, fit: str) -> None:
    """Put a `neural_compressor` before the real one, in child processes, whose `quantization.fit` does this."""
    package = folder / "fakes" / "neural_compressor"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("PostTrainingQuantConfig = dict\nfrom . import quantization\n")
    body = f"import os, shutil, sys\nclass Model:\n    def __init__(self, path):\n        self.path = path\n\
    def save(self, out):\n        shutil.copyfile(self.path, out)\n\ndef fit(model, settings):\n    {fit}\n"
    (package / "quantization.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", os.fspath(folder / "fakes"))


@pytest.mark.parametrize(
    ("fit", "reason"),
    [
        ("return None", "exit status 1: DependencyError: Neural Compressor returned no model"),
        ("sys.exit(0)", "ended without an error and without a model"),
        ("os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("raise ValueError('no such\\\\noperator')", "exit status 1: ValueError: no such"),
        ("return type('Empty', (), {'save': lambda self, out: open(out, 'w').close()})()", "without a model"),
    ],
)
def test_a_failure_is_a_reason(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, fit: str, reason: str
) -> None:
    """None instead of a model, an exit with status 0, a kill, an exception, an empty file: no model stands afterwards,
    and what the tool printed is kept."""
    _fake(tmp_path, monkeypatch, fit)
    folder = tmp_path / "work" / "inc-dynamic"
    found = _run_tool("inc-dynamic", source, source.parent / "signature.json", folder)
    assert reason in found
    assert not (folder / "model.onnx").exists()
    assert (folder / "log.txt").is_file()


def test_a_tool_that_hangs_is_ended(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the limit, with that as the reason."""
    _fake(tmp_path, monkeypatch, "import time; time.sleep(3600)")
    monkeypatch.setattr(build, "TIMEOUT", 1)
    assert _run_tool("inc-dynamic", source, source, tmp_path / "work") == "took longer than 1 s"


def test_a_model_that_was_made_is_not_made_again(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed while another tool was at work takes up what is finished, and clears what is not."""
    _fake(tmp_path, monkeypatch, "return Model(model)")
    folder = tmp_path / "work" / "inc-dynamic"
    folder.mkdir(parents=True)
    (folder / "unfinished.onnx").write_bytes(b"half")
    assert not _run_tool("inc-dynamic", source, source, folder)
    assert (folder / "model.onnx").read_bytes() == source.read_bytes()
    assert not (folder / "unfinished.onnx").exists()
    made = (folder / "model.onnx").stat().st_mtime_ns
    assert not _run_tool("inc-dynamic", source, source, folder)
    assert (folder / "model.onnx").stat().st_mtime_ns == made


def test_relative_paths_work_though_the_tool_has_a_directory_of_its_own(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is often given a folder relative to where the user stands."""
    _fake(tmp_path, monkeypatch, "return Model(model)")
    monkeypatch.chdir(tmp_path)
    here = source.relative_to(tmp_path)
    assert not _run_tool("inc-dynamic", here, here, Path("work"))
    assert (tmp_path / "work" / "model.onnx").is_file()
