"""Whether the traffic still looks like the rows that the bundle remembers, told text by text with a bound on error.

One detector each looks at the embedding, the predicted labels, confidence, length, and the share of unknown tokens. A
detector is a panel of bets against "nothing has changed" (`ftdeploy.serve.e_values`), each of which multiplies its
money by an e-value a text: at most 1 on average, as long as that is true. Their Shiryaev-Roberts sums
``M = (M + 1) * e``, averaged over the panel, are an e-detector. Where nothing has changed, M grows by at most 1 a text
on average, and an alarm at ``M >= ALARM / share`` takes at least so much away; so there are at most ``share / ALARM``
alarms a text on average. The shares of the detectors add up to 1, so all of them together keep to one alarm in ALARM
texts, however they depend on one another, whatever the rows' distribution, and in however many processes: each counts
its own texts. The bound holds where the reference's means are within three standard errors of the truth. Texts that
come sorted by what they are about are a change, and are told as one.

Source: Shin, Ramdas, Rinaldo, "E-detectors" (2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np

from ftdeploy.serve.about import DETECTORS, DriftState
from ftdeploy.serve.e_values import Directions, label_table, number_table
from ftdeploy.serve.exposition import Snapshot, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.serve.e_values import Floats

#: Texts between false alarms of all detectors, on average and at least.
ALARM = 10_000.0
#: Evidence from which on somebody looking at the page is told.
WATCHING = 1000.0
#: Texts after a detector's last alarm for which it stands; another one within them is the same alarm.
HOLD = 1000
#: Remembered rows that are needed to say anything.
LEAST_ROWS = 200

#: Shares of the false alarms. Nothing sees as many kinds of change as the embedding does.
_SHARES = {"embedding": 0.5, "labels": 0.125, "confidence": 0.125, "length": 0.125, "unknown_tokens": 0.125}
_TINY = 1e-9


class Drift(TypedDict):
    """What the detectors say: all together, and each; none where nothing is measured."""

    state: DriftState
    detectors: dict[str, DriftState]


class Texts(Protocol):
    """Answered texts, one entry each."""

    @property
    def labels(self) -> Sequence[str]:
        """Predicted."""

    @property
    def confidences(self) -> Sequence[float]:
        """Probability of the label."""

    @property
    def tokens(self) -> Sequence[int]:
        """Before cutting."""

    @property
    def unknown(self) -> Sequence[float]:
        """Share of unknown tokens."""


class DriftDetector:
    """Evidence of drift in one process's traffic; used by one thread, and read by others. Memory does not grow.

    Args:
        reference: of `ftdeploy.drift`: ``mean``, ``covariance`` and ``sample`` of the projected embedding, and the
            counts of labels, confidence, length and unknown tokens with their edges; those that are missing are not
            looked at.
        labels: names by class id.

    Attributes:
        seen: texts so far.
    """

    def __init__(self, reference: Mapping[str, NDArray[Any]], labels: Sequence[str]) -> None:
        values, vectors = np.linalg.eigh(reference["covariance"])
        kept = values > _TINY * values.max()
        self._mean = reference["mean"]
        self._whiten = vectors[:, kept] / np.sqrt(values[kept])
        white = (reference["sample"].astype(np.float64) - self._mean) @ self._whiten
        distances = (white**2).sum(axis=1)
        # Rows of equal distance from the middle fall into one bin; there are two more for what lies outside of all.
        self._distances = np.unique(np.quantile(distances, np.linspace(0, 1, 33)))
        self._spread = number_table(np.bincount(self._ring(distances), minlength=len(self._distances) + 1))
        self._directions = Directions(white)
        self._ids = {name: index for index, name in enumerate(labels)}
        self._tables, self._edges = _tables(reference)
        panels = {"embedding": self._directions.bets + self._spread.shape[1]}
        panels |= {name: table.shape[1] for name, table in self._tables.items()}
        self.names = tuple(panels)
        ends = np.cumsum(list(panels.values()))
        self._parts = [slice(end - size, end) for end, size in zip(ends, panels.values(), strict=True)]
        self._weights = np.zeros((int(ends[-1]), len(panels)))
        for column, (name, part) in enumerate(zip(panels, self._parts, strict=True)):
            self._weights[part, column] = _SHARES[name] / panels[name]
        self._sums = np.zeros(int(ends[-1]))
        self._evidence = np.zeros(len(panels))
        self._alarms = [0] * len(panels)
        self._alarmed = [-HOLD] * len(panels)
        self.seen = 0

    def watch(self, answered: Sequence[Texts], projected: Floats) -> None:
        """Look at the texts of answered requests.

        Args:
            answered: the requests.
            projected: embeddings of all their texts, in their order, shape (texts, size).
        """
        # A label of another bundle has no place here; requests have one bundle.
        labels = [self._ids[name] for one in answered for name in one.labels]
        columns = {
            "labels": np.array(labels, dtype=np.int64),
            "confidence": _column(one.confidences for one in answered),
            "length": _column(one.tokens for one in answered),
            "unknown_tokens": _column(one.unknown for one in answered),
        }
        self.update(projected, columns)

    def update(self, projected: Floats, columns: Mapping[str, NDArray[Any]]) -> None:
        """Look at some texts.

        Args:
            projected: embeddings, shape (texts, size).
            columns: ``labels``, class ids, ``confidence``, ``length`` in tokens, and ``unknown_tokens``, their share;
                each of shape (texts,). Only those that the reference knows are needed.
        """
        white = (projected - self._mean) @ self._whiten
        fixed = [self._spread[self._ring((white**2).sum(axis=1))]]
        for name, table in self._tables.items():
            values = columns[name]
            fixed.append(table[values if name == "labels" else _bins(values, self._edges[name])])
        growth = np.concatenate(fixed, axis=1)
        start = 0
        while start < len(white):
            part = slice(start, start + self._directions.room)
            self._add(np.concatenate([self._directions.of(white[part]), growth[part]], axis=1))
            start = part.stop

    def _add(self, growth: Floats) -> None:
        """Shiryaev-Roberts sums over a block: ``M_n = P_n (M_0 + sum of 1 / P_i over i < n)``."""
        product = np.multiply.accumulate(growth, axis=0)
        starts = np.empty_like(product)
        starts[0] = 1
        np.divide(1, product[:-1], out=starts[1:])
        sums = product * (self._sums + np.add.accumulate(starts, axis=0))
        evidence = sums @ self._weights
        if evidence.max() < ALARM:
            self._sums, self._evidence = sums[-1], evidence[-1]
            self.seen += len(growth)
            return
        for row in growth:  # an alarm begins a detector anew in the middle of the block
            self._sums = (self._sums + 1) * row
            self._evidence = self._sums @ self._weights
            self.seen += 1
            for column in np.flatnonzero(self._evidence >= ALARM):
                self._alarm(int(column))

    def _alarm(self, column: int) -> None:
        if self.seen - self._alarmed[column] >= HOLD:
            self._alarms[column] += 1
        self._alarmed[column] = self.seen
        self._sums[self._parts[column]] = 0

    def _ring(self, distances: Floats) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self._distances.searchsorted(distances)
        return found

    def states(self) -> dict[str, DriftState]:
        """What each detector says."""
        found: dict[str, DriftState] = {}
        for column, name in enumerate(self.names):
            stands = self._alarms[column] and self.seen - self._alarmed[column] < HOLD
            watching = self._evidence[column] >= WATCHING
            found[name] = "alarm" if stands else "watching" if watching else "none"
        return found

    def evidence(self) -> dict[str, float]:
        """Of each detector; ALARM is an alarm."""
        return dict(zip(self.names, self._evidence.tolist(), strict=True))

    def alarms(self) -> dict[str, int]:
        """Of each detector, so far."""
        return dict(zip(self.names, self._alarms, strict=True))


def drift_of(detector: DriftDetector | None) -> Drift:
    """What is told to people."""
    states = detector.states() if detector else {}
    order: tuple[DriftState, ...] = ("alarm", "watching", "none")
    return {"state": next((one for one in order if one in states.values()), "not measured"), "detectors": states}


def drift_snapshot(detector: DriftDetector | None) -> Snapshot:
    """What goes into the metrics; a detector that there is none of shows no evidence."""
    states, evidence, alarms = (
        (detector.states(), detector.evidence(), detector.alarms()) if detector else ({}, {}, {})
    )  # fmt: skip
    found: Snapshot = {}
    for name in DETECTORS:
        found[sample("ftdeploy_drift_evidence", detector=name)] = evidence.get(name, 0)
        found[sample("ftdeploy_drift_alarm", detector=name)] = int(states.get(name) == "alarm")
        found[sample("ftdeploy_drift_alarms_total", detector=name)] = alarms.get(name, 0)
    return found


def open_detector(reference: Path, labels: Sequence[str]) -> DriftDetector | None:
    """The detector for a bundle's drift reference; None where there is none, or too few rows to say anything.

    Args:
        reference: the file.
        labels: names by class id.
    """
    try:
        with np.load(reference, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
        rows, covariance = found["sample"], found["covariance"]
    except (OSError, ValueError, KeyError):
        return None
    usable = len(rows) >= LEAST_ROWS and bool(np.isfinite(covariance).all()) and covariance.trace() > 0
    return DriftDetector(found, labels) if usable else None


def _tables(reference: Mapping[str, NDArray[Any]]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """E-values by detector, and the inner edges of the bins of numbers."""
    tables, edges = {}, {}
    if "label_counts" in reference:
        tables["labels"] = label_table(reference["label_counts"])
    for name, key in (("confidence", "confidence"), ("length", "length"), ("unknown_tokens", "unknown")):
        if f"{key}_counts" in reference:
            tables[name] = number_table(reference[f"{key}_counts"])
            edges[name] = reference[f"{key}_edges"][1:-1]
    return tables, edges


def _bins(values: NDArray[Any], inner: Floats) -> NDArray[np.int64]:
    """Bins as `numpy.histogram` counts them, the outer ones without an end."""
    return inner.searchsorted(values, side="right")


def _column(parts: Iterator[Sequence[float]]) -> Floats:
    return np.fromiter(chain.from_iterable(parts), dtype=np.float64)
