"""Made-up features, references and windows of traffic: for tests of monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.drift import WIDTH, Features, reference_of
from ftdeploy.monitor.window import Window
from ftdeploy.signature import Signature

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGNATURE = Signature(name="tiny", task="text-classification", labels=("negative", "positive"), max_length=32)
START = 1_772_323_200.0  # 2026-03-01T00:00:00Z


def features(rows: int, *, seed: int, away: float = 0.0, accuracy: float = 0.9) -> tuple[Features, NDArray[np.int64]]:
    """Rows around a point, and their true class ids; confidence says how often they are right.

    Args:
        rows: how many.
        seed: of the rows.
        away: the point, along the first direction, in standard deviations.
        accuracy: mean confidence.
    """
    generator = np.random.default_rng(seed)
    embedding = generator.standard_normal((rows, WIDTH)).astype(np.float32)
    embedding[:, 0] += away
    confidence = 0.5 + 0.5 * generator.beta(4, 4 * (1 - accuracy) / (accuracy - 0.5), rows)
    labels = generator.integers(0, 2, rows)
    right = generator.random(rows) < confidence
    found = Features(
        labels=labels,
        confidence=confidence,
        tokens=generator.integers(5, 40, rows).astype(np.float64),
        unknown=np.where(generator.random(rows) < 0.1, 0.1, 0.0),
        truncated=generator.random(rows) < 0.2,
        embedding=embedding,
    )
    return found, np.where(right, labels, 1 - labels)


def reference(rows: int = 1000, *, seed: int = 1) -> dict[str, NDArray[Any]]:
    """A reference with true labels, and with made shifts whose errors grow with their magnitude."""
    found, truths = features(rows, seed=seed)
    magnitude = np.linspace(0, 0.8, 40)
    shifts = {"shift_magnitude": magnitude, "shift_error": np.stack([magnitude * part for part in (0.1, 0.2, 0.3)], 1)}
    return reference_of(found, np.eye(WIDTH, dtype=np.float32), classes=2, seed=seed, truths=truths) | shifts


def window(found: Features, truths: NDArray[np.int64] | None = None, *, text: str | None = None) -> Window:
    """A window of one row a minute.

    Args:
        found: its features.
        truths: true class ids, -1 where unknown; None knows none.
        text: of every row.
    """
    rows = len(found)
    return Window(
        ids=[f"request-{number}" for number in range(rows)],
        rows=np.zeros(rows, dtype=np.int64),
        times=START + 60.0 * np.arange(rows),
        features=found,
        truths=np.full(rows, -1) if truths is None else truths,
        told=[None] * rows if truths is None else [SIGNATURE.labels[one] if one >= 0 else None for one in truths],
        answers=[SIGNATURE.labels[one] for one in found.labels],
        texts=[text] * rows,
        languages=[""] * rows,
    )


def joined(one: Features, other: Features) -> Features:
    """Rows of one, then of the other."""
    names = ("labels", "confidence", "tokens", "unknown", "truncated", "embedding")
    return Features(**{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names})
