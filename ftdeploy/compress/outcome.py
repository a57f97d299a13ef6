"""What a search found, as ``candidates.json`` says it: every candidate with its numbers or its reason, and the winner.

Frozen pydantic models, so that the page, the run's overview and programs read one description. All counts are rows,
all times seconds, all sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from ftdeploy.document import Section
from ftdeploy.temperature import Calibration

Status = Literal["kept", "undecided", "dropped", "failed", "cut", "skipped"]
Verdict = Literal["pass", "inconclusive", "fail"]


class Scored(Section):
    """A metric on the validation rows, and its paired difference to fp32 as the gate sees it."""

    value: float
    """Of the candidate."""
    difference: float
    """Candidate - fp32."""
    lower: float
    """One-sided 95% lower end of the difference."""
    upper: float
    """One-sided 95% upper end of the difference."""
    verdict: Verdict
    """Non-inferior by ``max_drop`` (see `ftdeploy.statistics.compare`)."""
    rows_to_decide: int | None = None
    """For an inconclusive verdict: about how many rows would decide."""
    greater_is_better: bool = True
    """Whether a higher value is the better one."""

    @property
    def good(self) -> float:
        """The value, such that higher is better."""
        return self.value if self.greater_is_better else -self.value

    @property
    def loss(self) -> float:
        """How much worse than fp32 it is; less than 0 is better."""
        return -self.difference if self.greater_is_better else self.difference

    @property
    def most_loss(self) -> float:
        """The end of the interval of ``loss`` that speaks against it."""
        return -self.lower if self.greater_is_better else self.upper


class Costs(Section):
    """Speed, size and memory. The tuples hold one value a round, of rounds in which all candidates took turns."""

    throughputs: tuple[float, ...]
    """Rows a second, batched as the service batches."""
    latencies_p50: tuple[float, ...]
    """Seconds for one text alone, of median length."""
    latencies_p95: tuple[float, ...]
    """Seconds for one text alone, as long as the 95th percentile of the texts."""
    size: int
    """Bytes of model, external data and tokenizer."""
    peak_memory: int | None = None
    """Bytes that a process needs at most to open the model and answer; None where it was not measured."""
    speedup: float
    """Throughput over fp32's: median of the ratios within a round."""
    speedup_lower: float
    """The lowest of these ratios' order statistics that bounds the median (see `ftdeploy.measure.cost_ratio`)."""
    speedup_upper: float
    """Likewise, above."""
    times_smaller: float
    """fp32's bytes over this one's."""
    noise: float
    """Half the interquartile range of the rounds' throughput, relative to the median."""


class Invariance(Section):
    """Whether a row's answer depends on the rows beside it."""

    rows: int
    """Rows that were asked alone and inside batches."""
    max_logit_difference: float
    """Largest absolute difference of a logit between the two."""
    max_probability_difference: float
    """Largest absolute difference of a label's probability between the two; of vectors, of their cosine similarity from
    1."""
    changed_labels: int | None
    """Rows whose predicted label differs; null of vectors, which have none."""
    within_tolerance: bool
    """Whether ``max_probability_difference`` stays within the recipe's ``compress.batch_tolerance``."""


class CandidateResult(Section):
    """What became of one candidate."""

    name: str
    """As in the recipe and in reports."""
    steps: tuple[str, ...]
    """The chain that makes it from the fp32 export; empty is fp32 itself."""
    status: Status
    """``kept``: the gate passes; ``undecided``: too few rows to tell, the drop itself is within max_drop;
    ``dropped``: scores too low; ``failed``: a tool or the model; ``cut``: not made, because what it would be made
    from was no good; ``skipped``: not made, because the time was up or a part is not installed."""
    reason: str
    """In words."""
    metrics: Mapping[str, Scored] = {}
    """By metric; empty where it was not scored."""
    right_to_wrong: int | None = None
    """Validation rows that fp32 has right and the candidate wrong."""
    wrong_to_right: int | None = None
    """And the other way round."""
    embedding_cosine: float | None = None
    """Mean cosine between its embeddings and fp32's."""
    invariance: Invariance | None = None
    """Measured for those that are within max_drop."""
    costs: Costs | None = None
    """Measured for the finalists; None otherwise."""
    seconds: float | None = None
    """What making it took, without the steps that it shares with others made before."""
    pareto: bool = False
    """No measured candidate is better in one of score, throughput and size without being worse in another."""


class Sensitivity(Section):
    """How much a layer alone loses when it is quantized."""

    layer: str
    """Its name in the graph."""
    parameters: int
    """Weights in it."""
    logit_error: float
    """Mean squared difference of the logits to the unquantized model's, relative to their variance."""
    kept_float: bool = False
    """Whether the winner keeps it in float."""


class Flip(Section):
    """A validation row whose correctness differs between fp32 and the winner."""

    id: str
    text: str
    label: str
    fp32: str
    winner: str


class Confirmation(Section):
    """The one look at the test rows: does what was chosen on validation rows hold?"""

    candidate: str
    """Whom the search had chosen."""
    rows: int
    """Test rows."""
    metrics: Mapping[str, Scored]
    """On them, against fp32."""
    accepted: bool
    """Whether it goes on; if not, the best of what validation rows left no doubt of does."""
    reason: str
    """In words."""


class Budget(Section):
    """Time that the search was given and took, in seconds."""

    seconds: float
    """Given."""
    spent: float
    """Taken, over all resumed runs."""
    training: float | None = None
    """What the fine-tuning run took, which the budget is a multiple of; None where the recipe gives minutes."""


class SearchResult(Section):
    """``candidates.json``."""

    version: Literal[2] = 2
    """Format of this file."""
    verdict: Literal["pass", "undecided", "fp32"]
    """``pass``: the winner is non-inferior by the gate; ``undecided``: the validation rows are too few to prove it;
    ``fp32``: nothing was better, so the model goes on as it is."""
    explanation: str
    """The verdict in words."""
    winner: str
    """Name of the candidate that goes on."""
    objective: Mapping[str, float]
    """Weights of ``throughput`` and ``size``."""
    max_drop: Mapping[str, float]
    """As in the recipe."""
    min_gain: float
    """As in the recipe."""
    rows: int
    """Validation rows that judged."""
    provider: str
    """Execution provider that measured."""
    budget: Budget
    """Time given and taken."""
    candidates: tuple[CandidateResult, ...] = Field(min_length=1)
    """The first one is fp32."""
    sensitivity: tuple[Sensitivity, ...] = ()
    """Per layer, most sensitive first; empty where it was not measured."""
    flips: tuple[Flip, ...] = ()
    """Of the winner."""
    confirmation: Confirmation | None = None
    """None where fp32 goes on without any other having been chosen."""
    calibration: Calibration | None = None
    """Of the winner; None where fp32 goes on, with the temperature of the export."""
    notes: tuple[str, ...] = ()
    """What a reader should know, in whole sentences."""
