"""compress: make candidates, measure each on this machine, keep the best that keeps the metric.

Quality is judged on the validation rows, never on test; speed and size are measured side by side in one run. When
nothing is better, the fp32 model goes on, and says so.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.compress.build import Built, build_all
from ftdeploy.compress.candidates import CANDIDATES, FP32, Candidate
from ftdeploy.dataset import label_names, read_split
from ftdeploy.errors import CompressionError, FtdeployError
from ftdeploy.hardware import choose_provider, cpu_flags, processors
from ftdeploy.measure import Measurement, measure
from ftdeploy.metrics import METRICS, Ids
from ftdeploy.predictor import Outputs, Predictor
from ftdeploy.recipe import CompressSettings, Device, Recipe, ServeSettings
from ftdeploy.stage import Facts, stage
from ftdeploy.statistics import compare
from ftdeploy.tasks import TASKS, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.batching import Batching


#: Below this mean cosine a candidate's embedding no longer follows fp32's, and drift detection would be blind.
SAME_EMBEDDING = 0.9


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one candidate.

    Attributes:
        name: the candidate's.
        status: ``kept`` (within max_drop), ``dropped`` (scores too low), ``failed`` (the tool or the model).
        reason: in words.
        metrics: on the validation rows.
        intervals: one-sided 95% bounds of the paired difference to fp32, per metric, as (lower, upper).
        flips: validation rows whose predicted class is another than fp32's.
        embedding_cosine: mean cosine between its embeddings and fp32's; 1 is the same direction.
        measured: speed and size; None when it was not worth measuring.
    """

    name: str
    status: str
    reason: str
    metrics: Mapping[str, float] | None = None
    intervals: Mapping[str, tuple[float, float]] | None = None
    flips: int | None = None
    embedding_cosine: float | None = None
    measured: Measurement | None = None


def _outside(recipe: Recipe) -> Mapping[str, str]:
    # Measured on this processor: another one may choose otherwise.
    wide = sorted(flag for flag in cpu_flags() if "avx" in flag or "amx" in flag)
    provider = choose_provider(recipe.device).name
    return {"provider": provider, "processors": str(processors()), "cpu": ",".join(wide)}


@stage(writes="compressed", version=1, outside=_outside,
       libraries=("onnxruntime", "onnx", "neural-compressor", "optimum-onnx"))  # fmt: skip
def compress(checkpoint: Artifact, onnx: Artifact, dataset: Artifact, *, compress: CompressSettings,
             serve: ServeSettings, device: Device, task: str, seed: int, out: Path, work: Path) -> Facts:  # fmt: skip
    """Choose among the candidates of the recipe; ``candidates.json`` tells what became of each.

    Raises:
        CompressionError: not even the fp32 model could be run.
    """
    names = tuple(CANDIDATES) if compress.candidates == "auto" else compress.candidates
    wanted = [FP32, *(CANDIDATES[name] for name in names if name != FP32.name)]
    built = build_all(wanted, onnx, checkpoint.file("config.json"), work)
    provider = choose_provider(device)
    progress.say(f"measuring on {provider.name} ({provider.reason})")
    how = _How(settings=compress, batching=serve.batching(), device=device, seed=seed)
    trials = _judge(built, dataset, TASKS[task], how)
    folders = {b.candidate.name: b.folder for b in built if b.folder is not None}
    kept = {trial.name: folders[trial.name] for trial in trials if trial.status == "kept"}
    if FP32.name not in kept:
        raise CompressionError(
            f"the fp32 model could not be run: {trials[0].reason}",
            cause="onnxruntime cannot run the export on this machine",
            fix="install the onnxruntime of constraints.txt; `ftdeploy doctor` says what is there",
        )
    texts = read_split(dataset, "validation")["text"].to_pylist()
    measured = measure(kept, texts, rounds=compress.rounds, rows=compress.rows, batching=how.batching, device=device)
    trials = [replace(trial, measured=measured.get(trial.name)) for trial in trials]
    winner = choose([trial for trial in trials if trial.measured is not None], compress)
    for name in ("model.onnx", "tokenizer.json", "signature.json"):
        shutil.copyfile(folders[winner.name] / name, out / name)
    return _report(trials, winner, compress, out)


def choose(trials: Sequence[Trial], settings: CompressSettings) -> Trial:
    """The best of the measured trials; the first one is fp32.

    Whoever is within ``min_gain`` of the best at the objective counts as equally good at it, and among those the
    score on the validation rows decides: noise of a few percent must not choose the model. A candidate that is no
    better than fp32 is never chosen.

    Speed is judged by each one's best round. Neighbours on the machine only ever take time away, and from int8 more
    than from fp32 (its operators are short and wait for one another), so the best rounds are closest to the truth.
    """
    base = _measurement(trials[0])

    def gain(trial: Trial) -> float:
        now = _measurement(trial)
        if settings.objective == "smallest":
            return base.size / now.size
        return max(now.throughputs) / max(base.throughputs)

    best = max(gain(trial) for trial in trials)
    if best < settings.min_gain:
        return trials[0]
    good = [trial for trial in trials if gain(trial) * settings.min_gain >= best and gain(trial) > 1]
    return max(good, key=lambda trial: tuple((trial.metrics or {}).values()))


