"""Metrics of ranks: values against scikit-learn, influences against deleting rows, variance against DeLong's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ftdeploy.metrics import SCORE_METRICS, Floats, Ids, score
from ftdeploy.metrics.ranks import Curve, Ranking, average_precision, rank, roc_auc
from ftdeploy.statistics.resampling import deviation

AREA, PRECISION = SCORE_METRICS["roc_auc"], SCORE_METRICS["average_precision"]


def rows(seed: int, count: int, classes: int) -> tuple[Ids, Floats]:
    """References and coarse probabilities with many ties."""
    random = np.random.default_rng(seed)
    references = random.integers(0, classes, count)
    weights = random.integers(1, 6, (count, classes)).astype(np.float64)
    weights[np.arange(count), references] += random.integers(0, 3, count)
    return references, weights / weights.sum(axis=1, keepdims=True)


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_of_two_classes_it_is_scikit_learns_of_the_last(seed: int, count: int) -> None:
    """Ties count half of the area, and share a threshold of the precision."""
    references, scores = rows(seed, count, 2)
    guesses = scores.argmax(axis=1)
    if len(set(references)) == 2:
        area = score(AREA, references, guesses, 2, scores)
        assert area == pytest.approx(roc_auc_score(references, scores[:, 1]))
    if references.any():
        precision = score(PRECISION, references, guesses, 2, scores)
        assert precision == pytest.approx(average_precision_score(references, scores[:, 1]))


@given(st.integers(0, 10_000), st.integers(20, 80), st.integers(3, 5))
def test_of_more_classes_it_is_the_mean_of_one_against_the_rest(seed: int, count: int, classes: int) -> None:
    """As scikit-learn's `multi_class="ovr", average="macro"`, over the classes that occur."""
    references, scores = rows(seed, count, classes)
    guesses, present = scores.argmax(axis=1), np.unique(references)
    if len(present) == classes:
        area = roc_auc_score(references, scores, multi_class="ovr", average="macro")
        assert score(AREA, references, guesses, classes, scores) == pytest.approx(area)
    each = [average_precision_score(references == column, scores[:, column]) for column in present]
    assert score(PRECISION, references, guesses, classes, scores) == pytest.approx(np.mean(each))


def test_nothing_to_rank() -> None:
    """Of one class only there is no pair: the area is that of a coin, and without positives the precision is none."""
    ids, scores = np.zeros(3, dtype=np.int64), np.full((3, 2), 0.5)
    assert score(AREA, ids, ids, 2, scores) == 0.5
    assert score(PRECISION, ids, ids, 2, scores) == 0
    assert score(PRECISION, ids + 1, ids, 2, scores) == 1


@pytest.mark.parametrize(
    ("curve", "theirs"), [(roc_auc, roc_auc_score), (average_precision, average_precision_score)]
)  # fmt: skip
def test_influence_is_the_derivative_by_a_rows_weight(curve: Curve, theirs: Callable[..., float]) -> None:
    """A little more weight on a row moves scikit-learn's value by just that; all influences add up to nothing."""
    references, scores = rows(3, 40, 2)
    positive, column, step = references == 1, scores[:, 1], 1e-6
    ranked = rank(positive, column)
    both = curve(ranked)
    assert both is not None
    value, found = both[0], np.empty(40)
    found[ranked.rows] = both[1]
    moved = [
        theirs(references, column, sample_weight=np.where(np.arange(40) == row, 1 + step, 1.0)) for row in range(40)
    ]
    # The area's influences are scaled for an unbiased variance, as DeLong's is.
    sizes = np.where(positive, positive.sum(), (~positive).sum())
    scale = np.sqrt((sizes - 1) / sizes) if curve is roc_auc else 1.0
    assert found * scale == pytest.approx((np.array(moved) - value) / step, abs=1e-5)
    assert found.sum() == pytest.approx(0, abs=1e-12)


def _delong(references: Ids, first: Floats, second: Floats) -> float:
    """Variance of the difference of two areas, as DeLong et al. (1988) write it: every pair compared."""
    placements = []
    for scores in (first, second):
        yes, no = scores[references == 1], scores[references == 0]
        wins = (yes[:, None] > no) + 0.5 * (yes[:, None] == no)
        placements.append((wins.mean(axis=1), wins.mean(axis=0)))
    contrast = np.array([1, -1])
    parts = [np.cov(np.stack([placements[0][side], placements[1][side]])) for side in (0, 1)]
    sizes = [int((references == 1).sum()), int((references == 0).sum())]
    return float(sum(contrast @ part @ contrast / size for part, size in zip(parts, sizes, strict=True)))


@given(st.integers(0, 10_000), st.integers(10, 80))
@settings(max_examples=50)
def test_pseudo_values_have_delongs_variance(seed: int, count: int) -> None:
    """Paired, of any two models' scores on the same rows, ties included."""
    references, first = rows(seed, count, 2)
    second = rows(seed + 1, count, 2)[1]
    if min(np.bincount(references, minlength=2)) < 2:
        return
    both = np.concatenate([AREA.statistics(references, references, 2, one) for one in (first, second)], axis=1)
    found = deviation(both, np.ones(count, dtype=np.int64),
                      lambda sums: np.asarray(sums[..., 2] / sums[..., 3] - sums[..., 0] / sums[..., 1]))  # fmt: skip
    assert found**2 == pytest.approx(_delong(references, first[:, 1], second[:, 1]), rel=1e-4, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 12))
@settings(max_examples=50)
def test_a_row_more_is_as_if_it_had_been_there(seed: int, count: int, classes: int) -> None:
    """Sorting once and putting the row in its place gives what sorting all of them gives, ties and new classes too."""
    references, scores = rows(seed, count + 2, classes)
    more = [(int(references[row]), scores[row]) for row in (count, count + 1)]
    for metric in (AREA, PRECISION):
        assert isinstance(metric, Ranking)
        _, *found = metric.statistics_with(references[:count], classes, scores[:count], more)
        for row, one in zip((count, count + 1), found, strict=True):
            kept = [*range(count), row]
            expected = metric.statistics(references[kept], references[kept], classes, scores[kept])
            assert one == pytest.approx(expected, abs=1e-9)
