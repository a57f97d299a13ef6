"""Metrics of numbers, held against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from ftdeploy.metrics import is_error, resolve, score
from ftdeploy.metrics.metric import Floats
from ftdeploy.metrics.numbers import NAMES, number_scores, pseudo_values
from ftdeploy.statistics import compare, estimate
from ftdeploy.values import dump


def _rows(rows: int = 300, *, seed: int = 1) -> tuple[Floats, Floats]:
    """Ratings from 1 to 5 around 1000, with many ties, and answers to them."""
    random = np.random.default_rng(seed)
    truth = 1000 + random.integers(1, 6, rows).astype(np.float64)
    return truth, np.asarray(np.round(truth + random.normal(size=rows), 1), dtype=np.float64)


def test_they_are_those_of_the_libraries() -> None:
    """Far from zero, where sums of squares would lose their digits, and with equal numbers."""
    truth, said = _rows()
    assert number_scores(truth, said) == pytest.approx({
        "r2": r2_score(truth, said), "spearman": spearmanr(truth, said).statistic,
        "pearson": pearsonr(truth, said).statistic, "mse": mean_squared_error(truth, said),
        "rmse": mean_squared_error(truth, said) ** 0.5, "mae": mean_absolute_error(truth, said),
    }, rel=1e-9)  # fmt: skip


def test_they_look_into_the_labels() -> None:
    """Class ids are places in a list of strings, as they are of every answer that is none of few labels."""
    labels = ["2", "1", "3.5"]
    ids = np.array([0, 1, 2])
    assert score(resolve("mae", labels), ids, np.array([0, 0, 0]), 3) == pytest.approx(2.5 / 3)
    assert score(resolve("spearman", labels), ids, ids, 3) == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_constant_sides_have_no_correlation(name: str) -> None:
    """0 instead of a division by nothing; errors are what they are."""
    labels, ids = ["1", "2"], np.array([0, 1, 0, 1])
    same = np.zeros(4, dtype=np.int64)
    expected = 0.5 if name in ("mse", "mae") else 0.5**0.5 if name == "rmse" else -1.0 if name == "r2" else 0.0
    assert score(resolve(name, labels), ids, same, 2) == pytest.approx(expected)
    assert score(resolve(name, labels), same, same, 2) == 0.0


def test_resampled_pseudo_values_vary_as_the_correlation_does() -> None:
    """Ranked anew in every resample, which is what they spare."""
    truth, said = _rows()
    values, random = pseudo_values(truth, said), np.random.default_rng(2)
    picks = [random.integers(0, len(truth), len(truth)) for _ in range(400)]
    ranked = np.std([spearmanr(truth[rows], said[rows]).statistic for rows in picks])
    assert values.mean() == pytest.approx(spearmanr(truth, said).statistic)
    assert np.std([values[rows].mean() for rows in picks]) == pytest.approx(ranked, rel=0.1)


def _ids(*columns: Floats) -> tuple[list[str], list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]]:
    table, places = np.unique(np.concatenate(columns), return_inverse=True)
    return [dump(value) for value in table.tolist()], np.split(places.astype(np.int64), len(columns))


@pytest.mark.parametrize("name", NAMES)
def test_gates_know_which_way_is_better(name: str) -> None:
    """A candidate whose answers are scattered fails, one that answers alike passes, and errors rise where scores
    fall."""
    truth, said = _rows(600)
    worse = said + np.random.default_rng(3).normal(scale=2, size=len(said))
    table, (references, base, bad) = _ids(truth, said, worse)
    metric = resolve(name, table)
    margin = 0.2 if is_error(name) else 0.05
    found = compare(metric, references, base, bad, classes=len(table), margin=margin, resamples=2000)
    assert found.verdict == "fail"
    assert (found.difference > 0) == is_error(name)
    assert found.lower < found.difference < found.upper
    alike = compare(metric, references, base, base, classes=len(table), margin=margin, resamples=2000)
    assert (alike.verdict, alike.difference) == ("pass", 0.0)
    own = estimate(metric, references, base, len(table), resamples=2000)
    assert own.lower < own.value < own.upper
