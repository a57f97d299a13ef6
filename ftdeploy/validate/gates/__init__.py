"""Gates: each rule of the suite held against the answers and the measurements, with a verdict in plain words.

A further kind of gate is one class in ``ftdeploy/suite.py``, one function here, and one line in `JUDGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftdeploy import suite as rules
from ftdeploy.suite import Suite
from ftdeploy.validate.bias import judge_gap
from ftdeploy.validate.gates import costs, parts, quality, shares
from ftdeploy.validate.gates.evidence import Evidence
from ftdeploy.verdict import GateResult, GoldenResult, Overall

__all__ = ["JUDGES", "Evidence", "judge", "overall"]

#: Class of a gate -> the function that judges it, called with the gate, the suite and the evidence.
JUDGES: Mapping[type, Callable[[Any, Suite, Evidence], GateResult]] = {
    rules.NonInferiority: quality.non_inferiority,
    rules.Equivalence: quality.equivalence,
    rules.Superiority: quality.superiority,
    rules.Floor: quality.floor,
    rules.Ceiling: quality.ceiling,
    rules.Calibration: quality.calibration,
    rules.Slices: parts.slices,
    rules.WorstSlice: parts.worst_slice,
    rules.Flips: shares.flip,
    rules.Robustness: shares.robustness,
    rules.Directional: shares.directional,
    rules.Consistency: shares.consistency,
    rules.Ratio: costs.ratio,
    rules.Gap: lambda gate, suite, evidence: judge_gap(gate, suite, evidence.answers),
}


def judge(suite: Suite, evidence: Evidence, golden: Sequence[GoldenResult]) -> list[GateResult]:
    """A result for every gate of the suite, and one for its golden rows where it has any.

    Raises:
        ConfigError: a gate names a case, a slice or a label that there is not.
    """
    results = [JUDGES[type(gate)](gate, suite, evidence) for gate in suite.gates]
    return [*results, shares.golden(golden)] if golden else results


def overall(results: Sequence[GateResult]) -> Overall:
    """fail when a gate failed, else inconclusive when one could not tell, else pass; measured without any gate."""
    if not results:
        return "measured"
    found = {result.verdict for result in results}
    return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"
