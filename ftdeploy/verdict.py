"""The report of an evaluation: its format, reading it, and refusing what did not pass.

``report.json`` is for machines; the models here are its schema (`report_schema`), and ``schema`` counts its versions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ftdeploy.artifact import Artifact
from ftdeploy.document import Section
from ftdeploy.errors import ArtifactError, GateFailed, GateInconclusive
from ftdeploy.statistics import Verdict

#: Of a whole report: where no gate was asked, it is a measurement and no verdict.
Overall = Verdict | Literal["measured"]
#: The rules of a suite, and its golden rows.
GateKind = Literal[
    "non-inferiority", "equivalence", "superiority", "floor", "ceiling", "calibration", "slices", "worst-slice",
    "flips", "robustness", "directional", "consistency", "ratio", "gap", "golden",
]  # fmt: skip


class GateResult(Section):
    """One gate and what came of it."""

    name: str
    """What was demanded, in a few words."""
    kind: GateKind
    """Which rule."""
    case: str = ""
    """The case that was judged; empty is all rows."""
    metric: str
    """The metric or cost that was judged."""
    verdict: Verdict
    """pass, fail, or inconclusive: the sample, or the rounds of timing, cannot tell."""
    explanation: str
    """The verdict in plain words, with its numbers."""
    baseline: float
    """The baseline's score or cost."""
    candidate: float
    """The candidate's score or cost."""
    difference: float
    """candidate - baseline."""
    value: float
    """What is held against the limit: the difference (non-inferiority, equivalence, superiority, calibration, and of
    the worst slice for slices), the score (floor, ceiling, worst-slice), candidate / baseline (ratio), a share of rows
    (flips, robustness, directional, consistency, golden), or the greatest gap between two groups (gap)."""
    unit: Literal["score", "difference", "ratio", "share"] = "score"
    """What ``value``, its ends and ``limit`` are, for people."""
    lower: float
    """Lower end of the interval of ``value``, one-sided."""
    upper: float
    """Upper end of the interval of ``value``, one-sided."""
    limit: float
    """Where passing ends: -margin, the minimum, or the maximum."""
    better: Literal["higher", "lower", "inside"]
    """On which side of the limit passing lies; `inside`: between -limit and limit (equivalence)."""
    rows: int
    """Rows that were judged (ratio: rows in a timing round)."""
    rows_to_decide: int | None = None
    """For an inconclusive quality gate: about how many rows would give a pass, if the value stays."""
    details: tuple[str, ...] = ()
    """What it rests on, a line each: slices by harm with their p-values, examples of changed answers."""


class Scored(Section):
    """A metric with one-sided ends of its interval."""

    value: float
    """The metric."""
    lower: float
    """Lower end."""
    upper: float
    """Upper end."""


class MetricResult(Section):
    """One metric over all rows, or over the rows of a slice."""

    metric: str
    """Its name."""
    baseline: Scored
    """The baseline's score."""
    candidate: Scored
    """The candidate's score."""
    difference: Scored
    """candidate - baseline, paired."""


class SliceResult(MetricResult):
    """One metric over the rows of one slice."""

    slice: str
    """What the rows are cut by: text length, label, or a column."""
    value: str
    """Which part."""
    rows: int
    """How many rows it has."""


class GapResult(Section):
    """One rate over a group of rows, against the rest of them."""

    metric: str
    """selection_rate, error_rate, false_positive_rate or false_negative_rate."""
    label: str
    """The label that is looked at; empty for error_rate."""
    slice: str
    """What the rows are cut by."""
    value: str
    """Which group."""
    rows: int
    """Rows of the group that the rate is a share of."""
    rate: float
    """The candidate's rate over the group."""
    rest: float
    """The candidate's rate over all other rows."""
    baseline: float
    """The baseline's gap: group - rest."""
    candidate: Scored
    """The candidate's gap: group - rest."""


class SwapChange(Section):
    """What swapped terms change in the answers of one model."""

    changed: Scored
    """Share of the rows with another predicted label."""
    score: Scored
    """Mean absolute change in the probability of the label that was predicted before."""


