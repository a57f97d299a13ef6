"""README.md is a test: every shell block in it is run, in order, as a newcomer would type it."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from workspace import BUDGET, ROOT, Workspace, free_port, make, serving

from ftdeploy.recipe import load_recipe
from ftdeploy.suite import load_suite

pytestmark = pytest.mark.slow

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
#: Blocks by their first word after the path of the environment; a block that nobody runs fails the last test.
SERVE, CALLS, PIPED = "ftdeploy serve", "curl", "printf"
PORT = free_port()


def _typed(block: str) -> str:
    """A block as it runs here: the environment of the tests, a free port, and a search as short as `make run` has."""
    block = re.sub(r"(ftdeploy run \S+)$", rf"\1 {shlex.join(BUDGET)}", block, flags=re.MULTILINE)
    return block.replace(".venv/bin/", f"{sys.prefix}/bin/").replace("3000", str(PORT))


def _blocks(start: str) -> list[str]:
    return [block for block in BLOCKS if block.replace(".venv/bin/", "").startswith(start)]


def _run(block: str, workspace: Workspace) -> str:
    command = ["bash", "-euo", "pipefail", "-c", _typed(block)]
    found = subprocess.run(command, cwd=workspace.folder, capture_output=True, text=True, check=False)
    assert found.returncode == 0, f"{block}\n{found.stdout}\n{found.stderr}"
    return found.stdout


@pytest.fixture(scope="module")
def served(sentiment: Workspace) -> Iterator[None]:
    """The service that the README starts."""
    (block,) = _blocks(SERVE)
    with serving(shlex.split(_typed(block)), cwd=sentiment.folder, port=PORT):
        yield


def test_the_two_commands_of_a_newcomer(sentiment: Workspace) -> None:
    """`make run` is what made the workspace; `make test` starts the test suite (here: one file of it)."""
    assert _blocks("make run") == ["make run\n"]
    assert _blocks("make test") == ["make test\n"]
    found = make(sentiment.folder, "test", "TESTS=tests/test_errors.py")
    assert found.returncode == 0, found.stdout + found.stderr
    assert " passed" in found.stdout


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("block", [*_blocks(CALLS), *_blocks(PIPED)])
def test_the_calls_answer(sentiment: Workspace, block: str) -> None:
    """Every curl of the README gets an answer."""
    assert _run(block, sentiment).strip()


@pytest.mark.usefixtures("served")
def test_the_shown_answer_has_the_shape_of_the_real_one(sentiment: Workspace) -> None:
    """The JSON under the first curl has the labels, the order and the keys of what the service says."""
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, flags=re.DOTALL)[0])
    real = json.loads(_run(_blocks(CALLS)[0], sentiment))
    assert [[entry["label"] for entry in answer] for answer in shown] == [
        [entry["label"] for entry in answer] for answer in real
    ]


def test_own_data_from_a_csv_to_a_bundle(sentiment: Workspace) -> None:
    """init, check, run on a CSV that a user brings (real rows, under names of their own) ends in a bundle."""
    rows = _sample(sentiment)
    with (sentiment.folder / "my-data.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["opinion", "verdict"])
        writer.writerows(rows)
    (block,) = _blocks("ftdeploy init")
    output = _run(block, sentiment)
    assert "bundle" in output
    assert "serve it:" in output
    (block,) = _blocks("ftdeploy cross-validate")
    output = _run(block, sentiment)
    assert "accuracy" in output
    best = sentiment.folder / "my-recipe.tuned.yaml"
    assert load_recipe(best).train.learning_rate in {3e-5, 1e-4}


def _sample(workspace: Workspace) -> list[tuple[str, str]]:
    table = pq.read_table(workspace.run / "dataset" / "train.parquet", columns=["text", "label"])
    step = table.num_rows // 700
    rows = table.take(list(range(0, table.num_rows, step))).to_pylist()
    return [(row["text"], row["label"]) for row in rows]


def test_looking_at_results(sentiment: Workspace) -> None:
    """show, verify, bench, doctor and schema print what they say."""
    (block,) = _blocks("ftdeploy show")
    output = _run(block, sentiment)
    for expected in ("by train@", "intact bundle", "throughput", "onnxruntime"):
        assert expected in output
    schema = json.loads((sentiment.folder / "recipe.schema.json").read_text(encoding="utf-8"))
    assert "train" in schema["properties"]


def test_suites_on_the_bundle(sentiment: Workspace) -> None:
    """The recipe's suite passes; a suite is written for a user's own rows and decides; the history shows both."""
    with (sentiment.folder / "my-data.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["opinion", "verdict"])
        writer.writerows(_sample(sentiment))
    (block,) = _blocks("ftdeploy eval")
    output = _run(block, sentiment)
    assert "sentiment-domains" in output
    assert "pass on 2,008 rows" in output
    assert "wrote my-suite.yaml" in output
    assert "reports/history.html" in output


def test_the_bundle_beside_other_runtimes(sentiment: Workspace) -> None:
    """Each of the named ways to run the same fine-tuned model is measured with its accuracy, the bundle among them."""
    (block,) = _blocks("ftdeploy bench")
    output = _run(block, sentiment)
    for name in ("fp32", "openvino", "torch", "optimum-int8"):
        assert re.search(rf"^{name} .*x", output, flags=re.MULTILINE), output


def test_a_preview_says_what_cleaning_would_do(sentiment: Workspace) -> None:
    """The dry run shows rules with examples."""
    (block,) = _blocks("ftdeploy preview")
    assert "rules that are off would change or report" in _run(block, sentiment)


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL))
def test_excerpts_of_recipes_are_taken(block: str, tmp_path: Path) -> None:
    """Each YAML block of the README can be laid over a recipe, or is a suite."""
    file = ROOT / "recipes" / "finance-sentiment.yaml"
    whole = yaml.safe_load(file.read_text(encoding="utf-8"))
    whole["validate"]["suite"] = str((file.parent / whole["validate"]["suite"]).resolve())
    read = yaml.safe_load(block)
    if "gates" in read:  # a suite
        (tmp_path / "suite.yaml").write_text(block, encoding="utf-8")
        assert load_suite(tmp_path / "suite.yaml").cases
        return
    if "task" in read:  # of another one, which has other labels and another suite
        whole = {key: whole[key] for key in ("version", "name", "model")} | {"data": {"source": {"path": "rows.jsonl"}}}
    for key, section in read.items():
        whole[key] = whole.get(key, {}) | section if isinstance(section, dict) else section
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml")


def test_the_install_command_resolves() -> None:
    """The install line is accepted by pip with the pins, in a checkout."""
    (block,) = _blocks("pip install")
    command = [sys.executable, "-m", *shlex.split(block), "--dry-run", "--quiet"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_no_block_is_left_out() -> None:
    """Every shell block of the README is one that a test above runs."""
    known = ("make run", "make test", SERVE, CALLS, PIPED, "ftdeploy init", "ftdeploy show", "ftdeploy preview",
             "ftdeploy bench", "ftdeploy cross-validate", "ftdeploy eval", "pip install")  # fmt: skip
    run = [block for start in known for block in _blocks(start)]
    assert sorted(run) == sorted(BLOCKS)
