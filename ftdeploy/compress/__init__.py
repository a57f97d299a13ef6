"""compress: a measured search over pruning and quantization; the best that keeps the metric goes on.

Quality is judged on the validation rows, never on test; speed, memory and size are measured side by side in one run.
When nothing is better, the fp32 model goes on, and says so.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.compress.choose import GOOD, choose, goal, pareto
from ftdeploy.compress.fewer_tokens import goes_on_with_fewer
from ftdeploy.compress.invariance import ASKED, ROWS, invariance
from ftdeploy.compress.judge import Jury
from ftdeploy.compress.make import FIRST_TOKEN, Workshop
from ftdeploy.compress.outcome import Budget, CandidateResult, Confirmation, Costs, SearchResult
from ftdeploy.compress.page import write_page
from ftdeploy.compress.prune import check_heads
from ftdeploy.compress.search import FAMILIES, Clock, Found, Search, first_look
from ftdeploy.compress.students import Cut, School, cut_to, student_of
from ftdeploy.compress.tools.calibration import write_rows
from ftdeploy.dataset import SplitName, label_names, read_split, read_unlabelled
from ftdeploy.errors import CompressionError, FtdeployError
from ftdeploy.hardware import choose_provider, cpu_flags, processors, saturates_int8
from ftdeploy.measure import Measurement, cost_ratio, measure
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import CompressSettings, Device, ExportSettings, Recipe, ServeSettings, Shape
from ftdeploy.signature import read_signature
from ftdeploy.stage import Facts, stage
from ftdeploy.tasks import TASKS, Task
from ftdeploy.temperature import calibrate_folder, of_the_same_logits

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

#: Shapes of the students that `auto` tries.
AUTO_STUDENTS = (Shape(ffn=0.5, heads=0.75, tokens=0.5),)
#: Most candidates that are measured beside fp32.
FINALISTS = 6
#: Processes in which a finalist's peak memory is taken.
MEMORY_RUNS = 2
#: Seconds that such a process takes, most of them for its imports.
PROCESS = 2.0
#: Seconds of fine-tuning where the checkpoint does not say.
UNKNOWN_TRAINING = 600.0


def _outside(recipe: Recipe) -> Mapping[str, str]:
    # Measured on this processor: another one may choose otherwise.
    wide = sorted(flag for flag in cpu_flags() if "avx" in flag or "amx" in flag)
    provider = choose_provider(recipe.device).name
    return {"provider": provider, "processors": str(processors()), "cpu": ",".join(wide)}


@stage(writes="compressed", version=10, outside=_outside,
       libraries=("onnxruntime", "onnx", "neural-compressor", "optimum-onnx", "torch"))  # fmt: skip
def compress(checkpoint: Artifact, onnx: Artifact, dataset: Artifact, *, compress: CompressSettings,
             export: ExportSettings, serve: ServeSettings, device: Device, task: str, seed: int, out: Path,
             work: Path) -> Facts:  # fmt: skip
    """Search; ``candidates.json`` (`ftdeploy.compress.outcome.SearchResult`) and ``candidates.html`` tell what became
    of each candidate.

    Raises:
        CompressionError: not even the fp32 model could be run.
    """
    provider = choose_provider(device)
    progress.say(f"measuring on {provider.name} ({provider.reason})")
    clock = _clock(compress, checkpoint, work)
    jury = _jury(dataset, "validation", onnx, compress, serve=serve, device=device, seed=seed)
    workshop, cuts, missing = _workshop(
        checkpoint, onnx, dataset, TASKS[task], compress, device=device, seed=seed, work=work
    )
    search = Search(workshop, jury, compress, clock, cuts=cuts)
    search.notes += missing
    fp32 = search.found[0].judged
    clock.closing = _closing(compress, rows_a_second=fp32.speed, tests=int(dataset.facts["test"]))
    search.run()
    finalists = _finalists(search.found, compress)
    folders = {one.chain.name: one.made.folder for one in finalists if one.made.folder is not None}
    measured = measure(
        folders, jury.texts, rounds=compress.rounds, rows=compress.rows, batching=jury.batching, device=device,
        memory_runs=MEMORY_RUNS,
    )  # fmt: skip
    results = [_result(one, measured, jury, compress) for one in search.found]
    front = pareto(results)
    results = [one.model_copy(update={"pareto": one.name in front}) for one in results]
    winner = choose(results, compress)
    safe = _instead(winner, results, compress)
    confirmation = _confirm(winner, folders, dataset, onnx, compress, serve=serve, device=device, seed=seed)
    if confirmation is not None and not confirmation.accepted:
        progress.say(f"{winner.name}: {confirmation.reason}")
        lost = winner.model_copy(update={"status": "dropped", "reason": confirmation.reason})
        results = [lost if one.name == winner.name else one for one in results]
        # Known before the look; a second look at the test rows would choose by them.
        winner = choose([results[0], *(one for one in results[1:] if one.name == safe)], compress)
    for name in ("model.onnx", "tokenizer.json", "signature.json"):
        shutil.copyfile(folders[winner.name] / name, out / name)
    chosen = next(one for one in search.found if one.chain.name == winner.name)
    outputs = chosen.judged.outputs
    calibration = None
    if (
        outputs is not None and winner.steps and jury.task.probabilities
    ):  # which have no probabilities; fp32 keeps the export's: fitted in other batches, it would not be itself
        targets = TASKS[task].targets(jury.references, jury.labels, outputs.rows)
        calibration = calibrate_folder(out, outputs.logits, targets, export.temperature)
    result = SearchResult(
        verdict=_verdict(winner),
        explanation=_explain(winner, results, confirmation),
        winner=winner.name,
        objective=goal(compress).model_dump(),
        max_drop=dict(compress.max_drop),
        min_gain=compress.min_gain,
        rows=len(jury.texts),
        provider=next(iter(measured.values())).provider,
        budget=Budget(seconds=clock.budget, spent=clock.spent(), training=_training(compress, checkpoint)),
        candidates=tuple(results),
        sensitivity=search.sensitivities(chosen.chain),
        flips=jury.flips(outputs, search.base) if outputs is not None else (),
        confirmation=confirmation,
        calibration=calibration,
        notes=(*_int8_note(compress), *search.notes),
    )
    (out / "candidates.json").write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    write_page(result, out)
    progress.say(result.explanation)
    return _facts(winner, result)


def _clock(settings: CompressSettings, checkpoint: Artifact, work: Path) -> Clock:
    minutes = settings.budget_minutes
    seconds = minutes * 60 if minutes is not None else settings.budget * (_training(settings, checkpoint) or 0.0)
    return Clock(budget=seconds, file=work / "clock.json")


def _closing(settings: CompressSettings, *, rows_a_second: float, tests: int) -> float:
    """Seconds that the end of a search takes: the finalists side by side and beside odd neighbours, each about three
    times as fast as fp32; their memory; and fp32 and the winner on the test rows."""
    rows = (settings.rounds * settings.rows + ASKED * ROWS) * (1 + FINALISTS / 3) + tests * (1 + 1 / 3)
    return rows / rows_a_second + MEMORY_RUNS * (1 + FINALISTS) * PROCESS


def _training(settings: CompressSettings, checkpoint: Artifact) -> float | None:
    """Seconds of the fine-tuning run; None where the recipe gives minutes."""
    if settings.budget_minutes is not None:
        return None
    return float(checkpoint.facts.get("seconds", UNKNOWN_TRAINING))


def _reduce_range(settings: CompressSettings) -> bool:
    """Whether int8 weights shall need no VNNI."""
    return settings.int8 == "portable" or saturates_int8()


def _int8_note(settings: CompressSettings) -> tuple[str, ...]:
    if not _reduce_range(settings):
        return ()
    why = "sums of 8-bit products may not fit in this processor" if saturates_int8() else "the recipe wants them so"
    return (f"Int8 weights were scaled so that they need no VNNI: {why}.",)


def _jury(dataset: Artifact, split: SplitName, onnx: Artifact, settings: CompressSettings, *, serve: ServeSettings,
          device: str, seed: int) -> Jury:  # fmt: skip
    table, signature = read_split(dataset, split), read_signature(onnx.path)
    return Jury(
        texts=table["text"].to_pylist(),
        ids=[str(name) for name in table["id"].to_pylist()],
        references=table["label"].to_pylist(),
        labels=label_names(dataset),
        task=TASKS[signature.task],
        units=signature.units,
        thresholds=of_the_same_logits(signature.thresholds, signature.temperature, 1.0),
        max_drop=settings.max_drop,
        accept=settings.accept,
        batching=serve.batching(),
        device=device,
        seed=seed,
    )


def _confirm(winner: CandidateResult, folders: Mapping[str, Path], dataset: Artifact, onnx: Artifact,
             settings: CompressSettings, *, serve: ServeSettings, device: str,
             seed: int) -> Confirmation | None:  # fmt: skip
    """One look at the test rows, for the one that was chosen: whoever is best of many on validation rows looks better
    than it is. It must be proven, or likely, there too."""
    jury = _jury(dataset, "test", onnx, settings, serve=serve, device=device, seed=seed)
    if not winner.steps or not jury.texts:
        return None
    base, _, _ = jury.ask(folders["fp32"], "fp32 on test rows")
    if base is None:
        return None
    judged = jury.judge(folders[winner.name], base, name=f"{winner.name} on test rows", same_embedding=False)
    accepted = judged.status in GOOD
    words = "confirmed on" if accepted else "not confirmed on"
    return Confirmation(
        candidate=winner.name,
        rows=len(jury.texts),
        metrics=dict(judged.metrics),
        accepted=accepted,
        reason=f"{words} the {len(jury.texts):,} test rows: {judged.reason}",
    )


def _certain(one: CandidateResult, settings: CompressSettings) -> bool:
    """Whether validation rows leave so little doubt of it that it needs no look at the test rows: fp32, and what the
    gate passes and either scores no lower there, or keeps its whole interval to half of what is allowed."""
    return not one.steps or (
        one.status == "kept"
        and all(
            one.metrics[name].loss <= 0 or one.metrics[name].most_loss < margin / 2
            for name, margin in settings.max_drop.items()
        )
    )


def _instead(winner: CandidateResult, results: Sequence[CandidateResult], settings: CompressSettings) -> str:
    """The candidate that goes on where the winner does not hold on the test rows: the best of the certain ones, but for
    the winner, those of its student, and those that give the same answers otherwise. What the test rows say of it, they
    say of them."""
    if not winner.steps:
        return winner.name
    student, answers = student_of(winner.steps), _answers(winner)
    others = [one for one in results if _answers(one) != answers and (student is None or student not in one.steps)]
    return choose([one for one in others if _certain(one, settings)], settings).name


def _answers(one: CandidateResult) -> tuple[str, ...]:
    """The steps that decide what is answered: session options, or a last layer spared what nobody reads, do not."""
    return tuple(step for step in one.steps if step != FIRST_TOKEN)


def _workshop(checkpoint: Artifact, onnx: Artifact, dataset: Artifact, task: Task, settings: CompressSettings, *,
              device: str, seed: int, work: Path) -> tuple[Workshop, list[Cut], list[str]]:  # fmt: skip
    """What makes candidates, the students' shapes, and why there are none where some were wanted."""
    train = read_split(dataset, "train")
    texts, predictor = _texts(train), Predictor(onnx.path, device="cpu")
    encoded = predictor.encode(texts)
    rows = [row.ids for row in encoded]
    calibration = work / "calibration.npz"
    school = None
    cuts: list[Cut] = []
    missing: list[str] = []
    # Students learn, and `inc-tuned` counts, one label a row.
    targets = task.targets(train["label"].to_pylist(), label_names(dataset), encoded) if task.one_label else None
    write_rows(calibration, rows, None if targets is None else targets.tolist())
    wanted = FAMILIES if settings.candidates == "auto" else settings.candidates
    if targets is not None and ("students" in wanted or FIRST_TOKEN in wanted):
        school = School(
            checkpoint=checkpoint.path, onnx=onnx.path, rows=rows, targets=targets, task=task,
            settings=settings.distillation, opset=int(onnx.facts["opset"]), seed=seed, device=device,
            bf16=checkpoint.facts.get("precision") == "bf16",
            unlabelled=[row.ids for row in predictor.encode(read_unlabelled(dataset))],
            reduce_range=_reduce_range(settings), cascade=settings.cascade is not None,
        )  # fmt: skip
        if "students" in wanted:
            cuts, missing = _cuts(settings, checkpoint.path, task)
    workshop = Workshop(
        onnx=onnx.path, config=checkpoint.file("config.json"), calibration=calibration, texts=texts,
        safety=settings.vocabulary_safety, reduce_range=_reduce_range(settings), school=school, work=work,
    )  # fmt: skip
    return workshop, cuts, missing


