"""An evaluation suite: which gates decide, with which margins. Frozen, parsed once, every error at once.

Each class is a section of the YAML file; the docstring under a field is its documentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ftdeploy.document import Section, parse, read_yaml
from ftdeploy.errors import did_you_mean
from ftdeploy.metrics import METRICS

GapMetric = Literal["selection_rate", "error_rate", "false_positive_rate", "false_negative_rate", "equalized_odds"]
RatioName = Literal["size", "throughput", "latency_p50", "latency_p95", "memory"]


def known_metric(name: str) -> str:
    """The name itself.

    Raises:
        ValueError: no metric has that name.
    """
    if name not in METRICS:
        raise ValueError(f"{name!r} is not a metric; {did_you_mean(name, METRICS)}")
    return name


class NonInferiority(Section):
    """The candidate may not score lower than the baseline by more than the margin (paired bootstrap)."""

    kind: Literal["non-inferiority"]
    """Which rule."""
    metric: str
    """A metric's name."""
    margin: float = Field(gt=0, lt=1)
    """The largest drop that is tolerated, in units of the metric."""

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        return known_metric(value)


class Floor(Section):
    """The candidate's score may not be under a fixed minimum, whatever the baseline scores."""

    kind: Literal["floor"]
    """Which rule."""
    metric: str
    """A metric's name."""
    minimum: float = Field(ge=0, le=1)
    """The lowest score that passes."""

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        return known_metric(value)


class Ratio(Section):
    """Candidate / baseline of a cost, measured side by side: `size` (bytes on disk), `throughput` (rows a second),
    `latency_p50`, `latency_p95` (seconds for one text, of median length and at the 95th percentile), `memory` (bytes at
    most, in processes of its own)."""

    kind: Literal["ratio"]
    """Which rule."""
    metric: RatioName
    """The cost that is compared."""
    minimum: float | None = Field(default=None, ge=0)
    """The lowest ratio that passes (throughput)."""
    maximum: float | None = Field(default=None, ge=0)
    """The highest ratio that passes (size, latency, memory)."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("exactly one of minimum and maximum is wanted")
        if (self.minimum is None) == (self.metric == "throughput"):
            wanted = "minimum" if self.metric == "throughput" else "maximum"
            raise ValueError(f"{self.metric} wants a {wanted}")
        return self


class Gap(Section):
    """The candidate may not treat groups of rows differently by more than a maximum: the greatest difference between
    any two groups of a slice, with at least `slice_rows` rows each (fairlearn's definitions). It fails when the whole
    interval lies above the maximum: the greatest of many differences is above 0 by chance alone."""

    kind: Literal["gap"]
    """Which rule."""
    metric: GapMetric
    """What is compared. `selection_rate`: share that gets the label (demographic parity); `error_rate`: share that gets
    a wrong one; `false_positive_rate`: share that gets the label, of those that do not have it; `false_negative_rate`:
    share that does not get it, of those that have it; `equalized_odds`: the greater of the last two gaps."""
    slice: str = Field(min_length=1)
    """What the rows are cut by: a column of `data.slices`, `terms:NAME` of a list of `data.bias.terms`, or
    `text length`."""
    label: str | None = None
    """The label that is looked at. Without it, of two labels the last, and of more labels each: the greatest gap
    counts. Not for `error_rate`."""
    maximum: float = Field(gt=0, lt=1)
    """The greatest difference that passes."""

    @model_validator(mode="after")
    def _label_goes_with_the_metric(self) -> Self:
        if self.label is not None and self.metric == "error_rate":
            raise ValueError("an error is one whatever the label; leave label out")
        return self


Gate = Annotated[NonInferiority | Floor | Ratio | Gap, Field(discriminator="kind")]


class Swap(Section):
    """Pairs of identity terms; a model should answer alike when each stands in the place of the other."""

    name: str = Field(min_length=1)
    """Shown in reports."""
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    """Terms, as whole words, whatever their case; both ways. The swapped text should still make sense."""

    @field_validator("pairs")
    @classmethod
    def _two_terms(cls, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        wrong = [pair for pair in value if pair[0].casefold() == pair[1].casefold() or not all(map(str.strip, pair))]
        if wrong:
            raise ValueError(f"{list(wrong[0])} are not two different terms")
        return value


class Golden(Section):
    """A text whose answer must never change."""

    text: str
    """What goes in."""
    label: str
    """The label that must come out first."""


class Suite(Section):
    """What must hold before there is a bundle."""

    version: Literal[1] = 1
    """Format of this file."""
    name: str = "default"
    """Shown in reports."""
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    """What is reported, with intervals, overall and by slice."""
    gates: tuple[Gate, ...] = (NonInferiority(kind="non-inferiority", metric="accuracy", margin=0.02),)
    """The rules; all must pass."""
    swaps: tuple[Swap, ...] = ()
    """Identity terms to swap in the test rows: how many answers change is reported."""
    golden: tuple[Golden, ...] = ()
    """Texts whose answers must never change."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of one-sided intervals."""
    resamples: int = Field(default=10_000, ge=1000, le=1_000_000)
    """Bootstrap resamples."""
    slice_rows: int = Field(default=50, ge=10)
    """Slices with fewer rows are not reported."""
    timing_rows: int = Field(default=128, ge=8)
    """Rows in a timing round."""
    timing_rounds: int = Field(default=9, ge=5)
    """Alternating timing rounds; medians count. Under 5, no bound of a ratio reaches 95% confidence."""

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(known_metric(name) for name in value)


def load_suite(path: Path) -> Suite:
    """Read a suite from a YAML file.

    Raises:
        ConfigError: every problem at once.
    """
    data, lines = read_yaml(path)
    return parse(Suite, data, path=path, lines=lines)


def suite_schema() -> dict[str, Any]:
    """The JSON Schema of a suite, with the documentation of every key."""
    schema = Suite.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "ftdeploy suite"}


def suites_folder() -> Path:
    """Where the suites and metrics that come with ftdeploy lie: in the installed package, or in the checkout."""
    installed = Path(__file__).parent / "_evaluation_suites"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "evaluation_suites"
