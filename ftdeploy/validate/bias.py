"""Gaps between groups of rows: how often each gets a label, how often each gets a wrong one.

The gap of a gate is the greatest difference between any two groups, as fairlearn defines it (`demographic_parity_
difference`, `equalized_odds_difference`; Bird et al. 2020). The interval of a difference of two shares is Newcombe's
(1998, method 10), from Wilson's (1927) of each share: without overshoot, and right for small groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.special import ndtri

from ftdeploy.errors import ConfigError, did_you_mean
from ftdeploy.metrics import Ids
from ftdeploy.statistics import Estimate, Verdict
from ftdeploy.suite import Gap, GapMetric, Suite
from ftdeploy.validate.answers import Answers
from ftdeploy.validate.slices import check_slice, cuts, of_case
from ftdeploy.verdict import GapResult, GateResult, Scored

#: `equalized_odds` is the greater of these gaps.
_ODDS: tuple[GapMetric, ...] = ("false_positive_rate", "false_negative_rate")
_SHOWN: tuple[GapMetric, ...] = ("selection_rate", "error_rate", *_ODDS)


@dataclass(frozen=True, kw_only=True)
class Share:
    """So many hits of so many rows."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share itself; nan of no rows."""
        return self.hits / self.of if self.of else math.nan


def share(metric: GapMetric, references: Ids, predictions: Ids, label: int) -> Share:
    """One rate over some rows.

    Args:
        metric: ``selection_rate``: predicted ``label``, of all rows; ``error_rate``: predicted wrongly, of all rows;
            ``false_positive_rate``: predicted ``label``, of the rows that are not; ``false_negative_rate``: predicted
            another, of the rows that are.
        references, predictions: class ids, int64, shape (rows,).
        label: class id.
    """
    positive, truly = predictions == label, references == label
    hits, of = {
        "selection_rate": (positive, np.ones_like(truly)),
        "error_rate": (predictions != references, np.ones_like(truly)),
        "false_positive_rate": (positive & ~truly, ~truly),
        "false_negative_rate": (~positive & truly, truly),
    }[metric]
    return Share(hits=int(hits.sum()), of=int(of.sum()))


def wilson(found: Share, z: float) -> tuple[float, float]:
    """The interval of a share (Wilson 1927)."""
    p, n = found.value, found.of
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def difference(first: Share, second: Share, confidence: float) -> Estimate:
    """first - second with ends of its interval, each one-sided at ``confidence`` (Newcombe 1998, method 10)."""
    z = float(ndtri(confidence))
    (low1, high1), (low2, high2) = wilson(first, z), wilson(second, z)
    p, q = first.value, second.value
    below = math.hypot(p - low1, high2 - q)
    above = math.hypot(high1 - p, q - low2)
    return Estimate(value=p - q, lower=p - q - below, upper=p - q + above)


def widest(shares: Sequence[Sequence[Share]], confidence: float) -> Estimate | None:
    """The greatest difference between two groups; None when fewer than two have rows.

    The upper end is the greatest of the pairs' upper ends: it holds at ``confidence``, because that of the truly widest
    pair does. The lower end is the greatest lower end, corrected for the number of pairs (Bonferroni), because the
    greatest of many noisy differences is above zero where all groups are alike.

    Args:
        shares: for each rate, the share of each group.
        confidence: of each one-sided end.
    """
    pairs = [pair for rate in shares for pair in permutations([one for one in rate if one.of], 2)]
    if not pairs:
        return None
    plain = [difference(*pair, confidence) for pair in pairs]
    strict = [difference(*pair, 1 - (1 - confidence) / len(pairs)) for pair in pairs]
    return Estimate(
        value=max(found.value for found in plain),
        lower=max(0.0, *(found.lower for found in strict)),
        upper=max(found.upper for found in plain),
    )


def judge_gap(gate: Gap, suite: Suite, every: Answers) -> GateResult:
    """A gate on the greatest gap between the groups of a slice.

    Raises:
        ConfigError: the rows have no such column, or the model no such label.
    """
    answers = of_case(suite, every, gate.case)
    groups = _groups(gate.slice, suite, answers)
    labels = _labels(gate, suite, answers)

    def gap(predictions: Ids) -> Estimate | None:
        rates = [
            [share(metric, answers.references[rows], predictions[rows], label) for rows in groups.values()]
            for metric in (_ODDS if gate.metric == "equalized_odds" else (gate.metric,))
            for label in labels
        ]
        return widest(rates, suite.confidence)

    now, was = gap(answers.candidate.predictions), gap(answers.baseline.predictions)
    found = now or Estimate(value=0.0, lower=0.0, upper=1.0)
    before = was.value if was else 0.0
    rows = sum(map(len, groups.values()))
    verdict: Verdict = (
        "pass" if found.upper <= gate.maximum else "fail" if found.lower > gate.maximum else "inconclusive"
    )
    needed = _rows_to_decide(rows, found, gate.maximum) if verdict == "inconclusive" and now else None
    return GateResult(
        name=f"{gate.metric} gap by {gate.slice} at most {gate.maximum:g}",
        kind=gate.kind,
        case=gate.case,
        metric=gate.metric,
        verdict=verdict,
        explanation=_words(gate, suite, found, verdict, groups=len(groups), needed=needed) if now else
        f"Fewer than two groups of {gate.slice} have {suite.slice_rows} rows, so that nothing can be compared.",
        baseline=before,
        candidate=found.value,
        difference=found.value - before,
        value=found.value,
        unit="share",
        lower=found.lower,
        upper=found.upper,
        limit=gate.maximum,
        better="lower",
        rows=rows,
        rows_to_decide=needed,
    )  # fmt: skip


