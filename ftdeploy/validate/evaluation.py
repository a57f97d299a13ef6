"""One evaluation: two model folders, one suite, the same rows; everything that the report says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.artifact import sha256_file
from ftdeploy.batching import Batching
from ftdeploy.errors import ConfigError, Problem, did_you_mean
from ftdeploy.measure import MODEL_FILES, Cost, Measurement, cost_ratio, measure
from ftdeploy.metrics import METRICS, Ids
from ftdeploy.predictor import Predictor
from ftdeploy.signature import read_signature
from ftdeploy.statistics import compare, estimate
from ftdeploy.suite import Ratio, Suite
from ftdeploy.validate.answers import Answers, answer, confusion, flips, mended
from ftdeploy.validate.bias import gaps
from ftdeploy.validate.bias_swaps import counterfactuals
from ftdeploy.validate.crosscheck import crosscheck
from ftdeploy.validate.gates import Evidence, judge, overall
from ftdeploy.validate.slices import slices
from ftdeploy.verdict import Compared, Confusion, CostResult, GoldenResult, MetricResult, Report, Scored, SliceResult

if TYPE_CHECKING:
    import pyarrow as pa

_COSTS: tuple[Cost, ...] = ("throughput", "latency_p50", "latency_p95", "size")
#: Processes a model that its peak memory is taken over, where a gate wants it; fewer reach no bound at 95%.
_MEMORY_RUNS = 5
#: The keys of a signature that decide what a model answers.
_ANSWERING = {"task", "labels", "max_length", "pad_id", "inputs", "outputs", "temperature", "session"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model folder, and what it is called in the report."""

    folder: Path
    compared: Compared


def evaluate_models(suite: Suite, table: pa.Table, *, baseline: Subject, candidate: Subject, dataset: Compared,
                    name: str, task: str, seed: int, batching: Batching,
                    device: str = "auto") -> tuple[Report, Answers]:  # fmt: skip
    """Judge ``candidate`` against ``baseline``.

    Args:
        suite: the rules.
        table: the rows: columns ``text``, ``label``, ``id``, and further ones to cut them by.
        baseline, candidate: the models.
        dataset: where the rows come from.
        name, task: of the model, for the report.
        seed: of every resampling.
        batching: how the service runs a model.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: a golden row or a gap gate wants a label that the model does not have, or a gap gate a slice that
            the rows do not have.
        DataError: a row has a label that the model does not have.
        DependencyError: `evaluate` computes another metric from the same predictions.
    """
    _check_golden(suite, read_signature(candidate.folder).labels)
    before, after = (
        Predictor(subject.folder, threads=batching.threads, device=device) for subject in (baseline, candidate)
    )
    answers = answer(table, before, after, batching=batching)
    golden = _golden(suite, before, after)
    swapped = counterfactuals(suite, answers, before, after, batching=batching)
    names = tuple(dict.fromkeys((*suite.metrics, *after.task.metrics)))
    metrics = [_metric(metric, suite, answers, seed=seed) for metric in names]
    _crosscheck(metrics, answers)
    same = identical(baseline.folder, candidate.folder)
    # The same model is measured once and compared with itself: a ratio of one, without noise.
    folders = {"candidate": candidate.folder} | ({} if same else {"baseline": baseline.folder})
    measured = _measure(folders, answers.texts, suite, batching=batching, device=device)
    known: tuple[Cost, ...] = (*_COSTS, "memory") if _gates_memory(suite) else _COSTS
    costs = {cost: cost_ratio(*measured, cost, confidence=suite.confidence) for cost in known}
    evidence = Evidence(answers=answers, costs=costs, identical=same, timing_rows=suite.timing_rows, seed=seed)
    gates = judge(suite, evidence, golden)
    report = Report(
        name=name,
        task=task,
        suite=suite.name,
        verdict=overall(gates),
        rows=len(answers),
        confidence=suite.confidence,
        resamples=suite.resamples,
        identical=same,
        baseline=baseline.compared,
        candidate=candidate.compared,
        dataset=dataset,
        gates=tuple(gates),
        metrics=tuple(metrics),
        slices=tuple(sorted(_slices(names, suite, answers, seed=seed), key=lambda part: part.difference.value)),
        gaps=tuple(gaps(suite, answers)),
        swaps=tuple(swapped),
        costs=tuple(CostResult(**asdict(cost)) for cost in costs.values()),
        provider=measured[-1].provider,
        noise=measured[-1].noise,
        timing_rows=suite.timing_rows,
        timing_rounds=suite.timing_rounds,
        confusion=_confusion(answers),
        golden=tuple(golden),
        right_to_wrong=len(flips(answers)),
        wrong_to_right=mended(answers),
    )
    return report, answers


