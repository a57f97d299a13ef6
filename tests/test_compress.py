"""The choice among candidates by what was measured, and what becomes of one that cannot be made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TinyRun, artifact, changed_recipe, ftdeploy

from ftdeploy.compress import Trial, _score, choose
from ftdeploy.compress.candidates import CANDIDATES, Candidate
from ftdeploy.measure import Measurement
from ftdeploy.predictor import Outputs
from ftdeploy.recipe import CompressSettings
from ftdeploy.tasks import TASKS


def _trial(name: str, *, speed: float, size: int = 100, accuracy: float = 0.9) -> Trial:
    measured = Measurement(
        throughputs=(speed,) * 5, latencies_p50=(0.001,) * 5, latencies_p95=(0.002,) * 5, size=size, rows=32,
        provider="CPUExecutionProvider",
    )  # fmt: skip
    return Trial(name=name, status="kept", reason="", metrics={"accuracy": accuracy}, measured=measured)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([_trial("slow", speed=0.5)], "fp32"),
        ([_trial("hardly", speed=1.05)], "fp32"),
        ([_trial("fast", speed=2.0, accuracy=0.85)], "fast"),
        ([_trial("fast", speed=2.0, accuracy=0.85), _trial("as fast", speed=1.9, accuracy=0.89)], "as fast"),
        ([_trial("fast", speed=2.0, accuracy=0.85), _trial("slower", speed=1.7, accuracy=0.95)], "fast"),
        ([_trial("just", speed=1.12, accuracy=0.85), _trial("slow", speed=0.99, accuracy=0.95)], "just"),
    ],
)
def test_the_fastest_wins_and_among_equals_the_better(others: list[Trial], expected: str) -> None:
    """fp32 stays unless something is `min_gain` times as fast; within that factor of the best the score decides, and
    what is no faster than fp32 is never chosen over it."""
    settings = CompressSettings(min_gain=1.1)
    assert choose([_trial("fp32", speed=1.0), *others], settings).name == expected


def test_the_smallest_wins_where_that_is_the_objective() -> None:
    """Speed does not count then."""
    settings = CompressSettings(objective="smallest")
    trials = [_trial("fp32", speed=1.0), _trial("small", speed=0.5, size=25), _trial("fast", speed=3.0, size=90)]
    assert choose(trials, settings).name == "small"


def _outputs(answers: list[int], *, turned: bool = False) -> Outputs:
    """Logits that answer so, and embeddings; turned ones point elsewhere."""
    embedding = np.random.default_rng(3 if turned else 2).normal(size=(len(answers), 8)).astype(np.float32)
    return Outputs(logits=np.eye(2, dtype=np.float32)[answers], embedding=embedding)


def _judged(base: Outputs, outputs: Outputs) -> Trial:
    references = np.array([0, 1] * 50)
    task, candidate = TASKS["text-classification"], Candidate(name="int8", tool=None)
    settings = CompressSettings(max_drop={"accuracy": 0.05})
    return _score(candidate, references, base, outputs, classes=2, task=task, settings=settings, seed=1)


def test_a_candidate_that_scores_too_low_is_dropped_with_the_number() -> None:
    """max_drop is held against the drop on the validation rows; flips count changed answers, also those that help."""
    right, wrong = _outputs([0, 1] * 50), _outputs([1, 0] * 3 + [0, 1] * 47)
    found = _judged(right, wrong)
    assert found.status == "dropped"
    assert found.reason == "accuracy falls by 0.0600, allowed is 0.05"
    assert found.flips == 6
    assert found.metrics is not None
    assert found.metrics["accuracy"] == pytest.approx(0.94)
    better = _judged(wrong, right)
    assert (better.status, better.flips) == ("kept", 6)


def test_a_candidate_whose_embedding_left_is_dropped() -> None:
    """Equal answers are not enough: drift detection watches the second output."""
    found = _judged(_outputs([0, 1] * 50), _outputs([0, 1] * 50, turned=True))
    assert found.status == "dropped"
    assert "embedding" in found.reason


def test_candidates_of_one_tool_differ_in_their_session_options() -> None:
    """Every name of the recipe is a candidate, and no two are the same."""
    made = {(candidate.tool, candidate.session) for candidate in CANDIDATES.values()}
    assert len(made) == len(CANDIDATES)
    assert all(name == candidate.name for name, candidate in CANDIDATES.items())


@pytest.mark.slow
def test_every_candidate_is_made_scored_and_measured(tiny: TinyRun, tmp_path: Path) -> None:
    """With the real tools on a real export: none fails, all keep the second output, int8 is smaller, and the artifact
    holds the winner, which answers."""
    run = tiny.copy(tmp_path, until="export")
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress={"candidates": "auto"})
    found = ftdeploy("run", recipe, "--out", run, "--until", "compress")
    assert found.returncode == 0, found.stderr
    made = artifact(run, "compressed")
    document = json.loads(made.file("candidates.json").read_text(encoding="utf-8"))
    by_name = {candidate["name"]: candidate for candidate in document["candidates"]}
    assert by_name.keys() == CANDIDATES.keys()
    assert {c["status"] for c in by_name.values()} <= {"kept", "dropped"}, by_name
    fp32 = by_name["fp32"]["measured"]["size"]
    for name in ("inc-dynamic", "optimum-dynamic"):
        if by_name[name]["status"] == "kept":
            assert by_name[name]["measured"]["size"] < fp32
    assert made.facts["winner"] == document["winner"]
    assert by_name[document["winner"]]["measured"]["size"] == made.facts["bytes"]

    from ftdeploy.predictor import Predictor

    answers = Predictor(made.path).predict(["a fine film", "a dull one"])
    assert answers.logits.shape == (2, 2)
    assert answers.embedding.shape == (2, 32)


@pytest.mark.slow
def test_a_tool_that_returns_nothing_costs_its_candidates_only(tiny: TinyRun, tmp_path: Path) -> None:
    """Neural Compressor logs an error and returns None: its candidates are marked failed with that reason, in the
    artifact and in what is printed, and the run ends with another one."""
    fakes = tmp_path / "fakes" / "neural_compressor"
    fakes.mkdir(parents=True)
    (fakes / "__init__.py").write_text("PostTrainingQuantConfig = dict\nfrom . import quantization\n")
    (fakes / "quantization.py").write_text("def fit(model, settings):\n    return None\n")
    run = tiny.copy(tmp_path, until="export")
    names = ["inc-dynamic", "inc-dynamic-no-skip-fusion"]
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress={"candidates": names})
    found = ftdeploy("run", recipe, "--out", run, environment={"PYTHONPATH": str(fakes.parent)})
    assert found.returncode == 0, found.stderr
    document = json.loads(artifact(run, "compressed").file("candidates.json").read_text(encoding="utf-8"))
    by_name = {candidate["name"]: candidate for candidate in document["candidates"]}
    for name in names:
        assert by_name[name]["status"] == "failed"
        assert "Neural Compressor returned no model" in by_name[name]["reason"]
        assert f"{name}: failed, " in found.stderr
    assert document["winner"] == "fp32"
    assert "so fp32 goes on" in found.stderr
    assert artifact(run, "bundle").facts["winner"] == "fp32"
