"""What the validation rows say of a candidate: its scores, and by the gate whether it keeps the metric."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import Batching
from ftdeploy.compress.outcome import Flip, Scored, Status
from ftdeploy.encoded import Outputs
from ftdeploy.errors import ConfigError, FtdeployError
from ftdeploy.metrics import Ids, Metric, resolve
from ftdeploy.pairs import shown as shown_text
from ftdeploy.predictor import Predictor
from ftdeploy.session import reason_of
from ftdeploy.signature import Signature, Units
from ftdeploy.statistics import compare
from ftdeploy.tasks import Task
from ftdeploy.tasks.said import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Below this mean cosine a quantized model's embedding no longer follows fp32's, and drift detection would be blind.
SAME_EMBEDDING = 0.9


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of a candidate on the validation rows.

    Attributes:
        status: see `ftdeploy.compress.outcome.CandidateResult`; ``failed`` where the model could not be run.
        reason: in words.
        metrics: by name.
        outputs: logits and embeddings of the rows; None where it could not be run.
        speed: rows a second while they were scored: a first look, not a measurement.
        cosine: mean cosine between its embeddings and fp32's.
        right_to_wrong, wrong_to_right: rows.
    """

    status: Status
    reason: str
    metrics: Mapping[str, Scored]
    outputs: Outputs | None = None
    speed: float = 0.0
    cosine: float | None = None
    right_to_wrong: int | None = None
    wrong_to_right: int | None = None