class SwapResult(Section):
    """The rows with one of the suite's terms, answered with each term in the place of its counterpart."""

    name: str
    """Of the pairs."""
    rows: int
    """How many rows hold a term."""
    baseline: SwapChange
    """Of the baseline."""
    candidate: SwapChange
    """Of the candidate."""


class Example(Section):
    """A text before and after a change, and the candidate's answers to both."""

    before: str
    """The row's text."""
    after: str
    """What was made of it."""
    answer_before: str
    """Label that was answered to the one."""
    answer_after: str
    """Label that was answered to the other."""


class RobustnessResult(Section):
    """Rows asked again after a change that should leave the answer alone, or move it one way only."""

    name: str
    """The perturbation; for a directional test, what was added; `alone`, `reordered` for consistency."""
    kind: Literal["robustness", "directional", "consistency"]
    """Which kind of test."""
    rows: int
    """How many rows were asked."""
    baseline: Scored
    """Share of the baseline's answers that changed, or went the wrong way."""
    candidate: Scored
    """Share of the candidate's."""
    examples: tuple[Example, ...] = ()
    """Some that changed."""


class ReliabilityBin(Section):
    """Rows whose first label has a probability between two numbers."""

    lower: float
    """From this probability."""
    upper: float
    """Up to this."""
    rows: int
    """How many rows."""
    confidence: float
    """Their mean probability."""
    accuracy: float
    """Share of them that is right."""


class Reliability(Section):
    """Whether probabilities mean what they say: of the rows with 0.9, nine in ten should be right."""

    baseline: tuple[ReliabilityBin, ...]
    """Bins with rows, of the baseline."""
    candidate: tuple[ReliabilityBin, ...]
    """Bins with rows, of the candidate."""


class CaseResult(Section):
    """Rows that were judged, and where they come from."""

    name: str
    """The case."""
    rows: int
    """How many rows."""
    digest: str
    """sha256 over ids, texts and labels."""
    source: str = ""
    """Where they come from, in words."""
    licence: str = ""
    """Under which terms."""


class CostResult(Section):
    """One cost, measured side by side."""

    cost: str
    """size or memory (bytes), throughput (rows a second), latency_p50, latency_p95 or latency_p99 (seconds)."""
    baseline: float
    """Median of the rounds."""
    candidate: float
    """Median of the rounds."""
    ratio: float
    """candidate / baseline: the median of the rounds' ratios."""
    lower: float
    """One-sided lower bound of the median ratio."""
    upper: float
    """One-sided upper bound of the median ratio."""
    confidence: float
    """What these bounds reach."""
    baseline_rounds: tuple[float, ...] = ()
    """Each round's value, of the baseline; none of size."""
    candidate_rounds: tuple[float, ...] = ()
    """Each round's value, of the candidate, in the same order."""


class Confusion(Section):
    """Rows by true and predicted label."""

    labels: tuple[str, ...]
    """Class id -> label."""
    baseline: tuple[tuple[int, ...], ...]
    """[true][predicted] -> rows."""
    candidate: tuple[tuple[int, ...], ...]
    """[true][predicted] -> rows."""


class GoldenResult(Section):
    """One golden row and the answers to it."""

    text: str
    """What went in."""
    label: str
    """What must come out."""
    baseline: str
    """What the baseline answered."""
    candidate: str
    """What the candidate answered."""


class Compared(Section):
    """What was compared with what."""

    made_by: str
    """Stage and version; for what is no artifact of ours, what it is."""
    digest: str
    """The artifact's digest; of a service what it states, of a checkpoint that of its files."""
    name: str = ""
    """As it was named: a path, an address."""
    kind: str = ""
    """bundle, onnx, compressed, checkpoint, hub, service, or dataset."""


