"""The report as a document, and what it lets through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftdeploy.artifact import LAYOUT, Artifact, seal
from ftdeploy.errors import ArtifactError, FtdeployError, GateFailed, GateInconclusive
from ftdeploy.verdict import Report, read_report, refuse, report_schema

SIDE = {"made_by": "x@1", "digest": "ab"}


def gate(verdict: str, **changed: Any) -> dict[str, Any]:
    plain = {
        "name": f"{verdict} gate", "kind": "non-inferiority", "metric": "accuracy", "verdict": verdict,
        "explanation": f"it is {verdict}", "baseline": 0.9, "candidate": 0.8, "difference": -0.1, "value": -0.1,
        "lower": -0.2, "upper": 0.0, "limit": -0.05, "better": "higher", "rows": 100,
    }  # fmt: skip
    return plain | changed


def document(*gates: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema": 2, "name": "demo", "task": "text-classification", "suite": "s", "verdict": "pass", "rows": 100,
        "confidence": 0.95, "resamples": 1000, "identical": False, "baseline": SIDE, "candidate": SIDE, "dataset": SIDE,
        "gates": list(gates), "metrics": [], "slices": [], "gaps": [], "swaps": [], "costs": [],
        "provider": "CPUExecutionProvider",
        "noise": 0.01, "timing_rows": 32, "timing_rounds": 5, "golden": [], "right_to_wrong": 0, "wrong_to_right": 0,
        "confusion": {"labels": ["a", "b"], "baseline": [[1, 0], [0, 1]], "candidate": [[1, 0], [0, 1]]},
        "created": None, "absolute": False, "cases": [], "reliability": None, "robustness": [],
    }  # fmt: skip


def report(folder: Path, *gates: dict[str, Any]) -> Artifact:
    made = folder / "made"
    made.mkdir()
    for name in LAYOUT["report"].required:
        (made / name).write_text(name, encoding="utf-8")
    (made / "report.json").write_text(json.dumps(document(*gates)), encoding="utf-8")
    return seal(
        made, target=folder / "report", kind="report", made_by="x@1", made_from=(), key="", settings={}, facts={}
    )


def refusal(artifact: Artifact) -> FtdeployError:
    with pytest.raises(FtdeployError) as caught:
        refuse(artifact)
    return caught.value


def test_a_report_whose_gates_pass_goes_on(tmp_path: Path) -> None:
    """Nothing is raised, also without any gate."""
    refuse(report(tmp_path, gate("pass"), gate("pass")))


def test_failed_gates_are_named_with_their_reasons(tmp_path: Path) -> None:
    """Each that failed, and none that passed; the page is where to look."""
    error = refusal(report(tmp_path, gate("pass"), gate("fail"), gate("fail", name="other", explanation="too slow")))
    assert type(error) is GateFailed
    assert error.what.startswith("2 gates of 3 failed:")
    assert "fail gate: it is fail" in error.what
    assert "other: too slow" in error.what
    assert "pass gate" not in error.what
    assert str(tmp_path / "report" / "report.html") in error.fix


def test_a_failure_weighs_more_than_a_doubt(tmp_path: Path) -> None:
    """One fails and one cannot tell: it failed."""
    assert type(refusal(report(tmp_path, gate("inconclusive"), gate("fail")))) is GateFailed


def test_a_doubt_says_how_many_rows_would_do(tmp_path: Path) -> None:
    """The most that any undecided gate wants."""
    gates = [gate("inconclusive", rows_to_decide=rows) for rows in (800, 12_000)]
    error = refusal(report(tmp_path, gate("pass"), *gates))
    assert type(error) is GateInconclusive
    assert error.what.startswith("2 gates of 3 could not decide:")
    assert "about 12,000 rows" in error.fix


def test_a_doubt_that_rows_cannot_end(tmp_path: Path) -> None:
    """Noise of the timing: more rounds, no rows."""
    error = refusal(report(tmp_path, gate("inconclusive", kind="ratio", metric="throughput")))
    assert error.what.startswith("1 gate of 1 could not decide:")
    assert "more rounds" in error.fix


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    """Every key, frozen."""
    found = read_report(report(tmp_path, gate("pass")).file("report.json"))
    assert isinstance(found, Report)
    written = json.loads(found.model_dump_json(exclude_unset=True))
    written["schema"] = written.pop("schema_")
    assert written == document(gate("pass"))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", "{}", json.dumps({**document(), "schema": 1}), json.dumps({**document(), "more": 1}),
     json.dumps({name: value for name, value in document().items() if name != "gates"}), "\ud800"],
)  # fmt: skip
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    """Damaged, of another version, with a key too many or too few: never half understood."""
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ArtifactError, match="cannot be read as a report"):
        read_report(path)


def test_the_schema_has_the_keys_of_the_file() -> None:
    """`schema`, without the underscore that Python wants."""
    assert set(report_schema()["properties"]) == set(document())
    assert set(report_schema()["required"]) <= set(document())
