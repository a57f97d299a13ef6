"""Resamples as draws of cells: the same distribution as drawing rows, at a fraction of the cost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ftdeploy.metrics import METRICS, SCORE_METRICS, Floats, Ids, Metric
from ftdeploy.statistics.resampling import condense, deviation, draw, resample

MACRO_F1 = METRICS["macro_f1"]


def test_multinomial_resampling_is_row_resampling() -> None:
    """Sums over multinomial counts of the distinct rows have the distribution of sums over rows drawn singly."""
    random = np.random.default_rng(1)
    references, predictions = random.integers(0, 3, 150), random.integers(0, 3, 150)
    statistics = MACRO_F1.statistics(references, predictions, 3)
    drawn = statistics[random.integers(0, 150, (4000, 150))].sum(axis=1)
    ours = resample(statistics, resamples=4000, seed=2)
    assert ks_2samp(MACRO_F1.value(drawn), MACRO_F1.value(ours)).pvalue > 0.01
    assert np.cov(ours.T) == pytest.approx(np.cov(drawn.T), abs=0.1 * np.cov(drawn.T).max())


def test_resamples_have_as_many_rows_as_the_sample() -> None:
    """A resample has the sample's size, with one row more to draw from as well, and in pieces as well."""
    statistics = np.stack([np.arange(500.0), np.ones(500)], axis=1)  # every row is a cell of its own
    extra = np.array([1000.0, 1.0])
    assert (resample(statistics, resamples=50, seed=3)[:, 1] == 500).all()
    assert (resample(statistics, resamples=50, seed=3, extra=extra)[:, 1] == 500).all()
    pieces = resample(np.stack([np.arange(30_000.0), np.ones(30_000)], axis=1), resamples=700, seed=3)
    assert (pieces[:, 1] == 30_000).all()
    assert len(np.unique(pieces[:, 0])) > 690  # the second piece is not the first again


def _two_models(rows: int, classes: int, *, changed: float) -> tuple[Ids, Floats, Floats]:
    """References and two models' probabilities; some rows of the second are another's, all a little off."""
    random = np.random.default_rng(9)
    references = random.integers(0, classes, rows)
    logits = 2 * random.normal(size=(rows, classes))
    logits[np.arange(rows), references] += 3
    other = logits + 0.01 * random.normal(size=logits.shape)
    moved = random.random(rows) < changed
    other[moved] += random.normal(size=(int(moved.sum()), classes))
    first, second = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (logits, other))
    return references, first, second


def _both(metric: Metric, references: Ids, scores: tuple[Floats, ...], classes: int) -> Floats:
    parts = [metric.statistics(references, one.argmax(axis=1), classes, one) for one in scores]
    return np.concatenate(parts, axis=1)


CONTINUOUS = [*SCORE_METRICS, "macro_f1", "mcc"]


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("classes", [2, 40])
@pytest.mark.parametrize("changed", [0.02, 1.0])
def test_condensed_rows_keep_totals_and_variance(name: str, classes: int, changed: float) -> None:
    """10,000 rows in a few hundred cells: totals to rounding, and at most 0.3% of the difference's variance lost, of
    models that differ in all rows or, what is harder, in few."""
    metric = {**METRICS, **SCORE_METRICS}[name]
    references, *scores = _two_models(10_000, classes, changed=changed)
    every = _both(metric, references, tuple(scores), classes)
    ones, width = np.ones(len(every), dtype=np.int64), every.shape[1] // 2

    def difference(sums: Floats) -> Floats:
        return np.asarray(metric.value(sums[..., width:]) - metric.value(sums[..., :width]))

    cells, counts = condense(every, ones, difference)
    assert len(cells) <= 768
    assert counts.sum() == 10_000
    assert counts @ cells == pytest.approx(every.sum(axis=0))
    kept = (deviation(cells, counts, difference) / deviation(every, ones, difference)) ** 2
    assert 0.997 <= kept <= 1 + 1e-4  # slopes are taken by small steps


@pytest.mark.parametrize("name", ["brier", "ece", "average_precision"])
def test_condensed_resamples_are_those_of_the_rows(name: str) -> None:
    """The distribution of the difference over resamples of 3,000 rows drawn singly, and of their cells."""
    metric = SCORE_METRICS[name]
    references, *scores = _two_models(3000, 2, changed=0.2)
    every = _both(metric, references, tuple(scores), 2)
    width = every.shape[1] // 2

    def difference(sums: Floats) -> Floats:
        return np.asarray(metric.value(sums[..., width:]) - metric.value(sums[..., :width]))

    random = np.random.default_rng(5)
    singly = difference(np.array([every[random.integers(0, 3000, 3000)].sum(axis=0) for _ in range(2000)]))
    cells, counts = condense(every, np.ones(3000, dtype=np.int64), difference)
    ours = difference(draw(cells, counts, 3000, resamples=2000, seed=6))
    assert ks_2samp(singly, ours).pvalue > 0.01


def test_few_distinct_rows_are_left_alone() -> None:
    """Their resamples are exact."""
    cells, counts = np.arange(20.0).reshape(10, 2), np.arange(10, dtype=np.int64) + 1
    same, as_often = condense(cells, counts, lambda sums: sums[..., 0])
    assert (same == cells).all()
    assert (as_often == counts).all()


def test_rows_that_move_nothing_are_condensed_too() -> None:
    """Two equal models: no influence anywhere, and still a cell for every row's signs."""
    cells = np.random.default_rng(1).random((2000, 1)).repeat(2, axis=1)
    few, counts = condense(cells, np.ones(2000, dtype=np.int64), lambda sums: sums[..., 1] - sums[..., 0])
    assert (len(few), counts.tolist()) == (1, [2000])
