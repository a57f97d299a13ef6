"""An evaluation suite: which gates decide, with which margins. Frozen, parsed once, every error at once.

Each class is a section of the YAML file; the docstring under a field is its documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from ftdeploy.columns import unfit
from ftdeploy.document import MisfitError, Section, parse, read_yaml
from ftdeploy.errors import Problem, did_you_mean
from ftdeploy.metrics import (
    is_error,
    is_metric_name,
    is_of_answers,
    metric_names,
    without_bound,
)
from ftdeploy.origin import SEPARATOR_CHARS, RecipePath, Source, relative_to_recipe
from ftdeploy.pairs import join
from ftdeploy.tasks import TASKS, known_task

GapMetric = Literal["selection_rate", "error_rate", "false_positive_rate", "false_negative_rate", "equalized_odds"]
RatioName = Literal["size", "throughput", "latency_p50", "latency_p95", "latency_p99", "memory"]
Perturbation = Literal["typos", "case", "whitespace", "punctuation", "lookalikes", "length"]


def known_metric(name: str) -> str:
    """The name itself, of a metric of predicted answers: of all, or of one label (``recall:LABEL``).

    Raises:
        ValueError: no such metric has that name, or it looks at probabilities.
    """
    if not is_metric_name(name):
        known = [one for one in metric_names() if is_of_answers(one)]
        raise ValueError(f"{name!r} is not a metric; {did_you_mean(name, known)}")
    if not is_of_answers(name):
        raise ValueError(f"{name!r} is a metric of probabilities; here counts what is answered")
    return name


def _metric_or_file(name: str, info: ValidationInfo) -> str:
    """A metric's name as it is; the path of a metric of the user's own, from the suite's folder."""
    if name.endswith(".py"):
        return str(relative_to_recipe(Path(name), info))
    if not is_metric_name(name):
        raise ValueError(f"{name!r} is not a metric; {did_you_mean(name, metric_names())}")
    return name


def _margin(value: float, info: ValidationInfo) -> float:
    """A margin of at most 1, unless the metric is in the units of the data."""
    if value >= 1 and not without_bound(info.data.get("metric", "")):
        raise ValueError("a margin is less than 1, but of errors in the units of the data")
    return value


#: A metric of ftdeploy by its name, or the path of a file with an `evaluate.Metric`.
MetricName = Annotated[str, AfterValidator(_metric_or_file)]
#: In units of the metric that stands before it.
Margin = Annotated[float, Field(gt=0), AfterValidator(_margin)]


class _Gate(Section):
    """What every gate may say."""

    case: str = ""
    """Which of the suite's cases it judges; all of them together without it."""


class NonInferiority(_Gate):
    """The candidate may not be worse than the baseline by more than the margin."""

    kind: Literal["non-inferiority"]
    """Which rule."""
    metric: MetricName
    """A metric's name, or the path of a file with an `evaluate.Metric`."""
    margin: Margin
    """The largest loss that is tolerated, in units of the metric; less than 1, but of `mse`, `rmse` and `mae`."""
    method: Literal["bootstrap", "mcnemar"] = "bootstrap"
    """`bootstrap`: paired, for every metric. `mcnemar`: for accuracy, by Tango's (1998) score interval, which at no
    margin is McNemar's test."""

    @model_validator(mode="after")
    def _mcnemar_is_for_accuracy(self) -> Self:
        if self.method == "mcnemar" and self.metric != "accuracy":
            raise ValueError("method mcnemar is for accuracy: it compares shares of rows")
        return self


class Equivalence(_Gate):
    """The candidate may be neither worse nor better than the baseline by more than the margin (two one-sided tests,
    Schuirmann 1987): for changes that should change nothing."""

    kind: Literal["equivalence"]
    """Which rule."""
    metric: MetricName
    """A metric's name, or the path of a file with an `evaluate.Metric`."""
    margin: Margin
    """The largest difference that is tolerated, in units of the metric; less than 1, but of `mse`, `rmse` and `mae`."""


