"""A drift report out of a window: tests, change points, accuracy, labels, parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from ftdeploy.metrics import resolve
from ftdeploy.monitor.accuracy import estimate_accuracy, estimates, prequential, wilson
from ftdeploy.monitor.change import change_points
from ftdeploy.monitor.judge import Tested, judge_window
from ftdeploy.monitor.label_shift import label_shift
from ftdeploy.monitor.options import MonitorOptions
from ftdeploy.monitor.result import (
    ChangeResult,
    FeedbackResult,
    LabelShare,
    MeasuredResult,
    MonitorReport,
    PartResult,
)  # fmt: skip
from ftdeploy.statistics import estimate
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.metrics import Floats, Ids
    from ftdeploy.monitor.window import Window
    from ftdeploy.signature import Signature
    from ftdeploy.tasks import Task

_PARTS = 20
_LEAST_PART = 25
_CURVE = 200
#: Of metrics of whole answers: bootstrap resamples, and fewest rows.
_RESAMPLES, _LEAST_MEASURED = 2000, 10
#: Labels, and languages, that are told one by one.
_MOST = 20


def make_report(reference: Mapping[str, NDArray[Any]], window: Window, signature: Signature, options: MonitorOptions, *,
                digest: str, seed: int, now: datetime) -> tuple[MonitorReport, Floats]:  # fmt: skip
    """The report, and the classifier's score of each row (zeros where rows are too few).

    Args:
        reference: of `ftdeploy.drift`.
        window: the traffic.
        signature: of the bundle.
        options: level, smallest effect, fewest rows.
        digest: of the bundle.
        seed: of everything that is drawn.
        now: for the report.
    """
    about: dict[str, Any] = {
        "name": signature.name,
        "digest": digest,
        "created": _utc(now.timestamp()),
        "first": _utc(window.times[0]) if len(window) else None,
        "last": _utc(window.times[-1]) if len(window) else None,
        "rows": len(window),
        "skipped": window.skipped,
        "reference_rows": int(reference["rows"]),
        "level": options.level,
        "min_effect": options.min_effect,
        "min_rows": options.min_rows,
        "feedback": _feedback(window),
        **_measured(window, TASKS[signature.task], seed=seed),
    }
    if len(window) < options.min_rows:
        summary = f"{len(window)} rows are too few for a verdict: at least {options.min_rows} are wanted."
        if window.skipped:
            summary += f" {window.skipped:,} more are left out, as another bundle answered them."
        return MonitorReport(verdict="inconclusive", summary=summary, **about), np.zeros(len(window))
    tested = judge_window(reference, window.features, options, seed=seed)
    scores = tested.classified.scores
    found = estimate_accuracy(reference, window.features, magnitude=tested.classified.effect,
                              tolerance=options.accuracy_tolerance)  # fmt: skip
    changes = [
        ChangeResult(time=_utc(window.times[one.row]), lower=_utc(window.times[one.lower]),
                     upper=_utc(window.times[one.upper]), row=one.row, p=one.p, effect=one.effect)
        for one in change_points(scores, seed=seed, level=options.level, least_effect=options.min_effect)
    ]  # fmt: skip
    names = TASKS[signature.task].summaries(signature.labels)
    labels, identified = _labels(reference, window, names, seed=seed)
    report = MonitorReport(
        verdict="drift" if tested.drifted else "none",
        summary=_summary(tested, changes),
        tests=tested.tests,
        changes=tuple(changes),
        accuracy=found,
        labels=labels,
        labels_identified=identified,
        timeline=tuple(_timeline(reference, window, scores)),
        slices=tuple(_slices(reference, window, scores, names)),
        **about,
    )
    return report, scores


def _summary(tested: Tested, changes: Sequence[ChangeResult]) -> str:
    drifted = tested.drifted
    if not drifted:
        same = sum(test.state == "same" for test in tested.tests)
        return f"No drift was found; of {len(tested.tests)} tests {same} rule out a difference that matters."
    names = ", ".join(test.name for test in drifted)
    away = [one for one in changes if one.effect > 0]
    since = (
        f", since about {away[0].time[:16].replace('T', ' ')} UTC"
        if away
        else ", from the first row on"
        if not changes
        else ""
    )
    return f"The traffic has drifted ({names}){since}."


def _feedback(window: Window) -> FeedbackResult | None:
    known = np.flatnonzero(window.truths >= 0)
    if not len(known):
        return None
    hits = window.truths[known] == window.features.labels[known]
    right = int(hits.sum())
    lower, upper = wilson(right, len(known))
    curve = prequential(hits)
    shown = np.unique(np.linspace(0, len(known) - 1, min(_CURVE, len(known))).astype(np.int64))
    return FeedbackResult(rows=len(known), right=right, value=right / len(known), lower=lower, upper=upper,
                          curve=tuple((_utc(window.times[known[n]]), float(curve[n])) for n in shown))  # fmt: skip


def _measured(window: Window, task: Task, *, seed: int) -> dict[str, Any]:
    """The task's metrics of whole answers, where these were recorded and true labels came back."""
    pairs = [(true, said) for true, said in zip(window.told, window.answers, strict=True)
             if true is not None and said is not None]  # fmt: skip
    if task.one_label or task.vectors or len(pairs) < _LEAST_MEASURED:
        return {}
    truths, answers = map(list, zip(*pairs, strict=True))
    table, (references, predictions) = numbered(*task.compared(truths, [answers]))

    def measured(name: str) -> MeasuredResult:
        found = estimate(resolve(name, table), references, predictions, len(table), resamples=_RESAMPLES, seed=seed)
        return MeasuredResult(metric=name, value=found.value, lower=found.lower, upper=found.upper)

    return {"measured": tuple(map(measured, task.measures)), "measured_rows": len(pairs)}