def identical(baseline: Path, candidate: Path) -> bool:
    """Whether two model folders must answer alike: equal files, and equal signatures as far as they decide answers."""
    first, second = (read_signature(folder).model_dump(include=_ANSWERING) for folder in (baseline, candidate))
    return first == second and _content(baseline) == _content(candidate)


def _content(folder: Path) -> dict[str, str]:
    return {name: sha256_file(folder / name) for name in MODEL_FILES if (folder / name).is_file()}


def _check_golden(suite: Suite, labels: Sequence[str]) -> None:
    problems = [
        Problem(path=f"golden[{index}].label", message=f"{row.label!r} is not a label of the model",
                hint=did_you_mean(row.label, labels))
        for index, row in enumerate(suite.golden)
        if row.label not in labels
    ]  # fmt: skip
    if problems:
        raise ConfigError(
            f"suite {suite.name}: {len(problems)} golden row(s) want a label that the model does not have",
            cause="the suite was written for another model, or a label is misspelt",
            fix="correct the labels of the suite's golden rows",
            problems=problems,
        )


def _golden(suite: Suite, baseline: Predictor, candidate: Predictor) -> list[GoldenResult]:
    """Each golden text alone, as a person would send it: batch-mates cannot excuse a wrong answer."""
    return [
        GoldenResult(text=row.text, label=row.label, baseline=_first(baseline, row.text),
                     candidate=_first(candidate, row.text))
        for row in suite.golden
    ]  # fmt: skip


def _first(model: Predictor, text: str) -> str:
    return str(model.task.decode(model.predict([text]).logits, model.signature, top_k=1)[0][0]["label"])


def _metric(name: str, suite: Suite, answers: Answers, *, seed: int, rows: Ids | None = None) -> MetricResult:
    """One metric of both models and its difference, over all rows or some of them."""
    metric, classes = METRICS[name], len(answers.labels)
    every = (answers.references, answers.baseline.predictions, answers.candidate.predictions)
    references, before, after = every if rows is None else (part[rows] for part in every)
    scored = partial(estimate, metric, references, classes=classes, confidence=suite.confidence,
                     resamples=suite.resamples, seed=seed)  # fmt: skip
    was, now = scored(predictions=before), scored(predictions=after)
    difference = compare(metric, references, before, after, classes=classes, margin=0.0,
                         confidence=suite.confidence, resamples=suite.resamples, seed=seed)  # fmt: skip
    return MetricResult(
        metric=name,
        baseline=Scored(**asdict(was)),
        candidate=Scored(**asdict(now)),
        difference=Scored(value=difference.difference, lower=difference.lower, upper=difference.upper),
    )


def _crosscheck(metrics: Sequence[MetricResult], answers: Answers) -> None:
    before = {found.metric: found.baseline.value for found in metrics}
    crosscheck(before, answers.references, answers.baseline.predictions)
    after = {found.metric: found.candidate.value for found in metrics}
    crosscheck(after, answers.references, answers.candidate.predictions)


def _slices(names: Sequence[str], suite: Suite, answers: Answers, *, seed: int) -> Iterator[SliceResult]:
    for part in slices(answers, least=suite.slice_rows):
        # Over rows of one true label, accuracy is that label's recall, and an average over labels says nothing.
        for name in ("accuracy",) if part.single_class else names:
            found = _metric(name, suite, answers, seed=seed, rows=part.rows)
            yield SliceResult(**dict(found), slice=part.slice, value=part.value, rows=len(part.rows))


def _gates_memory(suite: Suite) -> bool:
    return any(isinstance(gate, Ratio) and gate.metric == "memory" for gate in suite.gates)


def _measure(folders: dict[str, Path], texts: Sequence[str], suite: Suite, *, batching: Batching,
             device: str) -> tuple[Measurement, Measurement]:  # fmt: skip
    runs = _MEMORY_RUNS if _gates_memory(suite) else 0
    measured = measure(folders, texts, rounds=suite.timing_rounds, rows=suite.timing_rows, batching=batching,
                       device=device, memory_runs=runs)  # fmt: skip
    return measured.get("baseline", measured["candidate"]), measured["candidate"]


def _confusion(answers: Answers) -> Confusion:
    classes = len(answers.labels)
    return Confusion(
        labels=tuple(answers.labels),
        baseline=confusion(answers.references, answers.baseline.predictions, classes),
        candidate=confusion(answers.references, answers.candidate.predictions, classes),
    )
