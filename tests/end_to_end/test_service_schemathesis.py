"""schemathesis finds nothing: a real service does what its description says, and nothing else."""

from __future__ import annotations

import pytest
from benchmarks import serving_schemathesis

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", [[], ["--keys"], ["--pairs"]], ids=["open", "keys", "pairs"])
def test_schemathesis_finds_nothing(kind: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Every check, valid and invalid data; the benchmark of the same name sends ten times as much."""
    code = serving_schemathesis.main(["--examples", "25", *kind])
    said = capfd.readouterr().out
    assert code == 0, "\n".join(line[:500] for line in said.splitlines())
    assert "No issues found" in said
