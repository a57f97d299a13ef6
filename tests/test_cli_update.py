"""`ftdeploy update` as a command: exit codes, JSON, what it wants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftdeploy.cli import app
from ftdeploy.errors import FtdeployError, GateFailed, GateInconclusive
from ftdeploy.update import Updated
from ftdeploy.update.outcome import Begun, Outcome


def updated(verdict: str, *, promoted: bool = False) -> Updated:
    begun = Begun(champion="0" * 12, settings="s", rows=300, digest="d")
    gates = {"new: accuracy better": verdict}
    outcome = Outcome.model_validate({"verdict": verdict, "begun": begun, "version": "1" * 12, "splits": {"test": 120},
                                      "report": "r", "gates": gates})  # fmt: skip
    return Updated(outcome=outcome, champion="0" * 12, promoted=promoted, repeated=False, said="said [so]",
                   report=Path("r"))  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, found: Updated, *arguments: str) -> tuple[int, str, BaseException | None]:
    """The command over an update that was made: what it takes costs a training."""
    monkeypatch.setattr("ftdeploy.update.update", lambda *_given, **_named: found)
    made = CliRunner().invoke(app, ["update", "reg/tiny", "--data", "rows.csv", *arguments])
    return made.exit_code, made.stdout, made.exception


@pytest.mark.parametrize(("verdict", "kind"), [("fail", GateFailed), ("inconclusive", GateInconclusive)])
def test_a_refusal_has_the_exit_code_of_its_gates(monkeypatch: pytest.MonkeyPatch, verdict: str,
                                                  kind: type[FtdeployError]) -> None:  # fmt: skip
    """10 and 11, with the gates and the page; as JSON with the same code and nothing else on stdout."""
    _, shown, error = call(monkeypatch, updated(verdict))
    assert isinstance(error, kind)
    assert "new: accuracy better" in shown
    assert "r/report.html" in error.fix
    code, shown, _ = call(monkeypatch, updated(verdict), "--json")
    assert code == kind.exit_code
    found = json.loads(shown)
    assert (found["verdict"], found["champion"], found["outcome"]["begun"]["rows"]) == (verdict, "0" * 12, 300)


def test_a_pass_says_how_to_promote_unless_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the version's name; paths and words are shown as they are."""
    code, shown, _ = call(monkeypatch, updated("pass"))
    assert code == 0
    assert f"registry promote reg/tiny {'1' * 12}" in shown
    assert "said [so]" in shown
    assert "registry promote" not in call(monkeypatch, updated("pass", promoted=True))[1]


def test_something_to_learn_from_is_wanted() -> None:
    """Rows, traffic, or --auto."""
    found = CliRunner().invoke(app, ["update", "reg/tiny"])
    assert found.exit_code == 2
    assert "--data" in found.output
