"""A metric, or the difference of two models' metrics, over resamples that hold the least favourable row as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np

from ftdeploy.metrics import Floats, Ids, Metric, OwnMetric
from ftdeploy.metrics.entities import Entities
from ftdeploy.metrics.label_sets import LabelSets
from ftdeploy.metrics.metric import wanted
from ftdeploy.metrics.neighbourhoods import Neighbours
from ftdeploy.metrics.numbers import Numbers
from ftdeploy.metrics.ranks import Ranking
from ftdeploy.metrics.scored import CalibrationError
from ftdeploy.statistics import calibration
from ftdeploy.statistics.resampling import condense, deviation, distinct, draw

#: The least favourable row is looked for among this many of the rarest classes; a row weighs most in a rare one.
_RAREST = 24
#: Resamples for a metric that has to be computed anew for each.
OWN_RESAMPLES = 500


class Answered(NamedTuple):
    """One model's answers.

    Attributes:
        predictions: class ids, int64, shape (rows,).
        scores: probabilities, float, shape (rows, classes), where the metric needs them.
    """

    predictions: Ids
    scores: Floats | None = None

    def of(self, rows: Ids) -> Answered:
        """The answers to some of the rows."""
        return Answered(self.predictions[rows], None if self.scores is None else self.scores[rows])

    def and_(self, other: Answered) -> Answered:
        """These answers, and then others."""
        both = None if self.scores is None or other.scores is None else np.concatenate([self.scores, other.scores])
        return Answered(np.concatenate([self.predictions, other.predictions]), both)


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """A number over the rows, and over resamples of them.

    Attributes:
        values: of each model.
        value: the metric of one model; of two, the second's less the first's.
        below: ``value`` over resamples of the rows and of the one that could come next and lowers it most; float64.
        above: likewise, with the row that raises it most.
        deviation: standard deviation of ``value``.
    """

    values: tuple[float, ...]
    value: float
    below: Floats
    above: Floats
    deviation: float

    def lower(self, confidence: float) -> float:
        """The lower end of the interval, one-sided."""
        # Metrics of counts take steps; the step outside the quantile keeps the confidence, interpolation would not.
        return float(np.quantile(self.below, 1 - confidence, method="lower"))

    def upper(self, confidence: float) -> float:
        """The upper end of the interval, one-sided."""
        return float(np.quantile(self.above, confidence, method="higher"))


def sample(metric: Metric | OwnMetric, references: Ids, answers: Sequence[Answered], *, classes: int, resamples: int,
           seed: int) -> Sampled:  # fmt: skip
    """Resample the metric of one model's answers, or the difference between two models' on the same rows.

    Args:
        metric: which one. One of the user's own is computed for at most `OWN_RESAMPLES` resamples.
        references: true class ids, int64, shape (rows,), at least one.
        answers: of one model or of two.
        classes: how many classes there are.
        resamples: how many.
        seed: of the generator.
    """
    heaviest = metric.heaviest() if isinstance(metric, Entities | LabelSets | Neighbours) else None
    options = (
        _rows_seen(references, answers)
        if isinstance(metric, Numbers)
        else _rows_to_come(references, answers, classes=classes, heaviest=heaviest)
    )
    if isinstance(metric, Numbers) and metric.of_ranks:
        return _sample_number_ranks(metric, references, answers, options, resamples=resamples, seed=seed)
    if isinstance(metric, OwnMetric):
        return _sample_rows(metric, references, answers, options, resamples=min(resamples, OWN_RESAMPLES), seed=seed)
    if isinstance(metric, Ranking):
        return _sample_ranks(metric, references, answers, options, classes=classes, resamples=resamples, seed=seed)
    return _sample_sums(metric, references, answers, options, classes=classes, resamples=resamples, seed=seed)


class _Rows(NamedTuple):
    references: Ids
    answers: list[Answered]

    def at(self, row: int) -> _Rows:
        only = np.array([row])
        return _Rows(self.references[only], [one.of(only) for one in self.answers])


def _rows_seen(references: Ids, answers: Sequence[Answered]) -> _Rows:
    """The rows that there are, and then these with the models' answers exchanged: numbers have no end, and so none that
    could come is the least favourable; of those that came one is."""
    swapped = list(reversed(answers))
    return _Rows(
        np.concatenate([references, references]),
        [one.and_(other) for one, other in zip(answers, swapped, strict=True)],
    )


def _rows_to_come(references: Ids, answers: Sequence[Answered], *, classes: int,
                  heaviest: Ids | None = None) -> _Rows:  # fmt: skip
    """Every row that could have come next: the first half harms the last model and spares the others.

    A class is answered as surely as any model ever was of any. Where rows hold spans, sets or neighbours there is
    no end of rows that could come; the heaviest that any model answered, or that are true, stand for them
    (``heaviest``).
    """
    pairs = _pairs(references, *(one.predictions for one in answers), classes=classes, heaviest=heaviest)
    known = [one.scores for one in answers if one.scores is not None]
    surest = max(float(scores.max()) for scores in known) if known else 1.0

    def answered(column: int, like: Answered) -> Answered:
        guesses = pairs[:, column]
        if like.scores is None:
            return Answered(guesses)
        scores = np.full((len(guesses), classes), (1 - surest) / max(1, classes - 1))
        scores[np.arange(len(guesses)), guesses] = surest
        return Answered(guesses, scores)

    last = len(answers) - 1
    return _Rows(
        np.concatenate([pairs[:, 0], pairs[:, 0]]),
        [answered(int(at == last), one).and_(answered(int(at != last), one)) for at, one in enumerate(answers)],
    )


def _pairs(*answers: Ids, classes: int, heaviest: Ids | None = None) -> Ids:
    """(true class, another class) of every row that could have come next: int64, shape (pairs, 2).

    Only classes that occur, rarest first: a class that the rows never show would enter a macro average with nothing.
    """
    seen = np.bincount(np.concatenate(answers), minlength=classes)
    first = np.argsort(seen, kind="stable") if heaviest is None else heaviest
    order = [int(index) for index in first if seen[index]]
    if len(order) < 2:  # noqa: PLR2004 - a wrong answer takes two classes
        order = [*order, *(index for index in range(classes) if index not in order)]
    return np.array(list(permutations(order[:_RAREST], 2)) or [(0, 0)], dtype=np.int64)


def _over_sums(metric: Metric, models: int) -> Callable[[Floats], Floats]:
    def value(sums: Floats) -> Floats:
        first, *rest = (metric.value(part) for part in np.split(sums, models, axis=-1))
        return rest[0] - first if rest else first

    return value


def _statistics(metric: Metric, references: Ids, answers: Sequence[Answered], classes: int) -> Floats:
    parts = [metric.statistics(references, one.predictions, classes, one.scores) for one in answers]
    return np.concatenate(parts, axis=1)


def _sample_sums(metric: Metric, references: Ids, answers: Sequence[Answered], options: _Rows, *, classes: int,
                 resamples: int, seed: int) -> Sampled:  # fmt: skip
    function = _over_sums(metric, len(answers))
    every, counts = _cells(metric, references, answers, classes)
    sums = counts @ every
    cells, members = condense(every, counts, function)
    extra = _statistics(metric, *options, classes)
    moved = function(sums + extra)
    # Harm first, then help, so that of equally bad rows the plainest is taken.
    half = len(extra) // 2
    worst, best = extra[np.argmin(moved)], extra[(np.argmax(np.roll(moved, -half)) + half) % len(extra)]
    # Both ends from one set of draws: a last column counts how often the additional row was drawn.
    wide = np.zeros((len(cells) + 1, cells.shape[1] + 1))
    wide[:-1, :-1], wide[-1, -1] = cells, 1
    drawn = draw(wide, np.append(members, 1), len(references), resamples=resamples, seed=seed)
    drawn, times = drawn[:, :-1], drawn[:, -1:]
    if isinstance(metric, CalibrationError):
        each = (len(answers), sums.size // len(answers))
        spread = np.sqrt(np.maximum(counts @ every**2 - sums**2 / len(references), 0))
        below, above = calibration.ends(sums.reshape(each), spread.reshape(each), drawn.reshape(-1, *each), times[:, 0],
                                        extra.reshape(-1, *each))  # fmt: skip
    else:
        below, above = function(drawn + times * worst), function(drawn + times * best)
    return Sampled(
        values=tuple(float(metric.value(part)) for part in np.split(sums, len(answers))),
        value=float(function(sums)),
        below=below,
        above=above,
        deviation=deviation(every, counts, function),
    )


def _cells(metric: Metric, references: Ids, answers: Sequence[Answered], classes: int) -> tuple[Floats, Ids]:
    """Statistics of the distinct rows, and how many rows have them."""
    if metric.needs_scores:
        return _statistics(metric, references, answers, classes), np.ones(len(references), dtype=np.int64)
    # What is true and what each model says is all there is to a row: few rows differ in it.
    shape = (classes,) * (1 + len(answers))
    codes = np.ravel_multi_index((references, *(one.predictions for one in answers)), shape)
    found, counts = np.unique(codes, return_counts=True)
    truth, *said = np.unravel_index(found, shape)
    return distinct(_statistics(metric, truth, [Answered(ids) for ids in said], classes), counts)


def _sample_number_ranks(metric: Numbers, references: Ids, answers: Sequence[Answered], options: _Rows, *,
                         resamples: int, seed: int) -> Sampled:  # fmt: skip
    """As `_sample_ranks`: tried are the rows that move the difference most by what they add now."""
    function = _over_sums(metric, len(answers))

    def added(truth: Ids, said: Sequence[Answered]) -> Floats:
        return _statistics(metric, truth, said, 0)

    own, rows = added(references, answers), len(references)
    ones, sums = np.ones(rows, dtype=np.int64), own.sum(axis=0)
    halves = [own, np.concatenate(np.split(own, len(answers), axis=1)[::-1], axis=1)]
    moved = function(sums + np.concatenate(halves))

    def drawn(row: int) -> Floats:
        more = options.at(row)
        longer = [one.and_(extra) for one, extra in zip(answers, more.answers, strict=True)]
        found = added(np.append(references, more.references), longer)
        cells, members = condense(found[:-1], ones, function)
        return function(draw(np.vstack([cells, found[-1]]), np.append(members, 1), rows, resamples=resamples,
                             seed=seed))  # fmt: skip

    return Sampled(
        values=tuple(float(metric.value(part)) for part in np.split(sums, len(answers))),
        value=float(function(sums)),
        below=drawn(int(np.argmin(moved))),
        above=drawn(int(np.argmax(moved))),
        deviation=deviation(own, ones, function),
    )


def _sample_ranks(metric: Ranking, references: Ids, answers: Sequence[Answered], options: _Rows, *, classes: int,
                  resamples: int, seed: int) -> Sampled:  # fmt: skip
    """Where a row more changes what all others add: tried is each of the two rarest classes taken for the other, by
    either model. A negative row at the top may weigh more than a positive one at the bottom."""
    function = _over_sums(metric, len(answers))
    half = len(options.references) // 2
    other = int(np.argmax(options.references != options.references[0]))  # the first of another true class
    more = (0, other, half, half + other)
    by_model = []
    for one, extra in zip(answers, options.answers, strict=True):
        rows = [(int(options.references[row]), wanted(extra.scores)[row]) for row in more]
        by_model.append(metric.statistics_with(references, classes, wanted(one.scores), rows))
    own, *tried = (np.concatenate(parts, axis=1) for parts in zip(*by_model, strict=True))
    ones, sums = np.ones(len(references), dtype=np.int64), own.sum(axis=0)

    def drawn(found: Floats) -> Floats:
        cells, members = condense(found[:-1], ones, function)
        return function(draw(np.vstack([cells, found[-1]]), np.append(members, 1), len(references),
                             resamples=resamples, seed=seed))  # fmt: skip

    tried.sort(key=lambda found: float(function(found.sum(axis=0))))
    return Sampled(
        values=tuple(float(metric.value(part)) for part in np.split(sums, len(answers))),
        value=float(function(sums)),
        below=drawn(tried[0]),
        above=drawn(tried[-1]),
        deviation=deviation(own, ones, function),
    )


def _sample_rows(metric: OwnMetric, references: Ids, answers: Sequence[Answered], options: _Rows, *, resamples: int,
                 seed: int) -> Sampled:  # fmt: skip
    """Rows drawn singly; the direction that harms is found by trying both rows of the rarest classes."""
    rows = len(references)
    half = len(options.references) // 2

    def values(truth: Ids, said: Sequence[Answered]) -> tuple[float, ...]:
        return tuple(metric.compute(truth, one.predictions, one.scores) for one in said)

    def difference(found: tuple[float, ...]) -> float:
        return found[-1] - found[0] if len(found) > 1 else found[0]

    def drawn(row: int) -> Floats:
        more = options.at(row)
        truth = np.append(references, more.references)
        longer = [one.and_(extra) for one, extra in zip(answers, more.answers, strict=True)]
        generator = np.random.default_rng(seed)
        picks = (generator.integers(0, rows + 1, rows) for _ in range(resamples))
        return np.array([difference(values(truth[at], [one.of(at) for one in longer])) for at in picks])

    ends = sorted((drawn(0), drawn(half)), key=lambda found: float(found.mean()))
    own = values(references, answers)
    return Sampled(values=own, value=difference(own), below=ends[0], above=ends[1],
                   deviation=float(np.std((ends[0] + ends[1]) / 2)))  # fmt: skip