def _labels(reference: Mapping[str, NDArray[Any]], window: Window, names: Sequence[str], *,
            seed: int) -> tuple[tuple[LabelShare, ...], bool | None]:  # fmt: skip
    if "label_counts" not in reference:  # of a model that answers with vectors
        return (), None
    before = reference["label_counts"] / reference["label_counts"].sum()
    counts = np.bincount(window.features.labels, minlength=len(names)).astype(np.int64)
    now = counts / counts.sum()
    shares: list[dict[str, Any]] = [
        {"label": name, "predicted_reference": float(before[n]), "predicted": float(now[n])}
        for n, name in enumerate(names)
    ]
    if "confusion" not in reference:
        return tuple(LabelShare.model_validate(share) for share in shares), None
    found = label_shift(reference["confusion"], counts, seed=seed)
    for n, share in enumerate(shares):
        share |= {"true_reference": float(found.reference[n]), "estimated": float(found.shares[n]),
                  "lower": float(found.lower[n]), "upper": float(found.upper[n])}  # fmt: skip
    shares.sort(key=lambda share: -abs(share["predicted"] - share["predicted_reference"]))
    return tuple(LabelShare.model_validate(share) for share in shares), found.identified


def _timeline(reference: Mapping[str, NDArray[Any]], window: Window, scores: Floats) -> Iterator[PartResult]:
    parts = max(1, min(_PARTS, len(window) // _LEAST_PART))
    for rows in np.array_split(np.arange(len(window)), parts):
        yield _part(_utc(window.times[rows[0]]), rows, reference, window, scores)


def _slices(reference: Mapping[str, NDArray[Any]], window: Window, scores: Floats,
            names: Sequence[str]) -> Iterator[PartResult]:  # fmt: skip
    """By thirds of the reference's lengths, predicted label, and language; the commonest ones."""
    edges, counts = reference["length_edges"], reference["length_counts"]
    places = np.searchsorted(np.cumsum(counts) / counts.sum(), [1 / 3, 2 / 3])
    short, long = (float(edges[place + 1]) for place in places)
    tokens, labels = window.features.tokens, window.features.labels
    cut: list[tuple[str, NDArray[np.bool_]]] = [
        (f"length: under {short:g} tokens", tokens < short),
        (f"length: {short:g} to {long:g} tokens", (tokens >= short) & (tokens < long)),
        (f"length: {long:g} tokens and more", tokens >= long),
    ]
    common = np.argsort(-np.bincount(labels, minlength=len(names)), kind="stable")[:_MOST]
    cut += [(f"predicted: {names[label]}", labels == label) for label in common]
    spoken = np.array(window.languages)
    found, often = np.unique(spoken[spoken != ""], return_counts=True)
    cut += [(f"language: {found[n]}", spoken == found[n]) for n in np.argsort(-often, kind="stable")[:_MOST]]
    for name, mask in cut:
        rows = np.flatnonzero(mask)
        if len(rows):
            yield _part(name, rows, reference, window, scores)


def _part(name: str, rows: Ids, reference: Mapping[str, NDArray[Any]], window: Window, scores: Floats) -> PartResult:
    features = window.features.take(rows)
    truths = window.truths[rows]
    known = truths >= 0
    right, labelled = int((truths[known] == features.labels[known]).sum()), int(known.sum())
    lower, upper = wilson(right, labelled)
    return PartResult(
        name=name,
        rows=len(rows),
        share=len(rows) / len(window),
        confidence=float(features.confidence.mean()),
        score=float(expit(scores[rows]).mean()),
        estimated=float(estimates(reference, features)[0]) if "confusion" in reference else None,
        labelled=labelled,
        accuracy=right / labelled if labelled else None,
        lower=lower if labelled else None,
        upper=upper if labelled else None,
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
