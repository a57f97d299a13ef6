"""Feedback and `ftdeploy update` where a label is no class: from a run to a challenger that was judged, by commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from real_data import MIRROR
from tiny_entities import write_tiny_entities
from tiny_multi_label import write_tiny_labels
from tiny_regression import write_tiny_numbers
from tiny_run import ftdeploy, run_to_the_end
from update_samples import domain
from workspace import serving

from ftdeploy.artifact import open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.registry import Registry
from ftdeploy.spans import from_tags

#: A champion whose service keeps texts, and challengers that are as small as they can be.
SECTIONS = {
    "monitor": {"traffic": {"text": True}, "min_rows": 50},
    "update": {"min_rows": 40, "epochs": 2, "budgets": {}},
}
ROWS = 60


@dataclass(frozen=True)
class Case:
    """A task, and what is asked and told of it.

    Attributes:
        write: the recipe of a champion.
        rows: texts with their true labels, as feedback gives them.
        refused: what is no label of the task, and what is said about it.
        better: metrics by which a challenger must be better on new rows.
        measured: metrics of whole answers that `ftdeploy monitor` must tell.
    """

    write: Callable[..., Path]
    rows: Callable[[], list[tuple[str, Any]]]
    refused: tuple[Any, str]
    better: Sequence[str]
    measured: Sequence[str]


def _sets() -> list[tuple[str, Any]]:
    return [(text, ["positive"] if label == "positive" else []) for text, label in domain(ROWS)]


def _numbers() -> list[tuple[str, Any]]:
    return [(text, 100 + len(text.split()) + 20 * (label == "positive")) for text, label in domain(ROWS)]


def _entities() -> list[tuple[str, Any]]:
    found = []
    for sentence in (MIRROR / "bc5cdr-devel.tsv").read_text(encoding="utf-8").strip().split("\n\n")[:ROWS]:
        words, tags = zip(*(line.split("\t") for line in sentence.splitlines()), strict=True)
        starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
        entities = [{"entity_group": span.kind, "start": span.start, "end": span.end}
                    for span in from_tags(words, tags, starts)]  # fmt: skip
        found.append((" ".join(words), entities))
    return found


CASES = {
    "multi-label-classification": Case(
        write_tiny_labels, _sets, (["positive", "short"], "label[1] 'short' is none of the model's"),
        ("label_f1", "label_mcc"), ("label_f1", "label_macro_f1", "accuracy"),
    ),
    "text-regression": Case(
        write_tiny_numbers, _numbers, ("7", "label wants a number"), ("r2", "spearman"), ("r2", "spearman", "mae"),
    ),
    "token-classification": Case(
        write_tiny_entities, _entities, ([{"entity_group": "Disease", "start": 0, "end": 9999}], "beyond the text of"),
        ("entity_f1",), ("entity_f1", "accuracy"),
    ),
}  # fmt: skip


def _registry(folder: Path, recipe: Path) -> Path:
    """A registry whose champion is a run of a recipe."""
    home, run = folder / "registry" / "tiny", run_to_the_end(recipe).run
    added = ftdeploy("registry", "add", run, home, "--recipe", recipe)
    assert added.returncode == 0, added.stderr
    (version,) = (path.name for path in (home / "versions").iterdir())
    promoted = ftdeploy("registry", "promote", home, version)
    assert promoted.returncode == 0, promoted.stderr
    return home


def _told(url: str, case: Case, rows: Sequence[tuple[str, Any]]) -> None:
    """Ask for the rows' texts, and send what is true of them."""
    asked = httpx.post(f"{url}/predict", json={"inputs": [text for text, _ in rows]}, timeout=60)
    assert asked.status_code == 200, asked.text
    identity = asked.headers["x-request-id"]
    wrong, words = case.refused
    beside = {"text": rows[0][0]} if isinstance(wrong[0], dict) else {}
    refused = httpx.post(f"{url}/feedback", json={"request_id": identity, "label": wrong, **beside})
    assert refused.status_code == 422
    assert words in refused.json()["error"]
    labels = [{"request_id": identity, "index": place, "label": label} for place, (_, label) in enumerate(rows)]
    taken = httpx.post(f"{url}/feedback", json=labels)
    assert (taken.status_code, taken.json()) == (202, {"accepted": len(rows)})


@pytest.mark.parametrize("task", CASES)
def test_what_people_say_is_right_is_learned_and_judged(task: str, tmp_path: Path) -> None:
    """A champion is served and asked; true labels come back, are recorded beside its answers, become rows of a
    challenger, and the challenger is held against the champion on old and on new rows by metrics of the task."""
    case = CASES[task]
    home, rows = _registry(tmp_path, case.write(tmp_path / "recipe", sections=SECTIONS)), case.rows()
    champion = home / "champion"
    with serving([sys.executable, "-m", "ftdeploy", "serve", str(champion / "bundle")], cwd=tmp_path) as url:
        _told(url, case, rows)
        described = httpx.get(f"{url}/docs.json").json()
    assert "/feedback" in described["paths"]

    traffic = next(champion.resolve().glob("traffic"))
    seen = ftdeploy("monitor", champion / "bundle", "--traffic", traffic, "--report", tmp_path / "drift")
    assert seen.returncode in (0, 11, 19), seen.stderr
    report = json.loads((tmp_path / "drift" / "drift.json").read_text(encoding="utf-8"))
    assert report["measured_rows"] == ROWS
    assert {one["metric"] for one in report["measured"]} >= set(case.measured)

    done = ftdeploy("update", home, "--traffic", traffic, "--json")
    assert done.returncode in (0, 10, 11), done.stdout + done.stderr
    found = json.loads(done.stdout)
    outcome = found["outcome"]
    assert sum(outcome["splits"].values()) == outcome["begun"]["rows"] > ROWS / 2
    assert outcome["splits"]["test"] > 0
    better = {gate.split(":")[0] for gate in outcome["gates"] if gate.startswith("new")}
    assert better == {"new"}, outcome["gates"]
    for metric in case.better:
        assert any(metric in gate for gate in outcome["gates"] if gate.startswith("new")), outcome["gates"]
    version = Registry(home).folder(outcome["version"])
    learned = read_split(open_artifact(version / "dataset", kind="dataset"), "train").to_pylist()
    assert len([row for row in learned if row["id"].startswith("new:")]) == outcome["splits"]["train"]