def _texts(table: pa.Table) -> list[str]:
    return list(table["text"].to_pylist())


def _cuts(settings: CompressSettings, checkpoint: Path, task: Task) -> tuple[list[Cut], list[str]]:
    """The students' shapes in whole numbers; none, and why, where nobody knows how to make such a model smaller."""
    from ftdeploy.onnx_export import load_model

    try:
        model = load_model(checkpoint, task)
        shapes = _fitting(AUTO_STUDENTS, model) if settings.students == "auto" else settings.students
        return list(dict.fromkeys(cut_to(shape, model) for shape in shapes)), []
    except FtdeployError as error:
        progress.say(f"no students: {error.what}")
        return [], [f"No students were made: {error.what}."]


def _fitting(shapes: Sequence[Shape], model: PreTrainedModel) -> list[Shape]:
    """Shapes as this architecture can have them: with all tokens where it cannot go on with fewer, and with all heads
    where it cannot lose any."""
    whole = {} if goes_on_with_fewer(model) else {"tokens": 1.0}
    try:
        check_heads(model)
    except CompressionError:
        whole["heads"] = 1.0
    return [shape.model_copy(update=whole) for shape in shapes]


def _finalists(found: Sequence[Found], settings: CompressSettings) -> list[Found]:
    """fp32; the good ones that no other good one beats by a first look, the best by the objective first; of what is
    proven the surest, so that there is something to go back to; and others while there is room."""

    def best_first(some: Sequence[Found]) -> list[Found]:
        return sorted(some, key=lambda one: first_look(one, settings), reverse=True)

    good = [one for one in found[1:] if one.good and one.made.folder is not None]
    proven = [one for one in good if one.judged.status == "kept"]
    chosen: list[Found] = []
    certain = sorted(proven, key=lambda one: sum(scored.most_loss for scored in one.judged.metrics.values()))
    sure = best_first(certain[:3])
    for one in (*best_first(_front(good))[: FINALISTS - 2], *sure[:2], *best_first(good)):
        if len(chosen) < FINALISTS and one not in chosen:
            chosen.append(one)
    return [found[0], *(one for one in good if one in chosen)]