def _words(gate: Gap, suite: Suite, found: Estimate, verdict: Verdict, *, groups: int, needed: int | None) -> str:
    says = f"The greatest gap among {groups} groups is {found.value:.4f}"
    wanted = f"{gate.maximum:g} are allowed"
    if verdict == "pass":
        return f"{says}; with {suite.confidence:.0%} confidence at most {found.upper:.4f}, and {wanted}."
    if verdict == "fail":
        return f"{says}; with {suite.confidence:.0%} confidence at least {found.lower:.4f}, and {wanted}."
    more = f" About {needed:,} rows would do, if it stays." if needed else ""
    return f"{says}, but the rows cannot exclude {found.lower:.4f} nor {found.upper:.4f}, and {wanted}.{more}"


def _rows_to_decide(rows: int, found: Estimate, maximum: float) -> int | None:
    """About how many rows would bring the upper end under the maximum: its distance falls with the square root."""
    if found.value >= maximum:
        return None
    return max(rows + 1, round(rows * ((found.upper - found.value) / (maximum - found.value)) ** 2))


def gaps(suite: Suite, answers: Answers) -> Iterator[GapResult]:
    """Each group against the rest of the rows, for columns of terms and slices that a gate names; the widest first."""
    named = [gate.slice for gate in suite.gates if isinstance(gate, Gap)]
    columns = dict.fromkeys([*(name for name in answers.columns if name.startswith("terms:")), *named])
    found = [result for name in columns for result in _against_the_rest(name, suite, answers)]
    yield from sorted(found, key=lambda result: -abs(result.candidate.value))


def _against_the_rest(name: str, suite: Suite, answers: Answers) -> Iterator[GapResult]:
    labels = _default_labels(answers)
    for value, rows in _groups(name, suite, answers).items():
        rest = np.setdiff1d(np.arange(len(answers)), rows)
        for metric in _SHOWN:
            for label in labels[:1] if metric == "error_rate" else labels:

                def of(predictions: Ids, rows: Ids, *, metric: GapMetric = metric, label: int = label) -> Share:
                    return share(metric, answers.references[rows], predictions[rows], label)

                now, others = of(answers.candidate.predictions, rows), of(answers.candidate.predictions, rest)
                if now.of and others.of:
                    was, other = of(answers.baseline.predictions, rows), of(answers.baseline.predictions, rest)
                    apart = difference(now, others, suite.confidence)
                    yield GapResult(
                        metric=metric, slice=name, value=value, rows=now.of, rate=now.value, rest=others.value,
                        label="" if metric == "error_rate" else answers.labels[label],
                        baseline=was.value - other.value,
                        candidate=Scored(value=apart.value, lower=apart.lower, upper=apart.upper),
                    )  # fmt: skip


def _groups(name: str, suite: Suite, answers: Answers) -> dict[str, Ids]:
    """The rows of each part of a slice that has enough of them."""
    every = cuts(answers)
    check_slice(name, every, suite=suite.name, kind="gap")
    return {value: rows for value, rows in every[name].parts() if len(rows) >= suite.slice_rows}


def _labels(gate: Gap, suite: Suite, answers: Answers) -> list[int]:
    if gate.label is None:
        return _default_labels(answers)[: 1 if gate.metric == "error_rate" else None]
    if gate.label not in answers.labels:
        raise ConfigError(
            f"suite {suite.name}: a gap gate names the label {gate.label!r}, which the model does not have",
            cause="the suite was written for another model, or the label is misspelt",
            fix=did_you_mean(gate.label, answers.labels),
        )
    return [list(answers.labels).index(gate.label)]


def _default_labels(answers: Answers) -> list[int]:
    """Of two labels the last, as fairlearn takes 1 of 0 and 1: the other has the same gaps. Of more labels each."""
    count = len(answers.labels)
    return [count - 1] if count == 2 else list(range(count))  # noqa: PLR2004 - two labels
