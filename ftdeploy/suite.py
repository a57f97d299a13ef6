"""An evaluation suite: which gates decide, with which margins. Frozen, parsed once, every error at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ftdeploy.document import Section, parse, read_yaml
from ftdeploy.errors import did_you_mean
from ftdeploy.metrics import METRICS

RatioName = Literal["size", "throughput", "latency_p50", "latency_p95"]


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
    `latency_p50`, `latency_p95` (seconds for one text)."""

    kind: Literal["ratio"]
    """Which rule."""
    metric: RatioName
    """The cost that is compared."""
    minimum: float | None = Field(default=None, ge=0)
    """The lowest ratio that passes (throughput)."""
    maximum: float | None = Field(default=None, ge=0)
    """The highest ratio that passes (size, latency)."""


Gate = Annotated[NonInferiority | Floor | Ratio, Field(discriminator="kind")]


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
    golden: tuple[Golden, ...] = ()
    """Texts whose answers must never change."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence of one-sided intervals."""
    resamples: int = Field(default=10_000, ge=1000)
    """Bootstrap resamples."""
    slice_rows: int = Field(default=50, ge=10)
    """Slices with fewer rows are not reported."""

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
