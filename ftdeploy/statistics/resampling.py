"""Bootstrap resamples of rows as draws of a few hundred cells, so that their cost does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ftdeploy.metrics import Floats, Ids

#: Up to so many distinct rows are drawn as they are.
_EXACT = 512
#: More are put together into about so many cells.
_CELLS = 256


def resample(statistics: Floats, *, resamples: int, seed: int, extra: Floats | None = None) -> Floats:
    """Sums of per-row statistics over bootstrap resamples of the rows.

    Rows with equal statistics are interchangeable, so the resample is drawn as multinomial counts over the distinct
    ones: the same distribution as drawing rows, at a cost that does not grow with the rows for count metrics.

    Args:
        statistics: float64, shape (rows, k).
        resamples: how many.
        seed: of the generator.
        extra: one row more to draw from, float64, shape (k,). A resample still has as many rows as ``statistics``.

    Returns:
        float64, shape (resamples, k).
    """
    cells, counts = distinct(statistics, np.ones(len(statistics), dtype=np.int64))
    if extra is not None:
        cells, counts = np.concatenate([cells, extra[None]]), np.append(counts, 1)
    return draw(cells, counts, len(statistics), resamples=resamples, seed=seed)


def draw(cells: Floats, counts: Ids, rows: int, *, resamples: int, seed: int) -> Floats:
    """Sums over ``rows`` rows drawn with replacement.

    Args:
        cells: what a row of each cell adds, float64, shape (cells, k).
        counts: how many rows to draw from are in each, int64, shape (cells,).
        rows: how many are drawn.
        resamples: how many times.
        seed: of the generator.

    Returns:
        float64, shape (resamples, k).
    """
    generator = np.random.default_rng(seed)
    sums = np.empty((resamples, cells.shape[1]))
    # Pieces keep memory bounded when every row is its own cell (8 bytes * piece * cells).
    piece = max(1, min(resamples, 20_000_000 // len(cells)))
    for start in range(0, resamples, piece):
        size = min(piece, resamples - start)
        sums[start : start + size] = generator.multinomial(rows, counts / counts.sum(), size=size) @ cells
    return sums


def distinct(statistics: Floats, counts: Ids) -> tuple[Floats, Ids]:
    """The distinct rows of statistics and how often each occurs, given how often each row does."""
    cells, which = np.unique(statistics, axis=0, return_inverse=True)
    return cells, np.bincount(which.ravel(), weights=counts).astype(np.int64)


def influences(cells: Floats, counts: Ids, function: Callable[[Floats], Floats]) -> Floats:
    """What a row of each cell moves a function of the sums by, to first order (Efron 1982, ch. 6).

    Returns:
        float64, shape (cells,). The root of the sum of counts * influence^2 is the function's standard deviation.
    """
    sums = counts @ cells
    step = 1e-3  # of a row: small enough to be a derivative, large enough for float64
    mean = sums / counts.sum()
    return np.asarray((function(sums + step * (cells - mean)) - function(sums)) / step)


def deviation(cells: Floats, counts: Ids, function: Callable[[Floats], Floats]) -> float:
    """Standard deviation of a function of the sums, by the infinitesimal jackknife."""
    return float(np.sqrt((counts * influences(cells, counts, function) ** 2).sum()))


def condense(cells: Floats, counts: Ids, function: Callable[[Floats], Floats]) -> tuple[Floats, Ids]:
    """Few cells in the place of many, for a bootstrap of ``function`` that is nearly the same.

    Where probabilities enter, every row is a cell of its own. Rows are put together that have about the same influence
    on the function, and statistics with the same signs (of the calibration error: the same bin, right or wrong alike);
    each cell stands for its rows by their mean, so that totals are exact. What is lost is the variance within the
    cells: about 0.1% of it at worst and usually far less (a test holds it under 0.3%), so that ends move by about a
    thousandth of their distance. A few hundred distinct rows are left as they are.

    Args:
        cells: float64, shape (cells, k).
        counts: rows in each, int64, shape (cells,).
        function: float64 sums of shape (..., k) to (...).
    """
    if len(cells) <= _EXACT:
        return cells, counts
    moves = influences(cells, counts, function)
    group = _groups(cells)
    order = np.lexsort((moves, group))
    group, moves, weight = group[order], moves[order], counts[order]
    starts = np.append(True, group[1:] != group[:-1])
    # Narrow cells where rows are dense, as the cube root of their density: then least variance is lost (Panter & Dite
    # 1951). Over the way from row to row that is step^(2/3) times the cube root of the rows.
    steps = np.where(starts, 0.0, np.diff(moves, prepend=moves[0])) ** (2 / 3) * np.cbrt(weight)
    place = np.cumsum(steps)
    cell = np.floor(place / max(place[-1], np.finfo(np.float64).tiny) * _CELLS)
    firsts = np.flatnonzero(starts | np.append(True, cell[1:] != cell[:-1]))
    totals = np.add.reduceat(cells[order] * weight[:, None], firsts, axis=0)
    members = np.add.reduceat(weight, firsts)
    return totals / members[:, None], members


def _groups(cells: Floats) -> Ids:
    """Which rows have the same signs in all columns, as numbers from 0; all of them where that would be too many."""
    signs = np.ascontiguousarray(np.sign(cells).astype(np.int8))
    packed = signs.view(np.dtype((np.void, signs.shape[1])))[:, 0]
    kinds, group = np.unique(packed, return_inverse=True)
    return group.ravel().astype(np.int64) if len(kinds) <= _CELLS else np.zeros(len(cells), dtype=np.int64)
