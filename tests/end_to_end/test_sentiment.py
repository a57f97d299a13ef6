"""The main job as a newcomer does it: `make run` on real data, then serve the bundle and call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from workspace import SHORT, Workspace, serving

from ftdeploy.compress.outcome import SearchResult
from ftdeploy.hardware import saturates_int8

pytestmark = pytest.mark.slow


def _facts(workspace: Workspace, kind: str) -> dict[str, float]:
    manifest = json.loads((workspace.run / kind / "artifact.json").read_text(encoding="utf-8"))
    return dict(manifest["facts"])


def test_make_run_ends_with_the_bundle_its_facts_and_the_command_to_serve_it(sentiment: Workspace) -> None:
    """The last lines tell where the bundle is, what it is worth, and what to type next."""
    end = sentiment.output.rpartition("\nbundle ")[2]
    assert end.startswith("runs/sentiment/bundle")
    assert "accuracy" in end
    assert "speedup" in end
    assert "ftdeploy serve runs/sentiment/bundle" in end


def test_fp32_reaches_the_stated_accuracy_and_the_bundle_stays_within_a_point(sentiment: Workspace) -> None:
    """Held-out accuracy of fp32 is at least 0.865 and the shipped model is within 0.01 of it."""
    facts = _facts(sentiment, "bundle")
    assert facts["fp32_accuracy"] >= 0.865
    assert facts["accuracy"] >= facts["fp32_accuracy"] - 0.01


def test_the_shipped_model_is_measured_faster_and_smaller_than_fp32(sentiment: Workspace) -> None:
    """An int8 candidate wins: more than 1.5x the fp32 throughput in one alternating run, and about 4x smaller.

    The README states what was measured on a quiet machine (above 2x); a loaded test machine blurs the ratio. Without
    VNNI int8 gains less: 1.64x to 1.96x were measured on two busy cores of such a machine.
    """
    facts = _facts(sentiment, "compressed")
    assert facts["speedup"] > (1.3 if saturates_int8() else 1.5)
    assert facts["times_smaller"] > 3.5


def test_a_second_run_with_nothing_changed_does_nothing(sentiment: Workspace) -> None:
    """Every stage is skipped and every artifact is left as it is."""
    before = {path: path.stat().st_mtime_ns for path in sentiment.run.rglob("*") if path.name != ".lock"}
    found = sentiment.ftdeploy("run", "recipes/sentiment.yaml", *SHORT)
    assert found.stderr.count("nothing changed") == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_training_used_real_rows_and_kept_the_best_epoch(sentiment: Workspace) -> None:
    """The dataset is the movie snippets with |rating| > 0.5, split 70/10/20, and the checkpoint's epoch is the best."""
    data = _facts(sentiment, "dataset")
    assert data["train"] + data["validation"] + data["test"] > 9_900
    assert abs(data["test"] / (data["train"] + data["validation"] + data["test"]) - 0.2) < 0.01
    history = json.loads((sentiment.run / "checkpoint" / "history.json").read_text(encoding="utf-8"))
    scores = {round(entry["epoch"]): entry["eval_accuracy"] for entry in history if "eval_accuracy" in entry}
    assert scores[int(_facts(sentiment, "checkpoint")["best_epoch"])] == max(scores.values())


def test_every_candidate_has_a_verdict_with_figures_or_a_reason(sentiment: Workspace) -> None:
    """candidates.json holds each candidate: scored, or with the reason why not; finalists are measured, and the winner
    is one of them. A student, and the cascade that it would be a part of, wanted more time, and both are told of."""
    text = (sentiment.run / "compressed" / "candidates.json").read_text(encoding="utf-8")
    result = SearchResult.model_validate_json(text)
    by_name = {one.name: one for one in result.candidates}
    assert {"fp32", "inc-dynamic", "calibrated-rows", "first-token", "student-6x384x6-0.5-tokens"} <= set(by_name)
    for one in by_name.values():
        assert one.reason
        assert bool(one.metrics) == (one.status in ("kept", "undecided", "dropped"))
    for name in ("inc-dynamic", "calibrated-rows"):
        assert by_name[name].status in {"kept", "undecided", "dropped"}, by_name[name].reason
    assert by_name["first-token"].status == "kept"
    assert by_name["first-token"].right_to_wrong == 0
    assert by_name["student-6x384x6-0.5-tokens"].status == "skipped"
    assert "No cascade was made: there is no student for it." in result.notes
    winner = by_name[result.winner]
    assert winner.status in ("kept", "undecided")
    assert winner.costs is not None
    assert winner.invariance is not None


@pytest.mark.parametrize("command", ["ftdeploy", "bentoml"])
def test_the_bundle_serves_by_ftdeploy_and_by_plain_bentoml(sentiment: Workspace, command: str) -> None:
    """Both commands start a service that is ready only after warm-up and answers as the model was trained to."""
    bundle = str(sentiment.run / "bundle")
    texts = ["a wonderful, moving film with superb performances", "dull, badly acted and far too long"]
    with serving([sys.executable, "-m", command, "serve", bundle], cwd=sentiment.folder) as url:
        answers = httpx.post(f"{url}/predict", json={"inputs": texts}).json()
        assert [answer[0]["label"] for answer in answers] == ["positive", "negative"]
        single = httpx.post(f"{url}/predict", json={"inputs": texts[0]}).json()
        assert single[0]["label"] == "positive"
        assert abs(sum(entry["score"] for entry in single) - 1) < 1e-5
        tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": texts}
        inferred = httpx.post(f"{url}/v2/models/sentiment/infer", json={"inputs": [tensor]}).json()
        labels = next(output for output in inferred["outputs"] if output["name"] == "label")
        assert labels["data"] == ["positive", "negative"]
        for path in ("/livez", "/readyz", "/metrics", "/v2/health/ready", "/v2/models/sentiment"):
            assert httpx.get(url + path).status_code == 200, path
        assert "<html" in httpx.get(f"{url}/").text
    recorded = "".join(path.read_text(encoding="utf-8") for path in (sentiment.run / "traffic").iterdir())
    assert "positive" in recorded
    assert "wonderful" not in recorded
    subprocess.run([sys.executable, "-m", "ftdeploy", "verify", bundle], check=True, capture_output=True)


def test_the_bundle_remembers_its_data_and_says_what_it_is(sentiment: Workspace) -> None:
    """Drift reference, report, model card, bill of materials and pinned requirements are in it, torch is not."""
    model = sentiment.run / "bundle" / "src" / "model"
    assert (model / "drift_reference.npz").stat().st_size > 10_000
    card = (model / "model_card.md").read_text(encoding="utf-8")
    assert f"{_facts(sentiment, 'bundle')['accuracy']:.4f}" in card
    requirements = (sentiment.run / "bundle" / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")
    assert "onnxruntime==" in requirements
    assert "torch" not in {line.partition("==")[0] for line in requirements.splitlines()}


def test_bench_prints_the_ratio_measured_in_one_run(sentiment: Workspace) -> None:
    """`ftdeploy bench` compares the bundle with the fp32 export beside it."""
    found = sentiment.ftdeploy("bench", "runs/sentiment/bundle", "--rounds", "3", "--rows", "64")
    assert "throughput" in found.stdout
    assert "size" in found.stdout
    assert Path(sentiment.run / "onnx" / "model.onnx").exists()