def _front(some: Sequence[Found]) -> list[Found]:
    """Those that no other one beats in score, speed and size."""
    return [
        one
        for one in some
        if not any(
            other is not one
            # A first look at the speed is off by a tenth and more.
            and all(theirs >= ours for theirs, ours in zip(_look(other), _look(one, doubt=1.15), strict=True))
            for other in some
        )
    ]


def _look(one: Found, *, doubt: float = 1.0) -> tuple[float, float, float]:
    """Score, speed and size as far as they are known without measuring."""
    return next(iter(one.judged.metrics.values())).good, one.judged.speed * doubt, -float(one.size)


def _result(one: Found, measured: Mapping[str, Measurement], jury: Jury, settings: CompressSettings) -> CandidateResult:
    name, judged = one.chain.name, one.judged
    costs = _costs(measured["fp32"], measured[name]) if name in measured else None
    found = None
    if costs is not None and one.made.folder is not None:
        found = invariance(one.made.folder, jury.texts, batching=jury.batching, tolerance=settings.batch_tolerance,
                           seed=jury.seed, device=jury.device)  # fmt: skip
    return CandidateResult(
        name=name,
        steps=one.chain.steps,
        status=judged.status,
        reason=judged.reason,
        metrics=dict(judged.metrics),
        right_to_wrong=judged.right_to_wrong,
        wrong_to_right=judged.wrong_to_right,
        embedding_cosine=judged.cosine,
        invariance=found,
        costs=costs,
        seconds=one.made.seconds if one.chain.steps else None,
    )


