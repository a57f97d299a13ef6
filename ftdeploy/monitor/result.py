"""The format of a drift report: ``drift.json``, for machines. `monitor_schema` is its schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ftdeploy.document import Section

DriftVerdict = Literal["drift", "none", "inconclusive"]
#: ``drift``: shown, and large enough; ``small``: shown, and too small to matter; ``same``: shown to be too small to
#: matter; ``open``: neither.
State = Literal["drift", "small", "same", "open"]


class TestResult(Section):
    """One test of the traffic against the reference."""

    name: str
    """What was compared."""
    method: str
    """How."""
    p: float
    """p-value of "nothing differs"."""
    adjusted: float
    """The same after Holm's correction for all tests of the report."""
    effect: float
    """How much differs, from 0 to 1; a share of the rows for labels, confidence, length and the like."""
    lower: float
    """Lower end of its interval, one-sided."""
    upper: float
    """Upper end, one-sided."""
    least: float
    """The smallest effect that is an alarm: ``min_effect``, of MMD ``min_mmd``."""
    sizes: Mapping[str, float] = {}
    """Effect sizes by their usual names: Cohen's h of labels and cut texts, Cohen's d and Wasserstein's distance (in
    probability, tokens, share) of confidence, length and unknown tokens, from the reference's bins. They decide
    nothing."""
    state: State
    """drift: shown, and at least ``least``; small: shown, and less; same: less than ``least`` with its whole
    interval; open: neither can be told from so many rows."""
    explanation: str
    """The state in plain words, with its numbers."""


class ChangeResult(Section):
    """A point in time at which the traffic changed."""

    time: str
    """When, UTC."""
    lower: str
    """Lower end of its interval."""
    upper: str
    """Upper end."""
    row: int
    """The first row of the window after it."""
    p: float
    """Permutation p-value of "no change in this part"."""
    effect: float
    """2 P(later row is less like the reference than an earlier one) - 1; below 0 the traffic went back."""


class AccuracyResult(Section):
    """Accuracy without labels."""

    estimator: str
    """How it was estimated."""
    reference: float
    """Accuracy on the reference's rows."""
    value: float
    """Estimated accuracy of the traffic."""
    lower: float
    """Lower end of its interval: sampling, and the error under shifts so large."""
    upper: float
    """Upper end."""
    error_bound: float
    """How far it is off at most, by what was learned from made shifts; part of the interval."""
    valid: bool
    """Whether it may be relied on: under four of five made shifts it was within the tolerance, scaled to so large a
    one."""
    reason: str
    """Why, or why not."""
    others: dict[str, float]
    """What other estimators say."""


class FeedbackResult(Section):
    """Accuracy where true labels came back: of the label, or of what stands for it where an answer is more (the first
    of several labels, the kind that most spans have)."""

    rows: int
    """Rows with a true label."""
    right: int
    """Of these, answered right."""
    value: float
    """Accuracy on them."""
    lower: float
    """Lower end of Wilson's interval, one-sided."""
    upper: float
    """Upper end."""
    curve: tuple[tuple[str, float], ...]
    """Prequential accuracy over time: (UTC, accuracy), at most 200 points."""


class MeasuredResult(Section):
    """A metric of whole answers where true labels came back."""

    metric: str
    """Its name, as in a suite."""
    value: float
    """On these rows."""
    lower: float
    """Lower end of its bootstrap interval, one-sided."""
    upper: float
    """Upper end."""


class LabelShare(Section):
    """How often a label occurs."""

    label: str
    """The label."""
    predicted_reference: float
    """Share of the reference's rows that were answered with it."""
    predicted: float
    """Share of the traffic that was."""
    true_reference: float | None = None
    """Share of the reference's rows that have it."""
    estimated: float | None = None
    """Estimated share of the traffic that has it, if only the shares of labels changed."""
    lower: float | None = None
    """Lower end of its interval, one-sided."""
    upper: float | None = None
    """Upper end."""


class PartResult(Section):
    """A part of the traffic: of time, or a slice."""

    name: str
    """Which."""
    rows: int
    """How many rows."""
    share: float
    """Of all rows."""
    confidence: float
    """Mean confidence."""
    score: float
    """Mean probability of a row to be of this traffic and not of the reference, by the classifier; 0.5 is alike."""
    estimated: float | None = None
    """Estimated accuracy."""
    labelled: int = 0
    """Rows with a true label."""
    accuracy: float | None = None
    """Accuracy on them."""
    lower: float | None = None
    """Lower end of Wilson's interval."""
    upper: float | None = None
    """Upper end."""


class MonitorReport(Section):
    """Traffic of a bundle against what it was made of."""

    schema_: Literal[1] = 1
    """Version of this format; in the file the key is ``schema``."""
    name: str
    """The model's name."""
    digest: str
    """Of the bundle."""
    created: str
    """When the report was made, UTC."""
    first: str | None
    """Time of the first row, UTC."""
    last: str | None
    """Time of the last row, UTC."""
    rows: int
    """Rows that were looked at."""
    skipped: int
    """Rows of other bundles, left out."""
    reference_rows: int
    """Rows that the reference was computed from."""
    verdict: DriftVerdict
    """drift; none was found; or inconclusive: too few rows."""
    summary: str
    """The verdict in plain words."""
    level: float
    """Probability of any false alarm."""
    min_effect: float
    """The smallest effect that is an alarm."""
    min_rows: int
    """Fewer rows make no verdict."""
    tests: tuple[TestResult, ...] = ()
    """What shifted."""
    changes: tuple[ChangeResult, ...] = ()
    """Since when."""
    accuracy: AccuracyResult | None = None
    """What it is thought to cost; None where the bundle's reference knows no true labels."""
    feedback: FeedbackResult | None = None
    """What it costs where true labels came back; None where answers are numbers, which are not right or wrong."""
    measured: tuple[MeasuredResult, ...] = ()
    """Metrics of whole answers there, where an answer is not one label."""
    measured_rows: int = 0
    """Rows that these are of."""
    labels: tuple[LabelShare, ...] = ()
    """Labels, predicted and estimated."""
    labels_identified: bool | None = None
    """Whether predictions tell the labels apart well enough for ``estimated``."""
    timeline: tuple[PartResult, ...] = ()
    """Parts of equally many rows in the order of time; named by the time of their first row."""
    slices: tuple[PartResult, ...] = ()
    """By length, predicted label and language."""
    to_label: int = 0
    """Rows in ``to_label.csv``."""


def monitor_schema() -> dict[str, Any]:
    """The JSON Schema of ``drift.json``, with the documentation of every key."""
    schema = MonitorReport.model_json_schema()
    schema["properties"] = {name.removesuffix("_"): body for name, body in schema["properties"].items()}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "ftdeploy drift report"}
