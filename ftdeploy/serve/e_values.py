"""E-values against "texts are as the remembered ones": numbers that are at most 1 on average while that is true.

Any function of a text, over its mean among remembered texts, is one. These functions are exponential tilts, what a bet
on a change of a certain kind and size comes to: of labels towards one of them; of numbers upwards, downwards, outwards,
inwards; of embeddings in the direction in which the last texts lay. A mean that was estimated from some rows is not the
true one, so what is divided by is three standard errors above it: neither its error nor a difference too small to
matter is mistaken for a change.

Sources: Grünwald, de Heide, Koolen, "Safe testing" (2024); Waudby-Smith, Ramdas, "Estimating means of bounded random
variables by betting" (2023), for bets that earlier texts choose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: Sizes of tilts, per standard deviation, each twice the one before: small ones find small changes, large ones large
#: ones soon.
TILTS = np.array([0.3, 0.6, 1.2], dtype=np.float32)
#: The directions in which a change is looked for are means over so many of the last texts, exponentially weighted.
MEMORIES = (8, 32, 128)
#: Texts after which these directions are learned anew.
BLOCK = 8
#: Labels are told apart in so many groups at most, dealt so that each has about as many texts.
LABEL_GROUPS = 24

_STANDARD_ERRORS = 3.0
#: Standard deviations at which a number is cut, as tilts grow fast.
_CUT = 4.0
#: How many times as likely as it was a group of labels is bet to be.
_ODDS = np.array([0.25, 0.5, 2.0, 4.0])
#: A bet that always comes out as it is would gain nothing, and its sum grow with every text.
_STAKE = 1.001
_TINY = 1e-9


def label_groups(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of each label: its own where labels are few.

    Args:
        counts: remembered rows with each label, shape (labels,).
    """
    groups = np.arange(len(counts))
    if len(counts) > LABEL_GROUPS:
        held = np.zeros(LABEL_GROUPS)
        for label in np.argsort(-counts, kind="stable"):
            groups[label] = held.argmin()
            held[groups[label]] += counts[label] + 1
    return groups


def label_table(counts: NDArray[np.int64]) -> Floats:
    """E-values of each label, shape (labels, bets): bets on more, and on less, of each group.

    Args:
        counts: remembered rows with each label, shape (labels,).
    """
    groups = label_groups(counts)
    mine = groups[:, None] == np.arange(groups.max() + 1)
    return _over_bound(np.where(mine[:, :, None], _ODDS, 1.0).reshape(len(counts), -1), counts)


def number_table(counts: NDArray[np.int64]) -> Floats:
    """E-values of each bin of a number, shape (bins, bets): bets on larger, smaller, more spread and less spread.

    A bin counts as its mid-rank (ridit, Bross 1958), in standard deviations.

    Args:
        counts: remembered rows in each bin, shape (bins,).
    """
    # Half a row a bin keeps one that no row fell into from lying at no distance, or at any.
    shares = (counts + 0.5) / (counts + 0.5).sum()
    place = _standard(np.cumsum(shares) - shares / 2, shares)
    spread = _standard(place**2, shares)
    bets = [direction[:, None] * TILTS for direction in (place, -place, spread, -spread)]
    return _over_bound(np.exp(np.concatenate(bets, axis=1)), counts)


def _standard(values: Floats, shares: Floats) -> Floats:
    away = values - shares @ values
    return np.clip(away / max(_TINY, float(np.sqrt(shares @ away**2))), -_CUT, _CUT)


def _over_bound(values: Floats, counts: NDArray[np.int64]) -> Floats:
    """Values over an upper bound of their mean; its last term is for what is rare, and was not seen by luck."""
    rows = counts.sum()
    mean = counts @ values / rows
    spread = np.sqrt(np.maximum(counts @ values**2 / rows - mean**2, 0))
    rare = _STANDARD_ERRORS**2 * (values.max(axis=0) - mean) / rows
    return np.asarray(values / (mean + _STANDARD_ERRORS * spread / np.sqrt(rows) + rare) / _STAKE)


class Directions:
    """E-values of whitened embeddings: bets that texts go on lying where the last ones lay, off the remembered middle.

    Args:
        white: remembered rows, shape (rows, size), with mean about 0 and covariance about the identity.
    """

    def __init__(self, white: Floats) -> None:
        self.bets = len(MEMORIES) * len(TILTS)
        self._white = _bounded(white).astype(np.float32)
        self._middle = self._white.mean(axis=0)
        self._ones = np.full(len(white), 1 / len(white), dtype=np.float32)
        self._kept = 1 - 1 / np.array(MEMORIES)[:, None]
        self._recent = np.zeros((BLOCK, white.shape[1]), dtype=np.float32)
        self._filled = 0
        self._means = np.zeros((len(MEMORIES), white.shape[1]))
        self._learn()

    @property
    def room(self) -> int:
        """Texts until directions are learned anew."""
        return BLOCK - self._filled

    def of(self, white: Floats) -> Floats:
        """E-values of texts, shape (texts, bets); they are remembered after that.

        Args:
            white: shape (texts, size), at most `room` texts.
        """
        there = _bounded(white)
        found: Floats = self._tilted(there) / self._bounds
        self._recent[self._filled : self._filled + len(there)] = there
        self._filled += len(there)
        if self._filled == BLOCK:
            age = np.arange(BLOCK)[::-1]
            weights = (1 - self._kept) * self._kept**age
            self._means = self._kept**BLOCK * self._means + weights @ (self._recent - self._middle)
            self._filled = 0
            self._learn()
        return found

    def _learn(self) -> None:
        lengths = np.linalg.norm(self._means, axis=1, keepdims=True)
        self._axes = (self._means / np.maximum(lengths, _TINY)).T.astype(np.float32)
        tilted = self._tilted(self._white)
        # As each tilt is the square of the one before, so is the mean of one the second moment of that.
        largest = tilted[:, -len(MEMORIES) :]
        moments = self._ones @ np.concatenate([tilted, largest**2], axis=1)
        means, squares = moments[: self.bets], moments[len(MEMORIES) :]
        errors = np.sqrt(np.maximum(squares - means**2, 0) / len(tilted))
        self._bounds = (means + _STANDARD_ERRORS * errors).astype(np.float64)

    def _tilted(self, white: Floats) -> Floats:
        """Tilts, the smallest one of every direction first."""
        tilted = [np.exp(_cut(white @ self._axes, _CUT) * TILTS[0])]
        while len(tilted) < len(TILTS):
            tilted.append(tilted[-1] ** 2)
        return np.concatenate(tilted, axis=1)


def _bounded(white: Floats) -> Floats:
    """Embeddings without what lies absurdly far out, which would rule the directions."""
    return _cut(white, 2 * _CUT)


def _cut(values: Floats, most: float) -> Floats:
    """As `np.clip`, whose own cost is that of ten such arrays."""
    return np.asarray(np.minimum(np.maximum(values, -most), most))
