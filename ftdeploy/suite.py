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

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("exactly one of minimum and maximum is wanted")
        if (self.minimum is None) == (self.metric == "throughput"):
            wanted = "minimum" if self.metric == "throughput" else "maximum"
            raise ValueError(f"{self.metric} wants a {wanted}")
        return self


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
