"""A bundle alone in the world: no ftdeploy, no torch, another place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tiny_run import ENVIRONMENT, TinyRun, artifact
from workspace import serving

from ftdeploy.dataset import read_split
from ftdeploy.predictor import Predictor
from ftdeploy.tasks import TASKS

pytestmark = pytest.mark.slow

#: Runs at the start of every Python process: what is not in the bundle's requirements cannot be imported, and
#: ftdeploy only from the bundle. Each refusal is noted.
GUARD = """
import os, sys
from importlib.machinery import PathFinder

TRAINS = ("torch", "transformers", "optimum", "datasets", "neural_compressor", "pyarrow", "scipy", "evaluate")

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name == "ftdeploy":
            return PathFinder.find_spec(name, [os.environ["BUNDLE_SOURCE"]])
        if name in TRAINS:
            with open(os.environ["REFUSED"], "a") as notes:
                notes.write(name + "\\n")
            raise ModuleNotFoundError(name)
        return None

sys.meta_path.insert(0, Guard())
"""


def test_a_bundle_serves_where_ftdeploy_and_torch_are_not(
    tiny: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied elsewhere, under plain `bentoml serve`, it answers as the compressed model does; nothing that trains is
    even asked for."""
    bundle = tmp_path / "elsewhere" / "bundle"
    shutil.copytree(tiny.run / "bundle", bundle)
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    notes = tmp_path / "refused"
    notes.touch()
    guarded = {"PYTHONPATH": tmp_path / "guard", "BUNDLE_SOURCE": bundle / "src", "REFUSED": notes}
    for name, value in {**ENVIRONMENT, **{name: os.fspath(path) for name, path in guarded.items()}}.items():
        monkeypatch.setenv(name, value)
    code = "import ftdeploy; print(ftdeploy.__file__); import torch"
    probe = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert probe.stdout.strip() == str(bundle / "src" / "ftdeploy" / "__init__.py"), "the guard does not guard"
    assert "ModuleNotFoundError: torch" in probe.stderr
    notes.write_text("", encoding="utf-8")

    texts = read_split(artifact(tiny.run, "dataset"), "test")["text"].to_pylist()[:5]
    predictor = Predictor(tiny.run / "compressed")
    expected = TASKS["text-classification"].decode(predictor.predict(texts), predictor.signature)
    with serving([sys.executable, "-m", "bentoml", "serve", str(bundle)], cwd=tmp_path) as url:
        found = httpx.post(f"{url}/predict", json={"inputs": texts, "parameters": {"top_k": 2}}).json()
        for answers, wanted in zip(found, expected, strict=True):
            assert [a["label"] for a in answers] == [w["label"] for w in wanted]
            assert [a["score"] for a in answers] == pytest.approx([w["score"] for w in wanted], abs=0.02)
        assert httpx.get(f"{url}/v2/models/tiny/ready").status_code == 200
    assert notes.read_text(encoding="utf-8") == ""
