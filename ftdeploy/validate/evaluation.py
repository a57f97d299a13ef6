"""One evaluation: two models, one suite, the same rows; everything that the report says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy import progress
from ftdeploy.artifact import sha256_file
from ftdeploy.batching import SERVED, Batching
from ftdeploy.errors import ConfigError, ModelError, Problem, did_you_mean
from ftdeploy.measure import MODEL_FILES, CostRatio, Measurement, cost_ratio, measure, measured_costs
from ftdeploy.models.model import Model
from ftdeploy.models.predictions import predict, text_digest
from ftdeploy.pairs import shown as shown_text
from ftdeploy.signature import read_signature
from ftdeploy.suite import Directional, Ratio, RatioName, Suite, wants_baseline
from ftdeploy.suite_fit import metrics_named, misfits, wanted
from ftdeploy.tasks import TASKS, Task
from ftdeploy.validate.answers import Answers, Subject, answer, flips, mended, subjects
from ftdeploy.validate.bias import gaps
from ftdeploy.validate.bias_swaps import counterfactuals
from ftdeploy.validate.confused import confused
from ftdeploy.validate.gates import Evidence, judge, overall
from ftdeploy.validate.reliability import reliability
from ftdeploy.validate.robustness import ask_again, results
from ftdeploy.validate.scores import crosschecked, scored
from ftdeploy.validate.slices import slices
from ftdeploy.verdict import (
    CaseResult,
    Compared,
    CostResult,
    GoldenResult,
    Report,
    SliceResult,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

#: Processes a model that its peak memory is taken over, where a gate wants it; fewer reach no bound at 95%.
_MEMORY_RUNS = 5
#: The keys of a signature that decide what a model answers.
_ANSWERING = {"task", "labels", "max_length", "windows", "pad_id", "inputs", "outputs", "temperature",
              "units", "session"}  # fmt: skip


def evaluate_models(suite: Suite, table: pa.Table, *, candidate: Model, baseline: Model | None, dataset: Compared,
                    name: str, task: str, pairs: bool = False, batching: Batching = SERVED, device: str = "auto",
                    cases: Sequence[CaseResult] = (), cache: Path | None = None, refresh: bool = False,
                    created: str | None = None) -> tuple[Report, Answers]:  # fmt: skip
    """Judge ``candidate`` against ``baseline``.

    Args:
        suite: the rules; its seed is that of every resampling, sample and perturbation.
        table: the rows: columns ``text``, ``label``, ``id``, and further ones to cut them by; ``case`` says which of
            the suite's cases a row is of, where there are several.
        candidate: the model that is judged.
        baseline: what it is held against. None judges the candidate alone: gates that hold one against the other are
            not asked, and the report calls itself absolute.
        dataset: where the rows come from.
        name, task: of the model, for the report.
        pairs: whether the rows' texts are two each, joined (`ftdeploy.pairs`).
        batching: how model folders are run when they are measured.
        device: ``auto``, ``cpu`` or ``cuda``, likewise.
        cases: where the rows come from, case by case, for the report.
        cache: where answers are kept (`ftdeploy.models.predictions`); None keeps none.
        refresh: ask the models again, whatever is kept.
        created: when, for the report.

    Returns:
        The report, and the answers that it was made from.

    Raises:
        ConfigError: a gate or a golden row wants a label that the models do not have, or a slice or a case that the
            rows do not have.
        DataError: a row has a label that the models do not have.
        ModelError: only one of the models has some label, a model reads pairs where the others or the rows are single
            texts, or one answers with what is no number.
        DependencyError: `evaluate` computes another metric from the same predictions.
    """
    absolute = baseline is None
    suite = _asked(suite) if absolute else suite
    same = baseline is None or identical(baseline, candidate)
    # A model that must answer alike is asked once, measured once, and compared with itself: a ratio of one, no noise.
    before, after = subjects(candidate if same or baseline is None else baseline, candidate, TASKS[task])
    _check_task(suite, TASKS[task])
    if TASKS[task].one_label:
        _check_labels(suite, candidate.labels)
    else:
        _check_parts(suite, TASKS[task].known_names(candidate.labels))
    _check_pairs(suite, (before.model, after.model), pairs=pairs)
    answers = _answers(table, before, after, task=task, cache=cache, refresh=refresh)
    golden = _golden(suite, before, after)
    named = suite.metrics if "metrics" in suite.model_fields_set else ()
    names = tuple(dict.fromkeys((*named, *TASKS[task].metrics)))
    metrics = [scored(metric, suite, answers) for metric in names]
    if answers.task.one_label:  # the modules of `evaluate` read tags, which nobody has here
        crosschecked(metrics, answers)
    asked = ask_again(suite, answers, before, after)
    swapped = counterfactuals(suite, answers, before, after)
    measured = _measure(suite, answers.texts, before.model, candidate, batching=batching, device=device)
    costs = {cost: cost_ratio(*measured, cost, confidence=suite.confidence) for cost in measured_costs(*measured)}
    evidence = Evidence(answers=answers, costs=costs, identical=same, timing_rows=suite.timing_rows, asked=asked)
    gates = judge(suite, evidence, golden)
    report = Report(
        created=created,
        name=name,
        task=task,
        suite=suite.name,
        verdict=overall(gates),
        rows=len(answers),
        confidence=suite.confidence,
        resamples=suite.resamples,
        identical=same and not absolute,
        absolute=absolute,
        baseline=described(candidate if baseline is None else baseline),
        candidate=described(candidate),
        dataset=dataset,
        cases=tuple(cases),
        gates=tuple(gates),
        metrics=tuple(metrics),
        slices=tuple(sorted(_slices(names, suite, answers), key=lambda part: part.difference.value)),
        gaps=tuple(gaps(suite, answers)),
        swaps=tuple(swapped),
        robustness=results(asked, suite.confidence),
        reliability=reliability(answers),
        costs=tuple(_cost(cost, *measured) for cost in costs.values()),
        provider=measured[-1].provider,
        noise=measured[-1].noise,
        timing_rows=suite.timing_rows,
        timing_rounds=suite.timing_rounds,
        confusion=confused(answers),
        golden=tuple(golden),
        right_to_wrong=len(flips(answers)),
        wrong_to_right=mended(answers),
    )
    return report, answers


def described(model: Model) -> Compared:
    """A model for the report."""
    return Compared(made_by=model.about, digest=model.digest, name=model.name, kind=model.kind)


def identical(baseline: Model, candidate: Model) -> bool:
    """Whether two models must answer alike: run alike, with equal files and equal signatures as far as they decide
    answers; or, of what is no model folder, with one digest."""
    if baseline is candidate:
        return True
    if baseline.labels != candidate.labels or baseline.conditions != candidate.conditions:
        return False
    first, second = baseline.folder, candidate.folder
    if first is None or second is None:
        return baseline.cacheable and candidate.cacheable and baseline.digest == candidate.digest
    return _signed(first) == _signed(second) and _content(first) == _content(second)


def _signed(folder: Path) -> dict[str, Any]:
    """What its signature says of its answers; a fallback is put before them, and not judged."""
    signature = read_signature(folder)
    sets = {"thresholds"} if TASKS[signature.task].multi_label else set()
    return signature.model_dump(include=_ANSWERING | sets)


def _content(folder: Path) -> dict[str, str]:
    return {name: sha256_file(folder / name) for name in MODEL_FILES if (folder / name).is_file()}


def _asked(suite: Suite) -> Suite:
    """The suite without the gates that hold one model against another."""
    left = tuple(gate for gate in suite.gates if not wants_baseline(gate))
    skipped = len(suite.gates) - len(left)
    if skipped:
        progress.say(f"{skipped} of {len(suite.gates)} gates compare with a baseline, and are not asked without one")
    return suite.model_copy(update={"gates": left})


def _check_labels(suite: Suite, labels: Sequence[str]) -> None:
    """Whether the models have the labels that golden rows and directional gates name.

    Raises:
        ConfigError: with every one that they do not have.
    """
    wanted = {f"golden[{index}].label": row.label for index, row in enumerate(suite.golden)}
    wanted |= {
        f"gates[{index}].label": gate.label for index, gate in enumerate(suite.gates) if isinstance(gate, Directional)
    }
    _refuse_labels(suite, wanted.items(), labels, who="golden row(s) or gate(s) want")


def _check_parts(suite: Suite, names: Sequence[str]) -> None:
    """Whether the models have the labels or kinds that metrics name, where an answer is made of them.

    Args:
        suite: whose metrics they are.
        names: that the models have; none where they do not say.

    Raises:
        ConfigError: with every metric of one that they do not have. It would be 0 of both models, and no difference
            fails no gate.
    """
    parts = ((path, name.partition(":")[2]) for path, name in metrics_named(suite))
    if names:
        _refuse_labels(suite, ((path, label) for path, label in parts if label), names, who="metric(s) are of")


def _refuse_labels(suite: Suite, wanted: Iterable[tuple[str, str]], labels: Sequence[str], *, who: str) -> None:
    """Tell of all labels that a suite wants and the models do not have.

    Args:
        suite: whose they are.
        wanted: (path, label).
        labels: of the models.
        who: wants them, with the verb.
    """
    problems = [
        Problem(path=path, message=f"{label!r} is not a label of the model", hint=did_you_mean(label, labels))
        for path, label in wanted
        if label not in labels
    ]
    if problems:
        raise ConfigError(
            f"suite {suite.name}: {len(problems)} {who} a label that the model does not have",
            cause="the suite was written for another model, or a label is misspelt",
            fix="correct the labels of the suite",
            problems=problems,
        )


def _check_task(suite: Suite, task: Task) -> None:
    """Whether a suite asks of a task's answers what can be asked of them.

    Raises:
        ConfigError: with every gate or metric that is made for another task.
    """
    problems = misfits(suite, task)
    if problems:
        raise ConfigError(
            f"suite {suite.name}: {len(problems)} metric(s) or gate(s) are not made for {task.name}",
            cause="the suite was written for another task",
            fix=wanted(task),
            problems=problems,
        )


def _check_pairs(suite: Suite, models: Sequence[Model], *, pairs: bool) -> None:
    """Whether rows and golden rows are what the models read: single texts, or two each."""
    for model in models:
        if model.pairs is not None and model.pairs != pairs:
            read, have = ("two texts a row", "one") if model.pairs else ("single texts", "two each")
            raise ModelError(
                f"{model.name} reads {read}, and the rows have {have}",
                cause="`columns.text_pair` of the suite's cases names the column of a second text, or should",
                fix="name the second text's column there, or leave it out; or judge a model that was made for them",
            )
    wrong = [place for place, row in enumerate(suite.golden) if (row.text_pair is not None) != pairs]
    if wrong:
        wanted = "a golden row wants its second text, `text_pair`" if pairs else "a golden row has one text"
        raise ConfigError(
            f"suite {suite.name}: {len(wrong)} golden row(s) have {'one text' if pairs else 'two texts'}, and the "
            f"model reads {'two' if pairs else 'single ones'}",
            cause="the golden rows were written for another model",
            fix="give each a `text_pair`" if pairs else "leave `text_pair` out",
            problems=[Problem(path=f"golden[{place}]", message=wanted) for place in wrong],
        )


def _answers(table: pa.Table, before: Subject, after: Subject, *, task: str, cache: Path | None,
             refresh: bool) -> Answers:  # fmt: skip
    digest = text_digest(table["text"]) if cache else ""
    models = 1 if before is after else 2
    with progress.task("predict", total=models * table.num_rows) as advance:

        def ask(model: Model) -> NDArray[np.float32]:
            return predict(model, table["text"], data_digest=digest, cache=cache, refresh=refresh, advance=advance)

        return answer(table, before, after, task=TASKS[task], ask=ask)


def _golden(suite: Suite, baseline: Subject, candidate: Subject) -> list[GoldenResult]:
    """Each golden text alone, as a person would send it: batch-mates cannot excuse a wrong answer."""
    if not suite.golden:
        return []
    texts = [row.whole for row in suite.golden]

    def shown(model: Subject) -> list[str]:
        return [model.task.show(label, text) for label, text in zip(model.alone(texts).labels, texts, strict=True)]

    now = shown(candidate)
    was = now if baseline is candidate else shown(baseline)
    return [
        GoldenResult(text=shown_text(row.whole), label=row.label, baseline=before, candidate=after)
        for row, before, after in zip(suite.golden, was, now, strict=True)
    ]


def _slices(names: Sequence[str], suite: Suite, answers: Answers) -> Iterator[SliceResult]:
    for part in slices(answers, least=suite.slice_rows):
        some = answers.take(part.rows)
        # Over rows of one true label, accuracy is that label's recall, and an average over labels says nothing; numbers
        # that are all equal are not told apart by anything.
        alone = () if answers.task.number else ("accuracy",)
        for name in alone if part.single_class else names:
            found = scored(name, suite, some)
            yield SliceResult(**dict(found), slice=part.slice, value=part.value, rows=len(part.rows))


def _gated(suite: Suite, cost: RatioName) -> bool:
    return any(isinstance(gate, Ratio) and gate.metric == cost for gate in suite.gates)


def _measure(suite: Suite, texts: Sequence[str], baseline: Model, candidate: Model, *, batching: Batching,
             device: str) -> tuple[Measurement, Measurement]:  # fmt: skip
    models = {"candidate": candidate.timed()} | ({} if baseline is candidate else {"baseline": baseline.timed()})
    runs = _MEMORY_RUNS if _gated(suite, "memory") else 0
    measured = measure(models, texts, rounds=suite.timing_rounds, rows=suite.timing_rows, batching=batching,
                       device=device, memory_runs=runs, tail=_gated(suite, "latency_p99"))  # fmt: skip
    return measured.get("baseline", measured["candidate"]), measured["candidate"]


def _cost(ratio: CostRatio, baseline: Measurement, candidate: Measurement) -> CostResult:
    rounds = {} if ratio.cost == "size" else {
        "baseline_rounds": baseline.rounds_of(ratio.cost), "candidate_rounds": candidate.rounds_of(ratio.cost),
    }  # fmt: skip
    return CostResult(**asdict(ratio), **rounds)
