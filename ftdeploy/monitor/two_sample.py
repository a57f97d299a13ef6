"""Whether two samples of projected embeddings come from one distribution, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, ndtr, ndtri
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.metrics import Floats

#: Rows of a sample that enter the kernel matrix or the classifier; more cost time and say little more.
MOST_ROWS = 2000
PERMUTATIONS = 499
#: Weight of the squared coefficients, per row. Little: 64 features are few for the rows there are.
_RIDGE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a test found.

    Attributes:
        p: p-value of "both samples are of one distribution".
        effect: how far apart they are, from 0 (not at all) to 1.
        lower, upper: ends of its interval, each one-sided.
    """

    p: float
    effect: float
    lower: float
    upper: float


def mmd(reference: NDArray[np.float32], window: NDArray[np.float32], *, seed: int,
        permutations: int = PERMUTATIONS, confidence: float = 0.95) -> Measured:  # fmt: skip
    """Maximum mean discrepancy with an RBF kernel of median width, and its permutation p-value (Gretton et al. 2012).

    The effect is the discrepancy over the kernel's spread within the samples, ``sqrt(MMD^2 / (1 - mean k))``, cut at 1:
    of a mixture it is about proportional to the share of foreign rows. Its interval is the U-statistic's normal one.

    Args:
        reference, window: float32, shape (rows, dimensions); at most `MOST_ROWS` of each count.
        seed: of the permutations.
        permutations: the p-value is no smaller than 1 / (permutations + 1).
        confidence: of each end.
    """
    reference, window = thinned(reference, seed), thinned(window, seed)
    both = np.concatenate([reference, window]).astype(np.float64)
    here, there = len(window), len(reference)
    squares = (both**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * both @ both.T, 0)
    few = distances[:: max(1, len(both) // 500), :: max(1, len(both) // 500)]
    width = float(np.median(few[few > 0])) if (few > 0).any() else 1.0
    kernel = np.exp(-distances / width).astype(np.float32)
    np.fill_diagonal(kernel, 0)
    generator = np.random.default_rng(seed)
    chosen = np.zeros((len(both), permutations + 1), dtype=np.float32)
    chosen[there:, 0] = 1
    for column in range(1, permutations + 1):
        chosen[generator.permutation(len(both))[:here], column] = 1
    within = np.einsum("ij,ij->j", chosen, kernel @ chosen, dtype=np.float64)
    sums = chosen.T.astype(np.float64) @ kernel.sum(axis=1, dtype=np.float64)
    across = sums - within
    rest = kernel.sum(dtype=np.float64) - within - 2 * across
    squared = within / (here * (here - 1)) + rest / (there * (there - 1)) - 2 * across / (here * there)
    p = (1 + int((squared[1:] >= squared[0] - 1e-12).sum())) / (permutations + 1)
    spread = 1 - rest[0] / (there * (there - 1))
    reach = float(ndtri(confidence)) * _deviation(kernel, there)
    effect, lower, upper = (
        min(1.0, math.sqrt(max(0.0, value) / max(spread, 1e-9)))
        for value in (squared[0], squared[0] - reach, squared[0] + reach)
    )
    return Measured(p=p, effect=effect, lower=lower, upper=upper)


def _deviation(kernel: NDArray[np.float32], there: int) -> float:
    """Standard deviation of the squared discrepancy: twice the mean witness, with its variance in each sample."""
    here = len(kernel) - there
    to_reference, to_window = kernel[:, :there].sum(axis=1), kernel[:, there:].sum(axis=1)
    of_reference = to_reference[:there] / max(1, there - 1) - to_window[:there] / here
    of_window = to_window[there:] / max(1, here - 1) - to_reference[there:] / there
    return 2 * math.sqrt(float(of_reference.var()) / there + float(of_window.var()) / here)


@dataclass(frozen=True, kw_only=True)
class Classified(Measured):
    """What a classifier of reference against window found.

    Attributes:
        scores: log odds of each row of the window to be of the window, by a classifier that was fitted without it;
            float64, shape (rows,).
    """

    scores: Floats


def classifier_test(reference: NDArray[np.float32], window: NDArray[np.float32], *, seed: int,
                    confidence: float = 0.95) -> Classified:  # fmt: skip
    """Whether a classifier tells the window from the reference on rows it was not fitted on (Lopez-Paz & Oquab 2017).

    Logistic regression on the standardised projection and its squares, fitted on one half and judged on the other, both
    ways. Given the fitted classifier the labels of the judged half are exchangeable, so that the rank-sum test of
    each half holds; twice the smaller p holds for both (Bonferroni). The effect is 2 AUC - 1, at least 0.

    Args:
        reference, window: float32, shape (rows, dimensions); at most `MOST_ROWS` of each are fitted on and judged.
        seed: of the halves.
        confidence: of each end.
    """
    generator = np.random.default_rng(seed)
    all_rows = window
    reference, window = thinned(reference, seed), thinned(window, seed)
    mean, spread = reference.mean(axis=0), reference.std(axis=0) + 1e-6
    there, here, every = (_expanded((rows - mean) / spread) for rows in (reference, window, all_rows))
    half_there, half_here = (generator.permutation(len(rows)) % 2 for rows in (there, here))
    side = np.random.default_rng([seed, 2]).integers(0, 2, len(every)) if len(every) != len(here) else half_here
    scores = np.empty(len(every))
    found = []
    for half in (0, 1):
        weights = _fit(np.concatenate([there[half_there != half], here[half_here != half]]),
                       np.repeat([0.0, 1.0], [(half_there != half).sum(), (half_here != half).sum()]))  # fmt: skip
        found.append(_ranked(_scores(there[half_there == half], weights), _scores(here[half_here == half], weights)))
        scores[side == half] = _scores(every[side == half], weights)
    effect = sum(2 * area - 1 for area, _, _ in found) / 2
    reach = float(ndtri(confidence)) * math.sqrt(sum(variance for _, variance, _ in found))
    return Classified(
        p=min(1.0, 2 * min(p for _, _, p in found)),
        effect=max(0.0, effect),
        lower=max(0.0, effect - reach),
        upper=min(1.0, max(0.0, effect + reach)),
        scores=scores,
    )


def thinned(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """At most `MOST_ROWS` of the rows, by chance, in their order."""
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.sort(np.random.default_rng([seed, 3]).permutation(len(rows))[:MOST_ROWS])]


def _expanded(rows: NDArray[np.float32]) -> Floats:
    rows = np.clip(rows, -8, 8)  # a row far out would rule the squares
    return np.asarray(np.concatenate([rows, rows**2 - 1], axis=1), dtype=np.float64)


def _scores(rows: Floats, weights: Floats) -> Floats:
    return np.asarray(rows @ weights[:-1] + weights[-1])


def _fit(rows: Floats, targets: Floats) -> Floats:
    """Logistic regression with both classes of equal weight; the intercept, last, is not shrunk."""
    weight = np.where(targets > 0, 0.5 / max(1.0, targets.sum()), 0.5 / max(1.0, (1 - targets).sum()))
    # The fewer rows the scarcer class has, the more are coefficients held: a tenth of a row's weight each.
    ridge = _RIDGE + 0.1 / min(targets.sum(), (1 - targets).sum())

    def loss(at: Floats) -> tuple[float, Floats]:
        odds = _scores(rows, at)
        value = float(weight @ (np.logaddexp(0, odds) - targets * odds)) + ridge / 2 * float(at[:-1] @ at[:-1])
        off = weight * (expit(odds) - targets)
        return value, np.append(rows.T @ off + ridge * at[:-1], off.sum())

    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return np.asarray(found.x, dtype=np.float64)


def _ranked(there: Floats, here: Floats) -> tuple[float, float, float]:
    """Area under the curve, variance of it (DeLong et al. 1988), and the one-sided p of the rank-sum test."""
    ranks = rankdata(np.concatenate([there, here]))
    m, n = len(there), len(here)
    area = (ranks[m:].sum() - n * (n + 1) / 2) / (m * n)
    below = (ranks[m:] - rankdata(here)) / m  # of each row of the window, reference rows below it
    above = 1 - (ranks[:m] - rankdata(there)) / n
    variance = below.var(ddof=1) / n + above.var(ddof=1) / m
    _, ties = np.unique(ranks, return_counts=True)
    everything = m + n
    null = (everything + 1 - (ties**3 - ties).sum() / (everything * (everything - 1))) / (12 * m * n)
    # Half a pair's continuity correction, as the rank-sum test has it.
    z = (area - 0.5 - 0.5 / (m * n)) / math.sqrt(max(null, 1e-12))
    return float(area), float(variance), float(1 - ndtr(z))
