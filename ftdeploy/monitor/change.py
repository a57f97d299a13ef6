"""Since when traffic is different: points in time at which the ranks of a score change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from ftdeploy.metrics import Floats

_PERMUTATIONS = 499
_RESAMPLES = 200
#: Longer windows are thinned to so many rows, at even distances.
_MOST_ROWS = 4000
_MOST_CHANGES = 5
#: Rows that a part between two changes has at least.
LEAST_PART = 30


@dataclass(frozen=True, kw_only=True)
class Change:
    """A point in time.

    Attributes:
        row: the first row after it.
        lower, upper: ends of its interval, rows.
        p: permutation p-value of "there is no change in this part".
        effect: 2 P(after > before) - 1, from -1 to 1.
    """

    row: int
    lower: int
    upper: int
    p: float
    effect: float


def change_points(scores: Floats, *, seed: int, level: float = 0.05, least_effect: float = 0.1,
                  confidence: float = 0.95) -> list[Change]:  # fmt: skip
    """Changes of a score over time, in order.

    Pettitt's (1979) rank statistic with a permutation p-value, in binary segmentation: where there is a change, both
    parts are searched again, as in the divisive procedure of Matteson & James (2014). Intervals are those of the point
    over bootstrap resamples of the rows on either side.

    Args:
        scores: float64, shape (rows,), in the order of time; exchangeable where nothing changes.
        seed: of permutations and resamples.
        level: a p-value at or below it is a change.
        least_effect: a smaller one is none.
        confidence: of each end of an interval.
    """
    step = max(1, -(-len(scores) // _MOST_ROWS))
    thin = scores[::step]
    generator = np.random.default_rng(seed)
    found: list[Change] = []
    parts = [(0, len(thin))]
    while parts and len(found) < _MOST_CHANGES:
        start, end = parts.pop(0)
        change = _strongest(thin[start:end], generator, confidence)
        if change is None or change.p > level or abs(change.effect) < least_effect:
            continue
        found.append(Change(
            row=(start + change.row) * step,
            lower=(start + change.lower) * step,
            upper=min(len(scores) - 1, (start + change.upper) * step),
            p=change.p,
            effect=change.effect,
        ))  # fmt: skip
        parts += [(start, start + change.row), (start + change.row, end)]
    return sorted(found, key=lambda one: one.row)


def _strongest(scores: Floats, generator: np.random.Generator, confidence: float) -> Change | None:
    rows = len(scores)
    if rows < 2 * LEAST_PART:
        return None
    ranks = rankdata(scores) - (rows + 1) / 2
    curve = _curve(ranks[None])[0]
    best = int(np.argmax(curve))
    null = np.array([_curve(generator.permutation(ranks)[None])[0].max() for _ in range(_PERMUTATIONS)])
    p = (1 + int((null >= curve[best] - 1e-9).sum())) / (_PERMUTATIONS + 1)
    row = best + LEAST_PART
    drawn = np.concatenate([
        generator.choice(ranks[:row], size=(_RESAMPLES, row)),
        generator.choice(ranks[row:], size=(_RESAMPLES, rows - row)),
    ], axis=1)  # fmt: skip
    places = LEAST_PART + np.argmax(_curve(drawn - drawn.mean(axis=1, keepdims=True)), axis=1)
    low, high = np.quantile(places, [1 - confidence, confidence])
    effect = 2 * (ranks[row:].mean() - ranks[:row].mean()) / rows
    return Change(row=row, lower=int(min(low, row)), upper=int(np.ceil(max(high, row))), p=p, effect=float(effect))


def _curve(ranks: Floats) -> Floats:
    """The absolute rank sum before each point that leaves enough rows on both sides, over its deviation."""
    rows = ranks.shape[1]
    before = np.arange(LEAST_PART, rows - LEAST_PART + 1)
    return np.asarray(np.abs(np.cumsum(ranks, axis=1)[:, before - 1]) / np.sqrt(before * (rows - before)))