def _costs(base: Measurement, now: Measurement) -> Costs:
    ratio = cost_ratio(base, now, "throughput")
    return Costs(
        throughputs=now.throughputs,
        latencies_p50=now.latencies_p50,
        latencies_p95=now.latencies_p95,
        size=now.size,
        peak_memory=now.memory,
        speedup=ratio.ratio,
        speedup_lower=ratio.lower,
        speedup_upper=ratio.upper,
        times_smaller=base.size / now.size,
        noise=now.noise,
    )


def _verdict(winner: CandidateResult) -> Literal["pass", "undecided", "fp32"]:
    if not winner.steps:
        return "fp32"
    return "pass" if winner.status == "kept" else "undecided"


def _explain(winner: CandidateResult, results: Sequence[CandidateResult], confirmation: Confirmation | None) -> str:
    if not winner.steps:
        if len(results) == 1:
            return "winner: fp32 (there was no other candidate)"
        others = sum(one.status in GOOD for one in results) - 1
        why = "none was better" if others else "none kept the metric"
        if confirmation is not None:
            why = f"{confirmation.candidate} was not confirmed on the test rows and no other is certain enough"
        return f"winner: fp32 (of {len(results) - 1} candidates {why}, so fp32 goes on)"
    costs = winner.costs
    scores = ", ".join(
        f"{name} {scored.value:.4f} ({scored.difference:+.4f})" for name, scored in winner.metrics.items()
    )
    speed = f"{costs.speedup:.2f}x the throughput of fp32, {costs.times_smaller:.2f}x smaller" if costs else ""
    proof = "non-inferior by the gate" if winner.status == "kept" else winner.reason
    return f"winner: {winner.name}, {speed}; on the validation rows {scores}: {proof}"


def _facts(winner: CandidateResult, result: SearchResult) -> Facts:
    costs = winner.costs
    scores = {f"validation_{name}": scored.value for name, scored in winner.metrics.items()}
    figures = {"speedup": costs.speedup, "times_smaller": costs.times_smaller, "bytes": costs.size} if costs else {}
    shared: Facts = {"winner": winner.name, "verdict": result.verdict, "candidates": len(result.candidates)}
    calibration: Facts = result.calibration.facts() if result.calibration else {}
    return {**shared, **figures, **scores, **calibration, "embedding_cosine": winner.embedding_cosine or 0.0,
            "seconds": round(result.budget.spent, 1)}  # fmt: skip
