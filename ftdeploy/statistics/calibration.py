"""Resamples of the expected calibration error, and of the difference between two models'.

A sum of absolute values is biased: the bins of a model without any calibration error are off by chance, so that its
error is estimated well above 0, and that of a worse model less so. The difference of two estimates is then too small,
and the plain bootstrap passes 9 of 10 candidates that are worse by just the margin than a calibrated baseline.

So each end is taken from an estimate that on average does not lie on the wrong side of the truth:

- what is to look small enough (the candidate's error) is the plain estimate, which on average is not below the truth;
- what it is held against (the baseline's) is estimated with the bins' signs from one half of the rows and their sums
  from the other, averaged over all halves: 0 on average without an error, and never above the truth. With the bin's sum
  in standard deviations t it is t (2 Phi(t) - 1) - 2 phi(t), for normal sums;
- or, for models that hardly differ, the difference is at most the sum over the bins of |candidate - baseline|.

Of the two bounds of a difference the better one counts, each at half the error.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from ftdeploy.metrics import Floats

_Function = Callable[[Floats], Floats]


def ends(sums: Floats, deviations: Floats, drawn: Floats, times: Floats, extra: Floats) -> tuple[Floats, Floats]:
    """``below`` and ``above`` of `Sampled`, for the calibration error of one model or the difference of two.

    Args:
        sums: a row a model, the bins' sums and then the number of rows; float64, shape (models, k).
        deviations: standard deviations of these sums, same shape.
        drawn: sums over resamples without the additional row, float64, shape (resamples, models, k).
        times: how often the additional row is in each resample, float64, shape (resamples,).
        extra: what rows that could come next would add, float64, shape (options, models, k).
    """

    def highest(function: _Function) -> Floats:
        """The function's values, around that of the sample, with the row that raises it most; sorted."""
        row = extra[np.argmax(function(sums + extra))]
        return np.sort(function(drawn + times[:, None, None] * row) - function(drawn).mean() + function(sums))

    if len(sums) == 1:
        return -highest(lambda found: -honest(found[..., 0, :], deviations[0])), highest(
            lambda found: plain(found[..., 0, :])
        )

    def higher(over: int, under: int) -> Floats:
        """Of the one model's error less the other's."""
        against = highest(lambda found: plain(found[..., over, :]) - honest(found[..., under, :], deviations[under]))
        between = highest(lambda found: apart(found[..., over, :], found[..., under, :]))
        # The upper halves of two sorted samples: their quantile at p is the samples' at (1 + p) / 2.
        return np.minimum(against, between)[len(drawn) // 2 :]

    return -higher(0, 1), higher(1, 0)


def plain(sums: Floats) -> Floats:
    """Sum of the bins' absolute sums over the rows."""
    return np.asarray(np.abs(sums[..., :-1]).sum(axis=-1) / np.maximum(sums[..., -1], 1))


def honest(sums: Floats, deviations: Floats) -> Floats:
    """The calibration error, on average not above the truth; it can be negative."""
    size = np.abs(sums[..., :-1])
    # From 40 standard deviations on it is all size; divided only below, where nothing can overflow.
    t = np.divide(size, deviations[:-1], out=np.full_like(size, 40.0), where=size < 40 * deviations[:-1])
    parts = size * (2 * ndtr(t) - 1) - deviations[:-1] * np.sqrt(2 / np.pi) * np.exp(-(t**2) / 2)
    return np.asarray(parts.sum(axis=-1) / np.maximum(sums[..., -1], 1))


def apart(first: Floats, second: Floats) -> Floats:
    """Sum of the absolute differences between the bins' sums over the rows: no less than that of the two errors."""
    return np.asarray(np.abs(second - first)[..., :-1].sum(axis=-1) / np.maximum(first[..., -1], 1))
