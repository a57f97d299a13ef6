"""How often each true label occurs in a window without labels, if only the shares of the labels changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ftdeploy.metrics import Floats, Ids

_RESAMPLES = 500
#: Below this singular value, predictions hardly depend on some label, and its share cannot be told.
_LEAST_SINGULAR = 0.1


@dataclass(frozen=True, kw_only=True)
class LabelShift:
    """Estimated shares of the true labels.

    Attributes:
        reference: shares in the reference, float64, shape (labels,).
        shares: in the window, float64, shape (labels,).
        lower, upper: ends of their intervals, each one-sided, float64, shape (labels,).
        identified: the confusion matrix tells the labels apart well enough.
    """

    reference: Floats
    shares: Floats
    lower: Floats
    upper: Floats
    identified: bool


def label_shift(confusion: Ids, predicted: Ids, *, seed: int, confidence: float = 0.95) -> LabelShift:
    """Black-box shift estimation (Lipton, Wang & Smola 2018), with intervals that know both samples' noise.

    It supposes that texts of a label are as before and only labels are more or less frequent. Shares are cut at 0 and
    made to sum to 1.

    Args:
        confusion: held-out rows by true and then by predicted label, int64, shape (labels, labels).
        predicted: rows of the window by predicted label, int64, shape (labels,); at least one.
        seed: of the resamples.
        confidence: of each end.
    """
    generator = np.random.default_rng(seed)
    shares, singular = _solve(confusion.astype(np.float64), predicted / predicted.sum())
    rows = int(confusion.sum())
    cells = confusion.ravel() / rows
    known = generator.multinomial(rows, cells, size=_RESAMPLES).reshape(-1, *confusion.shape).astype(np.float64)
    seen = generator.multinomial(predicted.sum(), predicted / predicted.sum(), size=_RESAMPLES) / predicted.sum()
    drawn, _ = _solve(known, seen)
    return LabelShift(
        reference=confusion.sum(axis=1) / rows,
        shares=shares,
        lower=np.quantile(drawn, 1 - confidence, axis=0),
        upper=np.quantile(drawn, confidence, axis=0),
        identified=bool(singular >= _LEAST_SINGULAR),
    )


def _solve(confusion: Floats, mix: Floats) -> tuple[Floats, Floats]:
    """Shares of the true labels, and the smallest singular value of P(predicted | true); over leading axes alike."""
    # Half a row keeps a label that held-out rows do not have from dividing by 0.
    given = np.swapaxes(confusion + 0.5 * np.eye(confusion.shape[-1]), -1, -2)
    given = given / given.sum(axis=-2, keepdims=True)
    singular = np.linalg.svd(given, compute_uv=False)[..., -1]
    raw = np.clip((np.linalg.pinv(given, rcond=1e-3) @ mix[..., None])[..., 0], 0, None)
    return raw / np.maximum(raw.sum(axis=-1, keepdims=True), 1e-12), singular
