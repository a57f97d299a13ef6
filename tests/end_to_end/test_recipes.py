"""The recipes on public data: what prepare makes of all rows, and the first stages on a sample of them.

Whole runs take up to ten minutes each and are done by hand (README, "Other recipes").
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from workspace import ROOT

from ftdeploy.dataset import SPLITS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("mirror")]
#: name -> rows in the source, words of the licence and of the citation
CASES = {
    "clinical-sections": (1501, "CC BY 4.0", "Ben Abacha"),
    "contract-clauses": (7331, "CC BY 4.0", "Hendrycks"),
    "finance-sentiment": (3453, "CC BY-NC-SA 3.0", "Malo"),
    "retail-categorization": (35311, "CC BY 4.0", "Akritidis"),
}


def _ftdeploy(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ftdeploy", *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found


@pytest.mark.parametrize("name", CASES)
def test_every_row_of_the_source_is_accounted_for(name: str, tmp_path: Path) -> None:
    """Each row is in a split, or set aside with a reason; licence and citation are shown and kept; no group stands in
    two splits."""
    rows, licence, citation = CASES[name]
    found = _ftdeploy("run", f"recipes/{name}.yaml", "--until", "prepare", "--out", tmp_path)
    assert licence in found.stderr
    assert citation in found.stderr
    profile = json.loads((tmp_path / "dataset" / "profile.json").read_text(encoding="utf-8"))
    assert profile["read"] == rows
    set_aside = pq.read_table(tmp_path / "dataset" / "rejected.parquet").num_rows
    splits = {split: pq.read_table(tmp_path / "dataset" / f"{split}.parquet") for split in SPLITS}
    assert sum(table.num_rows for table in splits.values()) + set_aside == rows
    assert licence in json.dumps(profile)
    assert citation in json.dumps(profile)
    groups = [set(table["group"].to_pylist()) - {None} for table in splits.values()]
    assert len(groups[0] | groups[1] | groups[2]) == sum(len(names) for names in groups)


@pytest.mark.parametrize("name", CASES)
def test_the_recipe_runs_on_a_sample(name: str, tmp_path: Path) -> None:
    """Real rows, real checkpoint: fine-tuned for an epoch and exported with parity proven; every label is there."""
    sample = ("--set", "data.limit=500", "--set", "train.epochs=1")
    _ftdeploy("run", f"recipes/{name}.yaml", "--until", "export", "--out", tmp_path, *sample)
    signature = json.loads((tmp_path / "onnx" / "signature.json").read_text(encoding="utf-8"))
    profile = json.loads((tmp_path / "dataset" / "profile.json").read_text(encoding="utf-8"))
    assert signature["labels"] == profile["labels"]
    assert set(signature["labels"]) == set(profile["splits"]["test"]["labels"])
    facts = json.loads((tmp_path / "checkpoint" / "artifact.json").read_text(encoding="utf-8"))["facts"]
    largest = max(profile["splits"]["validation"]["labels"].values()) / profile["splits"]["validation"]["rows"]
    assert facts["validation_accuracy"] > largest * 0.9, "it learned less than to name the commonest label"