@dataclass(frozen=True, kw_only=True)
class Jury:
    """The rows, and the rule.

    Attributes:
        texts, ids, references: of the validation rows; the true labels.
        labels: the network's outputs, by class id.
        task: of the recipe.
        max_drop: per metric.
        accept: see ``compress.accept``.
        batching: how the service batches.
        device: ``auto``, ``cpu`` or ``cuda``.
        seed: of the resampling.
        units: of the model, where an answer is a number.
        thresholds: from which probability on a label holds, at a temperature of 1, where any number may.
    """

    texts: Sequence[str]
    ids: Sequence[str]
    references: Sequence[str]
    labels: Sequence[str]
    task: Task
    max_drop: Mapping[str, float]
    accept: str
    batching: Batching
    device: str
    seed: int
    units: Units = field(default_factory=Units)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def ask(self, folder: Path, name: str) -> tuple[Outputs | None, str, float]:
        """Outputs of all rows, or why there are none; and rows a second."""
        try:
            predictor = Predictor(folder, threads=self.batching.threads, device=self.device)
            with progress.task(f"score {name}", len(self.texts)) as advance:
                began = time.perf_counter()
                outputs = predictor.predict(self.texts, batching=self.batching, advance=advance)
                took = time.perf_counter() - began
        except FtdeployError as error:
            return None, error.what, 0.0
        except Exception as error:  # noqa: BLE001  # onnxruntime's classes share no public base; it is this one's reason
            return None, reason_of(error), 0.0
        if not (np.isfinite(outputs.logits).all() and np.isfinite(outputs.embedding).all()):
            return None, "its answers are not numbers", 0.0
        return outputs, "", len(self.texts) / took

    def judge(self, folder: Path, base: Outputs, *, name: str, same_embedding: bool) -> Judged:
        """Score a candidate against fp32.

        Args:
            folder: its model folder.
            base: fp32's outputs.
            name: for progress.
            same_embedding: whether its embedding must follow fp32's. A student has one of its own, which the drift
                reference is computed from.
        """
        outputs, reason, speed = self.ask(folder, name)
        if outputs is None:
            return Judged(status="failed", reason=reason, metrics={})
        return self.hold(outputs, base, same_embedding=same_embedding, speed=speed)

    def hold(self, outputs: Outputs, base: Outputs, *, same_embedding: bool, speed: float = 0.0) -> Judged:
        """Hold outputs against fp32's."""
        table, (references, before, after) = self._numbered(base, outputs)
        metrics = self._metrics(table, references, before, after)
        cosine = _cosine(base.embedding, outputs.embedding)
        drops = [
            f"{name} {_moves(metrics[name])} by {metrics[name].loss:.4f}, allowed is {margin:g}"
            for name, margin in self.max_drop.items()
            if metrics[name].verdict == "fail"
        ]
        if same_embedding and cosine is not None and cosine < SAME_EMBEDDING:
            drops.append(f"its embedding no longer follows fp32's (mean cosine {cosine:.2f})")
        status, reason = self._status(metrics, drops)
        right_before, right_after = (self.task.right(table, references, one) for one in (before, after))
        return Judged(
            status=status,
            reason=reason,
            metrics=metrics,
            outputs=outputs,
            speed=speed,
            cosine=cosine,
            right_to_wrong=int((right_before & ~right_after).sum()),
            wrong_to_right=int((~right_before & right_after).sum()),
        )

    def flips(self, outputs: Outputs, base: Outputs) -> tuple[Flip, ...]:
        """The rows that one has right and the other wrong; those that got worse first."""
        table, (references, before, after) = self._numbered(base, outputs)
        right, now = (self.task.right(table, references, one) for one in (before, after))
        changed = np.flatnonzero(right != now)

        def shown(label: int, at: int) -> str:
            return self.task.show(table[label], self.texts[at])

        return tuple(
            Flip(id=self.ids[at], text=shown_text(self.texts[at]), label=shown(references[at], at),
                 fp32=shown(before[at], at), winner=shown(after[at], at))
            for at in sorted(changed.tolist(), key=lambda at: (not right[at], at))
        )  # fmt: skip

    def _signature(self) -> Signature:
        """As far as labels follow from logits: no temperature changes which is the likeliest, or which hold."""
        return Signature(name="jury", task=self.task.name, labels=tuple(self.labels), max_length=1, units=self.units,
                         thresholds=self.thresholds)  # fmt: skip

    def _numbered(self, base: Outputs, outputs: Outputs) -> tuple[Sequence[str], Sequence[Ids]]:
        """Class id -> label; and what is right, what fp32 says and what the other one says."""
        said = [self.task.said(one, self._signature()).labels for one in (base, outputs)]
        fixed = self.task.one_label
        return numbered(*self.task.compared(self.references, said), known=self.labels if fixed else ())

    def _metrics(self, table: Sequence[str], references: Ids, before: Ids, after: Ids) -> dict[str, Scored]:
        found = {}
        for name in dict.fromkeys((*self.task.metrics, *self.max_drop)):
            metric = _metric(name, table, self.task.known_names(self.labels))
            one = compare(metric, references, before, after, classes=len(table),
                          margin=self.max_drop.get(name, 1.0), seed=self.seed)  # fmt: skip
            found[name] = Scored(
                value=one.candidate, difference=one.difference, lower=one.lower, upper=one.upper, verdict=one.verdict,
                rows_to_decide=one.rows_to_decide, greater_is_better=metric.greater_is_better,
            )  # fmt: skip
        return found

    def _status(self, metrics: Mapping[str, Scored], drops: list[str]) -> tuple[Status, str]:
        if drops:
            return "dropped", "; ".join(drops)
        open_ = [name for name in self.max_drop if metrics[name].verdict == "inconclusive"]
        if not open_:
            return "kept", "within max_drop, by the gate"
        needed = max(metrics[name].rows_to_decide or 0 for name in open_)
        words = f"{' and '.join(open_)}: {len(self.texts):,} rows are too few to tell, about {needed:,} would do"
        worst = {name: metrics[name].loss for name in open_}
        if self.accept == "likely" and all(drop <= self.max_drop[name] / 2 for name, drop in worst.items()):
            return "undecided", f"likely within max_drop; {words}"
        fall = ", ".join(f"{name} {_moves(metrics[name])} by {drop:.4f}" for name, drop in worst.items())
        return "dropped", f"not shown to be within max_drop; {fall}; {words}"


def _moves(scored: Scored) -> str:
    """What a metric does that gets worse."""
    return "falls" if scored.greater_is_better else "rises"


def _metric(name: str, table: Sequence[str], names: Sequence[str]) -> Metric:
    """A metric of the recipe.

    Args:
        name: of the metric.
        table: class id -> label.
        names: that the labels are made of.

    Raises:
        ConfigError: these rows have none, or the model has no such label.
    """
    try:
        return resolve(name, table, names=names)
    except ValueError as error:
        raise ConfigError(
            f"compress.max_drop: {error}",
            cause="the recipe names a metric that the validation rows cannot have",
            fix="correct `compress.max_drop`",
        ) from error


def _cosine(before: NDArray[np.float32], after: NDArray[np.float32]) -> float | None:
    """Mean cosine between the rows of two arrays of shape (rows, width); None where the widths differ."""
    if before.shape != after.shape:
        return None
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return float(np.mean((before * after).sum(axis=1) / np.maximum(lengths, 1e-12)))