class Report(Section):
    """One evaluation, as ``report.json`` holds it."""

    schema_: Literal[2] = 2
    """Version of this format; in the file the key is ``schema``."""
    created: str | None = None
    """When, as ISO 8601 in UTC; None in the report of a run, which no clock may change."""
    name: str
    """The model."""
    task: str
    """Its task."""
    suite: str
    """The evaluation suite."""
    verdict: Overall
    """fail when a gate failed, else inconclusive when one could not tell, else pass; measured where no gate was asked,
    which stops nothing and promises nothing."""
    rows: int
    """Test rows."""
    confidence: float
    """Of each one-sided end of an interval."""
    resamples: int
    """Bootstrap resamples."""
    identical: bool
    """The candidate is the baseline, byte for byte."""
    baseline: Compared
    """What the candidate is measured against."""
    candidate: Compared
    """What is judged."""
    dataset: Compared
    """Where the rows come from."""
    gates: tuple[GateResult, ...]
    """Every rule with its verdict."""
    metrics: tuple[MetricResult, ...]
    """Over all rows."""
    slices: tuple[SliceResult, ...]
    """By slice, the greatest harm first."""
    gaps: tuple[GapResult, ...] = ()
    """Groups against the rest, the widest gap first: columns of identity terms, and slices that a gap gate names."""
    swaps: tuple[SwapResult, ...] = ()
    """Counterfactuals."""
    robustness: tuple[RobustnessResult, ...] = ()
    """Rows asked again after a change."""
    reliability: Reliability | None = None
    """Of both models."""
    cases: tuple[CaseResult, ...] = ()
    """Where the rows come from, case by case."""
    absolute: bool = False
    """There was no baseline: only gates that judge the candidate alone were asked, and the baseline is itself."""
    costs: tuple[CostResult, ...]
    """Size and speed."""
    provider: str
    """Execution provider of ONNX Runtime."""
    noise: float
    """Half the interquartile range of the candidate's throughput over the rounds, relative to its median."""
    timing_rows: int
    """Rows in a timing round."""
    timing_rounds: int
    """Timing rounds."""
    confusion: Confusion
    """Of both models."""
    golden: tuple[GoldenResult, ...]
    """Texts whose answers must never change."""
    right_to_wrong: int
    """Rows that the baseline had right and the candidate wrong; ``flips.csv`` lists them."""
    wrong_to_right: int
    """Rows that the baseline had wrong and the candidate right."""


def report_schema() -> dict[str, Any]:
    """The JSON Schema of ``report.json``, with the documentation of every key."""
    schema = Report.model_json_schema()
    schema["properties"] = {name.removesuffix("_"): body for name, body in schema["properties"].items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "ftdeploy report"}


def read_report(path: Path) -> Report:
    """Read ``report.json``.

    Raises:
        ArtifactError: it is missing, damaged, or of another version.
    """
    try:
        body = json.loads(path.read_bytes())
        return Report.model_validate({"schema_": body.pop("schema")} | body)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, ValidationError) as error:
        raise ArtifactError(
            f"{path} cannot be read as a report: {str(error).splitlines()[0]}",
            cause="it was made by another version of ftdeploy, or it is damaged",
            fix="run `ftdeploy run` again, or remove the report's folder first",
        ) from error


def refuse(report: Artifact) -> None:
    """Stop unless every gate passed.

    Raises:
        GateFailed: a gate failed; names each.
        GateInconclusive: none failed, but one could not tell; names each, with the rows that would decide.
        ArtifactError: the report cannot be read.
    """
    found = read_report(report.file("report.json"))
    page = report.file("report.html")
    failed = [gate for gate in found.gates if gate.verdict == "fail"]
    if failed:
        raise GateFailed(
            f"{_count(failed)} of {len(found.gates)} failed:\n" + _listed(failed),
            cause="the candidate is worse than the suite allows",
            fix=f"open {page}; try another candidate or more training data, or change the suite's limits knowingly",
        )
    open_ = [gate for gate in found.gates if gate.verdict == "inconclusive"]
    if open_:
        rows = max((gate.rows_to_decide or 0 for gate in open_), default=0)
        more = (
            f"give the test split about {rows:,} rows" if rows else "measure on a quieter machine or with more rounds"
        )
        raise GateInconclusive(
            f"{_count(open_)} of {len(found.gates)} could not decide:\n" + _listed(open_),
            cause="the sample is too small, or the timing too noisy, to tell the candidate from one that is too bad",
            fix=f"{more}, or change the suite's limits knowingly; {page} shows the intervals",
        )


def _count(gates: list[GateResult]) -> str:
    return "1 gate" if len(gates) == 1 else f"{len(gates)} gates"


def _listed(gates: list[GateResult]) -> str:
    return "\n".join(f"  {gate.name}: {gate.explanation}" for gate in gates)