def _measurement(trial: Trial) -> Measurement:
    if trial.measured is None:
        raise ValueError(f"{trial.name} was not measured")
    return trial.measured


@dataclass(frozen=True, kw_only=True)
class _How:
    settings: CompressSettings
    batching: Batching
    device: Device
    seed: int


def _judge(built: Sequence[Built], dataset: Artifact, task: Task, how: _How) -> list[Trial]:
    """Predict the validation rows with every candidate and hold the scores against fp32's."""
    table = read_split(dataset, "validation")
    texts, labels = table["text"].to_pylist(), label_names(dataset)
    references = task.targets(table["label"].to_pylist(), labels)
    trials: list[Trial] = []
    base: Outputs | None = None
    with progress.task("score candidates", len(built) * len(texts)) as advance:
        for one in built:
            outputs, reason = _outputs(one, texts, how, advance)
            if base is None:
                base = outputs  # the first is fp32
            if outputs is None or base is None:
                trials.append(Trial(name=one.candidate.name, status="failed", reason=reason))
            else:
                trials.append(
                    _score(
                        one.candidate, references, base, outputs,
                        classes=len(labels), task=task, settings=how.settings, seed=how.seed,
                    )
                )  # fmt: skip
    return trials


def _outputs(one: Built, texts: list[str], how: _How, advance: progress.Advance) -> tuple[Outputs | None, str]:
    if one.folder is None:
        return None, one.reason
    try:
        predictor = Predictor(one.folder, threads=how.batching.threads, device=how.device)
        outputs = predictor.predict(texts, batching=how.batching, advance=advance)
    except FtdeployError as error:
        return None, error.what
    except Exception as error:  # noqa: BLE001  # onnxruntime's classes share no public base; it is this candidate's reason
        return None, str(error).splitlines()[0][:300]
    if not (np.isfinite(outputs.logits).all() and np.isfinite(outputs.embedding).all()):
        return None, "its answers are not numbers"
    return outputs, ""


def _score(candidate: Candidate, references: Ids, base: Outputs, outputs: Outputs, *, classes: int, task: Task,
           settings: CompressSettings, seed: int) -> Trial:  # fmt: skip
    found, intervals, drops = {}, {}, []
    before, after = task.predictions(base.logits), task.predictions(outputs.logits)
    cosine = _cosine(base.embedding, outputs.embedding)
    if cosine < SAME_EMBEDDING:
        drops.append(f"its embedding no longer follows fp32's (mean cosine {cosine:.2f})")
    for name in dict.fromkeys((*task.metrics, *settings.max_drop)):
        margin = settings.max_drop.get(name, 1.0)
        compared = compare(METRICS[name], references, before, after, classes=classes, margin=margin, seed=seed)
        found[name] = compared.candidate
        intervals[name] = (compared.lower, compared.upper)
        if name in settings.max_drop and -compared.difference > settings.max_drop[name]:
            drops.append(f"{name} falls by {-compared.difference:.4f}, allowed is {settings.max_drop[name]:g}")
    return Trial(
        name=candidate.name,
        status="dropped" if drops else "kept",
        reason="; ".join(drops) or "within max_drop",
        metrics=found,
        intervals=intervals,
        flips=int((before != after).sum()),
        embedding_cosine=cosine,
    )


def _cosine(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Mean cosine between the rows of two arrays of shape (rows, width)."""
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return float(np.mean((before * after).sum(axis=1) / np.maximum(lengths, 1e-12)))


def _report(trials: list[Trial], winner: Trial, settings: CompressSettings, out: Path) -> Facts:
    base, best = _measurement(trials[0]), _measurement(winner)
    ratios = [b / a for a, b in zip(base.throughputs, best.throughputs, strict=True)]
    speedup, smaller = float(np.median(ratios)), base.size / best.size
    document: dict[str, Any] = {
        "winner": winner.name,
        "objective": settings.objective,
        "min_gain": settings.min_gain,
        "max_drop": dict(settings.max_drop),
        "candidates": [asdict(trial) for trial in trials],
    }
    (out / "candidates.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for trial in trials:
        progress.say(_line(trial, base))
    note = "" if winner.name != FP32.name else " (no candidate was better than fp32, so fp32 goes on)"
    progress.say(f"winner: {winner.name}, {speedup:.2f}x the throughput of fp32, {smaller:.2f}x smaller{note}")
    scores = {f"validation_{name}": value for name, value in (winner.metrics or {}).items()}
    costs = {"speedup": speedup, "times_smaller": smaller, "bytes": best.size}
    return {"winner": winner.name, **costs, **scores, "embedding_cosine": winner.embedding_cosine or 0.0}


def _line(trial: Trial, base: Measurement) -> str:
    if trial.measured is None:
        return f"{trial.name}: {trial.status}, {trial.reason}"
    scores = ", ".join(f"{name} {value:.4f}" for name, value in (trial.metrics or {}).items())
    return (
        f"{trial.name}: {scores}, {trial.measured.throughput:.0f} rows/s "
        f"({trial.measured.throughput / base.throughput:.2f}x), {trial.measured.size / 1e6:.1f} MB"
    )
