"""The recipes on public data: what prepare makes of all rows, the first stages on a sample of them, and a sample to the
served bundle where the recipe says what the service does.

Whole runs take up to ten minutes each and are done by hand (README, "Other recipes").
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from workspace import ROOT, serving

from ftdeploy.dataset import SPLITS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("mirror")]
#: name -> rows in the source, words of the licence and of the citation
CASES = {
    "clinical-sections": (1501, "CC BY 4.0", "Ben Abacha"),
    "contract-clauses": (9137, "CC BY 4.0", "Hendrycks"),
    "finance-sentiment": (3453, "CC BY-NC-SA 3.0", "Malo"),
    "product-matching": (14688, "CC BY 4.0", "Akritidis"),
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


#: A sample cannot hold the recipe's gates, nor decide among candidates: fp32 goes on, and this gate lets it.
LENIENT = """\
version: 1
name: smoke
metrics: [{metric}]
gates: [{{kind: ratio, metric: size, maximum: 1.0}}]
timing_rows: 32
timing_rounds: 5
"""
CONTRACT = """\
1. Governing Law. This Agreement is governed by and construed in accordance with the laws of the State of New York.

2. Insurance. Distributor shall maintain commercial general liability insurance of at least $1,000,000 per occurrence.

3. Grant. Licensor grants to Licensee a non-exclusive license to use the Marks in the Territory.
"""


def _bundle(name: str, metric: str, folder: Path, *sets: str) -> Path:
    """The bundle of a sample of the recipe's rows, uncompressed."""
    suite = folder / "smoke.yaml"
    suite.write_text(LENIENT.format(metric=metric), encoding="utf-8")
    given = ("compress.candidates=[fp32]", "package.tune_service=false", f"validate.suite={suite}", *sets)
    _ftdeploy("run", f"recipes/{name}.yaml", "--out", folder, *(part for one in given for part in ("--set", one)))
    return folder / "bundle"


def test_a_contract_is_reviewed_by_a_bundle_of_a_sample(tmp_path: Path) -> None:
    """contract-review, from real clauses to the service: a document's passages in order, each with its place and with a
    category of the recipe or `other`."""
    bundle = _bundle("contract-review", "accuracy", tmp_path, "data.limit=1000", "train.epochs=1")
    labels = {*json.loads((bundle / "src" / "model" / "signature.json").read_text(encoding="utf-8"))["labels"], "other"}
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(bundle)], cwd=tmp_path) as url:
        found = httpx.post(f"{url}/review", json={"inputs": CONTRACT}, timeout=60).json()
    passages = found["passages"]
    assert [CONTRACT[one["start"] : one["end"]].strip() for one in passages] == CONTRACT.strip().split("\n\n")
    assert {one["label"] for one in passages} <= labels


def test_unusual_clauses_are_told_by_a_bundle_of_a_sample(tmp_path: Path) -> None:
    """contract-anomaly, from real clauses to the service: a recipe for soup is less usual as a clause on the governing
    law than such a clause is."""
    bundle = _bundle("contract-anomaly", "neighbour_agreement", tmp_path, "data.limit=3000")
    clause = CONTRACT.split("\n\n", maxsplit=1)[0]
    soup = "Peel the onions, fry them slowly in butter until they are golden, and add the stock."
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(bundle)], cwd=tmp_path) as url:
        asked = {"inputs": [clause, soup], "label": "Governing Law"}
        usual, unusual = httpx.post(f"{url}/anomaly", json=asked, timeout=60).json()
    assert usual["p_value"] > unusual["p_value"]
    assert (usual["unusual"], unusual["unusual"]) == (False, True)


def test_like_products_are_near_by_a_bundle_of_a_sample(tmp_path: Path) -> None:
    """embeddings, from real titles to the service: titles of one telephone are nearer than a washing machine."""
    bundle = _bundle("embeddings", "neighbour_agreement", tmp_path, "data.limit=1500")
    titles = [
        "apple iphone 8 plus 64gb silver",
        "Apple iPhone 8 Plus 64 GB, sim free",
        "bosch wae24063gb washing machine",
    ]
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(bundle)], cwd=tmp_path) as url:
        one, like, other = np.array(httpx.post(f"{url}/embed", json={"inputs": titles}, timeout=60).json())
    assert one @ like > one @ other
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-3)