class Superiority(_Gate):
    """The candidate must be better than the baseline: for challengers."""

    kind: Literal["superiority"]
    """Which rule."""
    metric: MetricName
    """A metric's name, or the path of a file with an `evaluate.Metric`."""
    by: float = Field(default=0.0, ge=0, lt=1)
    """By more than this, in units of the metric."""


class Floor(_Gate):
    """The candidate's score may not be under a fixed minimum, whatever the baseline scores."""

    kind: Literal["floor"]
    """Which rule."""
    metric: MetricName
    """A metric's name, or the path of a file with an `evaluate.Metric`; one where higher is better."""
    minimum: float = Field(ge=-1, le=1)
    """The lowest score that passes."""

    @field_validator("metric")
    @classmethod
    def _higher_is_better(cls, value: str) -> str:
        if is_error(value):
            raise ValueError(f"of {value} lower is better: a ceiling gate is meant")
        return value


class Ceiling(_Gate):
    """The candidate's score may not be over a fixed maximum: for metrics where lower is better."""

    kind: Literal["ceiling"]
    """Which rule."""
    metric: MetricName
    """A metric's name, or the path of a file with an `evaluate.Metric`; one where lower is better."""
    maximum: float = Field(ge=0)
    """The highest score that passes."""

    @field_validator("metric")
    @classmethod
    def _lower_is_better(cls, value: str) -> str:
        if not value.endswith(".py") and not is_error(value):
            raise ValueError(f"of {value} higher is better: a floor gate is meant")
        return value


class Calibration(_Gate):
    """The candidate's probabilities may not be further from the truth than the baseline's by more than the margin: a
    model can keep its accuracy and become overconfident."""

    kind: Literal["calibration"]
    """Which rule."""
    metric: Literal["ece", "brier"] = "ece"
    """`ece`: expected calibration error over 15 bins (Guo et al. 2017); `brier`: the Brier score."""
    margin: float = Field(gt=0, lt=1)
    """The largest rise that is tolerated."""


class Slices(_Gate):
    """No slice of the rows may be worse than with the baseline by more than the margin; over many slices, by Holm's
    (1979) correction."""

    kind: Literal["slices"]
    """Which rule."""
    metric: MetricName = "accuracy"
    """A metric's name."""
    margin: Margin
    """The largest loss that is tolerated in a slice, in its units; less than 1, but of `mse`, `rmse`, `mae`."""
    slices: tuple[str, ...] = ()
    """What the rows are cut by, as in reports (`text length`, `label`, a column); empty is everything."""
    rule: Literal["all-proven", "none-worse"] = "all-proven"
    """`all-proven`: it passes only when every slice is shown to be no worse, which takes many rows in each; one that is
    worse by the margin gets through in at most 5% of the evaluations. `none-worse`, for slices of few rows: it fails
    when a slice is shown to be worse, which happens without cause in at most 5% of the evaluations, however many
    slices; that it passes proves this of all of them together and not of each."""


class WorstSlice(_Gate):
    """The candidate's score in its worst slice may not be under a fixed minimum."""

    kind: Literal["worst-slice"]
    """Which rule."""
    metric: MetricName = "accuracy"
    """A metric's name; one where higher is better."""
    minimum: float = Field(ge=-1, le=1)
    """The lowest score that passes."""
    slices: tuple[str, ...] = ()
    """What the rows are cut by, as in reports (`text length`, `label`, a column); empty is everything."""

    @field_validator("metric")
    @classmethod
    def _higher_is_better(cls, value: str) -> str:
        if is_error(value):
            raise ValueError(f"of {value} lower is better, and the worst slice is held against a minimum")
        return value


class Flips(_Gate):
    """At most a share of the rows may go from right to wrong, whatever goes the other way: users notice what broke."""

    kind: Literal["flips"]
    """Which rule."""
    maximum: float = Field(gt=0, lt=1)
    """The highest share of all rows that passes."""


