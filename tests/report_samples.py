"""A report with everything that one may have, and answers to go with it: for tests of what shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from ftdeploy.statistics import Verdict
from ftdeploy.validate.answers import Answer, Answers
from ftdeploy.verdict import (
    CaseResult,
    Compared,
    Confusion,
    CostResult,
    Example,
    GapResult,
    GateKind,
    GateResult,
    GoldenResult,
    MetricResult,
    Reliability,
    ReliabilityBin,
    Report,
    RobustnessResult,
    Scored,
    SliceResult,
    SwapChange,
    SwapResult,
)

KINDS: tuple[GateKind, ...] = get_args(GateKind)
LABELS = ("negative", "neutral", "positive")
#: (unit, better, value, lower, upper, limit) of a gate of each kind, with numbers of the size that real ones have.
_GATES: dict[GateKind, tuple[str, str, float, float, float, float]] = {
    "non-inferiority": ("difference", "higher", -0.0042, -0.0101, 0.0018, -0.02),
    "equivalence": ("difference", "inside", 0.0021, -0.0044, 0.0086, 0.01),
    "superiority": ("difference", "higher", -0.0042, -0.0101, 0.0018, 0.0),
    "floor": ("score", "higher", 0.8844, 0.8701, 0.8981, 0.85),
    "ceiling": ("score", "lower", 0.1712, 0.1601, 0.1834, 0.2),
    "calibration": ("difference", "lower", 0.0131, 0.0057, 0.0189, 0.02),
    "slices": ("difference", "higher", -0.0623, -0.1101, -0.0144, -0.05),
    "worst-slice": ("score", "higher", 0.7912, 0.7323, 0.8401, 0.75),
    "flips": ("share", "lower", 0.0205, 0.0141, 0.0288, 0.03),
    "robustness": ("share", "lower", 0.043, 0.0244, 0.0698, 0.05),
    "directional": ("share", "lower", 0.0078, 0.0014, 0.0244, 0.05),
    "consistency": ("share", "lower", 0.0, 0.0, 0.0231, 0.05),
    "ratio": ("ratio", "higher", 2.41, 2.33, 2.52, 1.5),
    "gap": ("difference", "lower", 0.0811, 0.0302, 0.1321, 0.1),
    "golden": ("share", "higher", 0.75, 0.75, 0.75, 1.0),
}
_JUDGED: dict[GateKind, str] = {"ratio": "throughput", "ceiling": "brier", "calibration": "ece"}
_VERDICTS: dict[GateKind, Verdict] = {
    "superiority": "fail", "slices": "inconclusive", "worst-slice": "inconclusive", "robustness": "inconclusive",
    "gap": "inconclusive", "golden": "fail",
}  # fmt: skip


def scored(value: float, width: float = 0.01) -> Scored:
    """An interval that reaches as far to both sides."""
    return Scored(value=value, lower=value - width, upper=value + width)


def gate(kind: GateKind = "floor", verdict: Verdict | None = None, **changed: Any) -> GateResult:
    """A gate of a kind."""
    unit, better, value, lower, upper, limit = _GATES[kind]
    verdict = verdict or _VERDICTS.get(kind, "pass")
    plain: dict[str, Any] = {
        "name": f"the {kind} gate", "kind": kind, "metric": _JUDGED.get(kind, "accuracy"),
        "verdict": verdict, "explanation": f"It is {value:.4f} and the {kind} gate says {verdict}.", "baseline": 0.8886,
        "candidate": 0.8844, "difference": -0.0042, "value": value, "unit": unit, "lower": lower, "upper": upper,
        "limit": limit, "better": better, "rows": 128 if kind == "ratio" else 2000,
        "rows_to_decide": 4200 if verdict == "inconclusive" else None,
        "details": ("source: blog fell by 0.0623 (p = 0.041)", "source: paper fell by 0.0102 (p = 0.87)")
        if kind in ("slices", "worst-slice", "robustness") else (),
    }  # fmt: skip
    return GateResult.model_validate(plain | changed)


def metric(name: str, before: float, after: float) -> MetricResult:
    """A metric of both models."""
    return MetricResult(metric=name, baseline=scored(before), candidate=scored(after),
                        difference=scored(after - before, 0.006))  # fmt: skip


def cost(name: str, before: float, ratio: float) -> CostResult:
    """A cost with seven rounds; a size has none."""
    rounds = [] if name == "size" else [before * (1 + 0.03 * (number * 5 % 7 - 3) / 3) for number in range(7)]
    width = 0 if name == "size" else 0.04
    return CostResult(
        cost=name, baseline=before, candidate=before * ratio, ratio=ratio, lower=ratio * (1 - width),
        upper=ratio * (1 + width), confidence=0.99, baseline_rounds=tuple(rounds),
        candidate_rounds=tuple(ratio * value * (1 + 0.01 * (index % 3)) for index, value in enumerate(rounds)),
    )  # fmt: skip


def bins(overconfident: float, rows: int = 2000) -> tuple[ReliabilityBin, ...]:
    """Bins over 0.4, most rows in the last."""
    found = []
    for index in range(6, 15):
        middle = (index + 0.5) / 15
        found.append(ReliabilityBin(lower=index / 15, upper=(index + 1) / 15, rows=rows * (index - 5) ** 3 // 2025,
                                    confidence=middle, accuracy=max(0.0, middle - overconfident)))  # fmt: skip
    return tuple(found)


def slices() -> tuple[SliceResult, ...]:
    """Slices of two metrics; blogs were hurt most."""
    parts = {("source", "blog"): -0.0623, ("text length", "0-40 characters"): -0.0201, ("label", "negative"): -0.01,
             ("source", "paper"): 0.002, ("text length", "121 characters and more"): 0.011}  # fmt: skip
    return tuple(
        SliceResult(metric=name, slice=cut, value=value, rows=500, baseline=scored(0.88, 0.02),
                    candidate=scored(0.88 + harm, 0.02), difference=scored(harm, 0.03))
        for name in ("accuracy", "macro_f1")
        for (cut, value), harm in parts.items()
    )  # fmt: skip


def again() -> tuple[RobustnessResult, ...]:
    """Rows that were asked again in three ways."""
    example = Example(before="I loved every minute of it.", after="I lvoed every minute of it.",
                      answer_before="positive", answer_after="neutral")  # fmt: skip
    return (
        RobustnessResult(name="typos", kind="robustness", rows=256, baseline=scored(0.031), candidate=scored(0.043),
                         examples=(example, example)),
        RobustnessResult(name="case", kind="robustness", rows=256, baseline=scored(0.0), candidate=scored(0.0)),
        RobustnessResult(name="I loved it.", kind="directional", rows=256, baseline=scored(0.0),
                         candidate=scored(0.0078), examples=(example,)),
        RobustnessResult(name="alone", kind="consistency", rows=128, baseline=scored(0.0), candidate=scored(0.0)),
    )  # fmt: skip


def report(*gates: GateResult, **changed: Any) -> Report:
    """A report with every section, and a gate of each kind where none are given."""
    gates = gates or tuple(gate(kind) for kind in KINDS)
    found = {one.verdict for one in gates}
    verdict = next((one for one in ("fail", "inconclusive") if one in found), "pass")
    plain: dict[str, Any] = {
        "name": "sentiment", "task": "text-classification", "suite": "release", "verdict": verdict, "rows": 2000,
        "confidence": 0.95, "resamples": 10_000, "identical": False, "created": "2026-05-01T12:30:00Z",
        "baseline": Compared(made_by="export@3", digest="b" * 64, name="runs/today/onnx", kind="onnx"),
        "candidate": Compared(made_by="package@2", digest="c" * 64, name="runs/today/bundle", kind="bundle"),
        "dataset": Compared(made_by="prepare@9", digest="d" * 64, name="runs/today/dataset", kind="dataset"),
        "gates": gates,
        "metrics": (metric("accuracy", 0.8886, 0.8844), metric("macro_f1", 0.8801, 0.8764),
                    metric("brier", 0.16, 0.1712)),
        "slices": slices(),
        "gaps": (GapResult(metric="false_positive_rate", label="negative", slice="terms:origin", value="named",
                           rows=140, rate=0.12, rest=0.041, baseline=0.07, candidate=scored(0.0811, 0.05)),),
        "swaps": (SwapResult(name="gender", rows=412,
                             baseline=SwapChange(changed=scored(0.004, 0.004), score=scored(0.011, 0.002)),
                             candidate=SwapChange(changed=scored(0.009, 0.006), score=scored(0.019, 0.003))),),
        "robustness": again(),
        "reliability": Reliability(baseline=bins(0.01), candidate=bins(0.06)),
        "cases": (CaseResult(name="reviews", rows=1500, digest="1" * 64, source="reviews.csv",
                             licence="CC BY 4.0"),
                  CaseResult(name="forum", rows=500, digest="2" * 64)),
        "costs": (cost("throughput", 412.0, 2.41), cost("latency_p50", 0.0069, 0.44), cost("latency_p95", 0.0121, 0.47),
                  cost("latency_p99", 0.0151, 0.49), cost("memory", 310e6, 0.61), cost("size", 91_678_389, 0.256)),
        "provider": "CPUExecutionProvider", "noise": 0.012, "timing_rows": 128, "timing_rounds": 7,
        "confusion": Confusion(labels=LABELS, baseline=((601, 30, 9), (41, 520, 60), (10, 73, 656)),
                               candidate=((590, 38, 12), (47, 511, 63), (14, 80, 645))),
        "golden": (GoldenResult(text="The best film.", label="positive", baseline="positive", candidate="positive"),
                   GoldenResult(text="Not bad at all.", label="positive", baseline="positive", candidate="negative")),
        "right_to_wrong": 41, "wrong_to_right": 22,
    }  # fmt: skip
    return Report.model_validate(plain | changed)


def alone(**changed: Any) -> Report:
    """The same without a baseline."""
    kinds = ("floor", "ceiling", "worst-slice", "robustness", "directional", "consistency", "gap", "golden")
    side = Compared(made_by="package@2", digest="c" * 64, name="runs/today/bundle", kind="bundle")
    own = {"absolute": True, "baseline": side, "right_to_wrong": 0, "wrong_to_right": 0}
    return report(*(gate(kind) for kind in KINDS if kind in kinds), **own | changed)


def answers(*, rows: int = 2000, flipped: int = 41, labels: Sequence[str] = LABELS,
            columns: Mapping[str, Sequence[str]] | None = None, texts: Sequence[str] | None = None,
            ids: Sequence[str] | None = None) -> Answers:  # fmt: skip
    """Answers of which the first ``flipped`` turned from right to wrong, and the others are right."""
    true = np.arange(rows, dtype=np.int64) % len(labels)
    after = true.copy()
    flipped = min(flipped, rows)
    further = (np.arange(flipped) % 3 == 0) & (len(labels) > 2)  # of two there is one other
    after[:flipped] = (true[:flipped] + 1 + further) % len(labels)
    sources = ("blog", "paper", "")
    sample = ("I loved every minute of it.", "It was neither good nor bad, and I have seen a hundred like it.",
              "Not what the poster promised: two hours of rain, and nobody says why.")  # fmt: skip
    return Answers(
        ids=ids or [f"row {row}" for row in range(rows)],
        texts=texts or [f"{sample[row % 3]} ({row})" for row in range(rows)],
        columns={"source": [sources[row % 3] for row in range(rows)]} if columns is None else columns,
        labels=labels,
        references=true,
        baseline=Answer(probabilities=_sure(true, len(labels), 0.9)),
        candidate=Answer(probabilities=_sure(after, len(labels), 0.8)),
    )


def _sure(predicted: Any, labels: int, score: float) -> Any:
    found = np.full((len(predicted), labels), (1 - score) / max(1, labels - 1), dtype=np.float32)
    found[np.arange(len(predicted)), predicted] = score
    return found
