"""The stage as a whole, on a tiny run with the real tools: what it makes and says, and a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_run import TinyRun, artifact, changed_recipe, ftdeploy, killed_when, remains

from ftdeploy import compress
from ftdeploy.compress.outcome import SearchResult
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import load_recipe

#: Everything that a search can do, in a shape that a tiny model can have.
WHOLE = {
    "candidates": ["inc-dynamic", "ort-dynamic", "first-token", "students", "vocabulary", "mixed", "sessions"],
    "students": [{"ffn": 0.5, "heads": 0.5}, {"layers": 0.5}],
    "distillation": {"epochs": 2, "augment": 0.5},
    "vocabulary_safety": 100,
    "objective": {"throughput": 1.0, "size": 1.0},
    "budget_minutes": 30,
}  # fmt: skip


def _search(run: Path) -> SearchResult:
    text = artifact(run, "compressed").file("candidates.json").read_text(encoding="utf-8")
    return SearchResult.model_validate_json(text)


@pytest.mark.slow
def test_a_search_tries_all_families_and_ships_a_model_that_answers(tiny: TinyRun, tmp_path: Path) -> None:
    """Quantizers, students and what is made of them all stand in candidates.json with figures or a reason; students are
    smaller before anything is quantized; the artifact holds the winner, and the page names it."""
    run = tiny.copy(tmp_path, until="export")
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress=WHOLE)
    found = ftdeploy("run", recipe, "--out", run, "--until", "compress")
    assert found.returncode == 0, found.stderr
    result = _search(run)
    by_name = {one.name: one for one in result.candidates}
    assert {"fp32", "inc-dynamic", "ort-dynamic", "first-token", "student-2x32x1", "student-1x64x2"} <= by_name.keys()
    assert not [one for one in result.candidates if one.status == "failed"]
    students = [one for one in result.candidates if one.steps and one.steps[0].startswith("student-")]
    assert {one.steps[-1] for one in students} >= {"inc-dynamic", "ort-dynamic"} or all(
        one.status in ("cut", "dropped") for one in students
    )
    made = artifact(run, "compressed")
    assert made.facts["winner"] == result.winner
    assert made.facts["bytes"] == sum(made.file(name).stat().st_size for name in ("model.onnx", "tokenizer.json"))
    assert result.winner in made.file("candidates.html").read_text(encoding="utf-8")
    answers = Predictor(made.path).predict(["a fine film", "a dull one"])
    assert answers.logits.shape == (2, 2)
    assert result.budget.spent < result.budget.seconds


@pytest.mark.slow
def test_a_search_for_cascades_joins_a_student_with_the_whole_model(tiny: TinyRun, tmp_path: Path) -> None:
    """Each quantized student stands as one model with the fine-tuned one, scored and told of; none is shipped alone,
    and what ships answers."""
    run = tiny.copy(tmp_path, until="export")
    settings = {
        "candidates": ["calibrated", "calibrated-4bit", "first-token", "students", "vocabulary"], "cascade": 0.25,
        "students": [{"ffn": 0.5, "heads": 0.5}], "distillation": {"epochs": 1, "augment": 0.5},
        "vocabulary_safety": 100, "max_drop": {"accuracy": 0.5}, "budget_minutes": 30,
    }  # fmt: skip
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress=settings)
    found = ftdeploy("run", recipe, "--out", run, "--until", "compress")
    assert found.returncode == 0, found.stderr
    result = _search(run)
    cascades = [one for one in result.candidates if one.steps and one.steps[-1] == "cascade"]
    assert {one.steps[:-1] for one in cascades} == {
        ("student-2x32x1", name, "vocabulary") for name in ("calibrated", "calibrated-4bit")
    }
    assert {one.status for one in cascades} <= {"kept", "undecided"}
    for one in cascades:
        assert any(note.startswith(f"{one.name}: where the two highest logits are less than") for note in result.notes)
    alone = [one for one in result.candidates if one.steps and one.steps[0].startswith("student-")]
    assert {one.status for one in alone if one not in cascades} == {"dropped"}
    answers = Predictor(artifact(run, "compressed").path).predict(["a fine film", "a dull one"])
    assert answers.logits.shape == (2, 2)


@pytest.mark.parametrize("flag", ["avx512_vnni", "avx_vnni", "amx_int8"])
def test_another_processor_is_another_search(tiny: TinyRun, monkeypatch: pytest.MonkeyPatch, flag: str) -> None:
    """What int8 weights may be depends on these instructions, so the stage's key holds each of them."""
    recipe = load_recipe(tiny.recipe)
    monkeypatch.setattr(compress, "cpu_flags", lambda: frozenset({"avx2"}))
    before = compress._outside(recipe)
    monkeypatch.setattr(compress, "cpu_flags", lambda: frozenset({"avx2", flag}))
    assert compress._outside(recipe) != before


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_with_what_it_had_made(tiny: TinyRun, tmp_path: Path) -> None:
    """Killed when a quantizer's model stands: that one is not made again, nothing half-made is left, and its
    seconds are counted."""
    run = tiny.copy(tmp_path, until="export")
    names = ["optimum-dynamic", "inc-dynamic"]
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress={"candidates": names})
    command = ("run", recipe, "--out", run, "--until", "compress")
    first = run / "compressed.work" / "made" / "optimum-dynamic.json"
    assert killed_when(first.exists, *command)
    noted = json.loads(first.read_text(encoding="utf-8"))
    found = ftdeploy(*command)
    assert found.returncode == 0, found.stderr
    assert remains(run) == []
    by_name = {one.name: one for one in _search(run).candidates}
    assert by_name["optimum-dynamic"].seconds == noted["seconds"]
    assert by_name["inc-dynamic"].status != "failed"


@pytest.mark.slow
def test_a_tool_that_returns_nothing_costs_its_candidates_only(tiny: TinyRun, tmp_path: Path) -> None:
    """Neural Compressor logs an error and returns None: its candidate is marked failed with that reason, in the
    artifact and in what is printed, and the run ends with another one."""
    fakes = tmp_path / "fakes" / "neural_compressor"
    fakes.mkdir(parents=True)
    (fakes / "__init__.py").write_text("PostTrainingQuantConfig = dict\nfrom . import quantization\n")
    (fakes / "quantization.py").write_text("def fit(*given, **named):\n    return None\n")
    run = tiny.copy(tmp_path, until="export")
    recipe = changed_recipe(tiny.recipe, tmp_path / "recipe.yaml", compress={"candidates": ["inc-dynamic"]})
    found = ftdeploy("run", recipe, "--out", run, environment={"PYTHONPATH": str(fakes.parent)})
    assert found.returncode == 0, found.stderr
    result = _search(run)
    (failed,) = (one for one in result.candidates if one.name == "inc-dynamic")
    assert failed.status == "failed"
    assert "returned no model" in failed.reason
    assert "inc-dynamic: failed, " in found.stderr
    assert (result.winner, result.verdict) == ("fp32", "fp32")
    assert "so fp32 goes on" in found.stderr
    assert artifact(run, "bundle").facts["winner"] == "fp32"