class Robustness(_Gate):
    """Changes that leave the meaning alone should leave the answer alone (invariance tests of CheckList, Ribeiro et al.
    2020): at most a share of the answers may change, or at most so much more than with the baseline."""

    kind: Literal["robustness"]
    """Which rule."""
    perturbation: Perturbation
    """What is done to the texts, seeded: `typos` (neighbouring letters swapped, a letter dropped or doubled), `case`
    (upper, lower, title), `whitespace` (runs, tabs, line ends), `punctuation` (an end mark added or taken),
    `lookalikes` (letters of other alphabets that look the same, full-width letters), `length` (a neutral sentence
    before or after)."""
    rows: int = Field(default=256, ge=16)
    """How many rows are perturbed, chosen by the seed."""
    maximum: float | None = Field(default=None, gt=0, lt=1)
    """The highest share of answers that may change."""
    margin: float | None = Field(default=None, gt=0, lt=1)
    """By how much the share may be above the baseline's."""

    @model_validator(mode="after")
    def _a_limit(self) -> Self:
        if (self.maximum is None) == (self.margin is None):
            raise ValueError("exactly one of maximum and margin is wanted")
        return self


class Directional(_Gate):
    """Words that speak for a label may not make it less likely (directional tests of CheckList, Ribeiro et al.
    2020)."""

    kind: Literal["directional"]
    """Which rule."""
    add: str = Field(min_length=1)
    """What is added to the end of each text: `I loved it.`"""
    label: str
    """The label that must not become less likely."""
    tolerance: float = Field(default=0.1, ge=0, lt=1)
    """How far its probability may fall all the same."""
    rows: int = Field(default=256, ge=16)
    """How many rows are changed, chosen by the seed."""
    maximum: float = Field(gt=0, lt=1)
    """The highest share of rows that may go the wrong way."""


class Consistency(_Gate):
    """A text's answer may not depend on what is asked beside it: texts asked alone, in batches and in another order
    get the same label, but for a share of them."""

    kind: Literal["consistency"]
    """Which rule."""
    rows: int = Field(default=128, ge=16)
    """How many rows are asked again, chosen by the seed."""
    maximum: float = Field(default=0.05, gt=0, lt=1)
    """The highest share of answers that may change; a dynamically quantized model has some."""


class Ratio(_Gate):
    """Candidate / baseline of a cost, measured side by side: `size` (bytes on disk), `throughput` (rows a second),
    `latency_p50`, `latency_p95`, `latency_p99` (seconds for one text, at that percentile of the lengths), `memory`
    (bytes at most, in processes of its own)."""

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


class Gap(_Gate):
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


Gate = Annotated[
    NonInferiority | Equivalence | Superiority | Floor | Ceiling | Calibration | Slices | WorstSlice | Flips
    | Robustness | Directional | Consistency | Ratio | Gap,
    Field(discriminator="kind"),
]  # fmt: skip
#: Gates that hold the candidate against a baseline; the others judge it alone, but for a robustness gate with a margin.
RELATIVE: tuple[type[_Gate], ...] = (NonInferiority, Equivalence, Superiority, Calibration, Slices, Flips, Ratio)


def wants_baseline(gate: Gate) -> bool:
    """Whether a gate says nothing about a model alone."""
    return isinstance(gate, RELATIVE) or (isinstance(gate, Robustness) and gate.margin is not None)


class CaseColumns(Section):
    """Which column of a source plays which part."""

    text: str = "text"
    """What the model reads."""
    text_pair: str | None = None
    """The second text, of a model that reads two."""
    label: str | None = "label"
    """What it is to answer; null for texts without, where the task needs none."""
    label_separator: str | None = Field(default=None, min_length=1, max_length=SEPARATOR_CHARS)
    """Where a row has any number of labels in one string: what stands between them. A list, or one written as JSON, is
    read in any case; `[]` says that no label holds."""
    empty_label: Literal["none", "missing"] = "none"
    """With `label_separator`: whether an empty cell says that no label holds, or is a fault of its row."""
    tag_names: tuple[str, ...] = ()
    """Where tokens have tags and these are numbers: what they are called, in the order of the numbers."""
    id: str | None = None
    """A row's name in reports; its number without it."""


class Case(Section):
    """Rows that a suite is run on: a split of a recipe, or a source of its own."""

    name: str = Field(min_length=1)
    """Shown in reports; with several cases, also a slice."""
    recipe: RecipePath | None = None
    """A recipe, relative to the suite's folder: its data, prepared and split as it says."""
    split: Literal["test", "validation", "train"] = "test"
    """Which split of the recipe."""
    source: Source | None = None
    """Any source of a recipe; all of its rows."""
    columns: CaseColumns = CaseColumns()
    """Of the source."""
    label_map: Mapping[str, str] = {}
    """Label of the source -> label of the model; a row whose label is not named keeps it. Of any number of labels each
    is renamed, of entities their kinds."""
    slices: tuple[str, ...] = ()
    """Further columns of the source that the rows are cut by."""
    duplicates: Literal["error", "drop"] = "error"
    """Of the source: rows with the same text, but for case and white space, would count as evidence each. `error` names
    their places; `drop` keeps the first of each, and none where their labels differ. Where a gate
    judges all cases together, so are texts that stand in two of them; `drop` is then what both say, else it is an error
    (and always of a recipe's rows)."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows, chosen by the suite's seed."""
    digest: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """sha256 over ids, texts and labels as they are used, which `ftdeploy eval --dry-run` prints: the version that the
    suite was written for. Others are refused."""

    @model_validator(mode="after")
    def _recipe_or_source(self) -> Self:
        if (self.recipe is None) == (self.source is None):
            raise ValueError("exactly one of recipe and source is wanted")
        own = self.label_map or self.slices or self.columns != CaseColumns() or self.duplicates != "error"
        if self.source is None and own:
            raise ValueError("columns, label_map, slices and duplicates go with source; a recipe has its own")
        return self


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
    text_pair: str | None = None
    """What goes in beside it, where the model reads two texts."""
    label: str
    """The label that must come out first; where an answer is no single name, all of it, as reports show it."""

    @property
    def whole(self) -> str:
        """The text as rows have it: both in one string, where there are two."""
        return self.text if self.text_pair is None else join(self.text, self.text_pair)


class Suite(Section):
    """What must hold before there is a bundle."""

    version: Literal[1] = 1
    """Format of this file."""
    name: str = "default"
    """Shown in reports."""
    task: Annotated[str, AfterValidator(known_task)] = "text-classification"
    """What the models do."""
    seed: int = 13
    """Of resampling, of samples, and of perturbations."""
    cases: tuple[Case, ...] = ()
    """The rows, for `ftdeploy eval`. A run judges its own test rows; without cases, `ftdeploy eval` takes those of the
    run that the candidate belongs to."""
    metrics: tuple[MetricName, ...] = ("accuracy", "macro_f1")
    """What is reported, with intervals, overall and by slice: names, or paths of files with an `evaluate.Metric`."""
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

    @model_validator(mode="after")
    def _gates_name_cases(self) -> Self:
        names = [case.name for case in self.cases]
        wrong = [
            Problem(path=f"cases[{index}].name", message=f"two cases are called {name!r}")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        wrong += [
            Problem(path=f"gates[{index}].case", message=f"the suite has no case {gate.case!r}",
                    hint=did_you_mean(gate.case, names) or "leave it out: there are no cases")
            for index, gate in enumerate(self.gates)
            if gate.case and gate.case not in names
        ]  # fmt: skip
        if wrong:
            raise MisfitError(wrong)
        return self

    @model_validator(mode="after")
    def _columns_fit_the_task(self) -> Self:
        wrong = [
            Problem(path=f"cases[{index}].columns", message=f"case {case.name}: {why}")
            for index, case in enumerate(self.cases)
            for why in unfit(case.columns, TASKS[self.task])
        ]
        if wrong:
            raise MisfitError(wrong)
        return self


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
