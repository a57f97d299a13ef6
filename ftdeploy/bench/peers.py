"""A model of ours against other ways to run the same fine-tuned model: speed, size and accuracy, in one run.

All get the same rows, batches and threads, and take turns. Ours runs as it is served; each of the others in the way
that is faster for it: as many passes at the same time as ours with one thread each, or one pass with all threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import open_artifact
from ftdeploy.batching import Batching, by_length
from ftdeploy.bench import COSTS, beside, model_folder, run_of
from ftdeploy.bench.build import Source, folder_of
from ftdeploy.bench.contenders import CONTENDERS, Contender
from ftdeploy.bench.runners import OnnxRunner, Runner
from ftdeploy.bench.table import as_lines
from ftdeploy.dataset import label_names, read_split
from ftdeploy.errors import ArtifactError, ConfigError, FtdeployError
from ftdeploy.hardware import CPU, choose_provider, plan_lanes, processors
from ftdeploy.measure import Measurement, Opened, cost_ratio, folder_size, measure
from ftdeploy.metrics import METRICS, Ids
from ftdeploy.models.local import served_batching
from ftdeploy.predictor import Predictor
from ftdeploy.statistics import Comparison, compare
from ftdeploy.tasks import require_one_label

#: The model that accuracies are held against; it always takes part.
DENSE = "fp32"
#: Rounds of the trial of the two ways to use the threads.
TRIAL_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What every contender is given.

    Attributes:
        texts: of the test rows.
        references: their class ids, int64, shape (rows,).
        classes: how many there are.
        batching: how the candidate is served.
        rounds: alternating rounds.
        rows: rows in a round.
        margin: the drop of a metric that is tolerated.
    """

    texts: Sequence[str]
    references: Ids
    classes: int
    batching: Batching
    rounds: int
    rows: int
    margin: float


def bench_peers(candidate: Path, names: Sequence[str], *, rounds: int, rows: int, margin: float) -> dict[str, Any]:
    """Measure ``candidate`` against contenders, on test rows of the run that it belongs to.

    Args:
        candidate: a bundle or a model artifact, with the run's other artifacts beside it.
        names: keys of `CONTENDERS`; ``fp32`` takes part in any case.
        rounds: alternating rounds.
        rows: rows in a round.
        margin: the drop of a metric against fp32 that still is called non-inferior.

    Returns:
        ``models``: by name, the candidate first: what was measured, costs relative to fp32, the candidate's costs
        relative to it, and metrics compared with fp32's. ``not_measured``: name -> reason. ``table``: lines for people.

    Raises:
        ArtifactError: the candidate is no model, or the dataset or fp32 export that it was made of is not beside it.
        ConfigError: the model's task has no single label a row, or it reads texts in windows.
    """
    folder, run = model_folder(candidate), run_of(candidate)
    onnx, dataset = beside(candidate, "onnx"), beside(candidate, "dataset")
    fp32 = Predictor(onnx.path, device="cpu")
    require_one_label(fp32.task, "`ftdeploy bench --against` other runtimes")
    if fp32.in_pieces:
        raise ConfigError(
            "`ftdeploy bench --against` other runtimes does not go with model.windows",
            cause="they are asked row by row, and a text of this model may be several",
            fix="use `ftdeploy eval` to compare it with other models",
        )
    table = read_split(dataset, "test", columns=["text", "label"])
    labels = label_names(dataset)
    contest = Contest(
        texts=table["text"].to_pylist(),
        references=fp32.task.targets(table["label"].to_pylist(), labels),
        classes=len(labels),
        batching=served_batching(folder),
        rounds=rounds,
        rows=rows,
        margin=margin,
    )
    ours: str = open_artifact(candidate).kind
    with _work_folder(run) as work:
        source = Source(onnx=onnx, checkpoint=run / "checkpoint", dataset=dataset, fp32=fp32, work=work)
        others, refused = _open_all([DENSE, *names], source, contest)
        opened = {ours: _as_served(folder, contest.batching), **others}
        found = measure(opened, contest.texts, rounds=rounds, rows=rows, batching=contest.batching)
        compared = _compare(opened, contest, fp32)
    models = {name: _facts(name, found, compared, opened[name], ours=ours) for name in found}
    document = {
        "candidate": str(candidate), "rounds": rounds, "rows": rows, "margin": margin,
        "threads": contest.batching.threads or processors(), "batch_tokens": contest.batching.tokens,
        "batch_rows": contest.batching.rows, "models": models, "not_measured": refused,
    }  # fmt: skip
    return {**document, "table": as_lines(document)}


@contextmanager
def _work_folder(run: Path) -> Iterator[Path]:
    """A folder beside the run's artifacts, that stays; where the run cannot be written to, one that goes."""
    kept = run / "bench.work"
    try:
        kept.mkdir(exist_ok=True)
        (kept / "writable").touch()
        (kept / "writable").unlink()
    except OSError:
        with TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        yield kept


def _as_served(folder: Path, batching: Batching) -> Opened:
    on_cpu = choose_provider().name == CPU
    lanes, threads = plan_lanes(threads=batching.threads, lanes=batching.lanes, on_cpu=on_cpu)
    return Opened(runner=OnnxRunner(folder, threads=threads), lanes=lanes, size=folder_size(folder))


def _open_all(names: Sequence[str], source: Source, contest: Contest) -> tuple[dict[str, Opened], dict[str, str]]:
    """Contenders that are open, and why the others are not."""
    opened, refused = {}, {}
    with progress.task("open contenders", len(names)) as advance:
        for name in dict.fromkeys(names):
            try:
                opened[name] = _open_fastest(name, CONTENDERS[name], source, contest)
            except FtdeployError as error:
                refused[name] = error.what
            except Exception as error:  # noqa: BLE001  # other people's runtimes raise anything; it is this one's reason
                refused[name] = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
            if DENSE in refused:
                raise _no_dense(refused[DENSE])
            advance(1)
    return opened, refused


def _no_dense(reason: str) -> ArtifactError:
    return ArtifactError(
        f"the fp32 export cannot be run: {reason}",
        cause="the onnx artifact is not one that this ONNX Runtime can run",
        fix="run the recipe again",
    )


def _open_fastest(name: str, contender: Contender, source: Source, contest: Contest) -> Opened:
    """Open a contender in the faster of the ways to use the threads, by a trial of a quarter of the rows."""
    folder = folder_of(name, contender, source)
    size = sum((folder / file).stat().st_size for file in contender.files if (folder / file).is_file())
    total = contest.batching.threads or processors()
    lanes, threads = plan_lanes(threads=total, lanes=contest.batching.lanes, on_cpu=True)
    ways = dict.fromkeys([(lanes, threads), (1, total)])
    opened = {
        f"{lanes} x {threads}": Opened(
            runner=contender.open(folder, source.fp32, lanes=lanes, threads=threads), lanes=lanes, size=size
        )
        for lanes, threads in ways
    }
    rows = max(1, contest.rows // 4)
    found = measure(opened, contest.texts, rounds=TRIAL_ROUNDS, rows=rows, batching=contest.batching)
    return opened[max(found, key=lambda way: found[way].throughput)]


def _compare(opened: Mapping[str, Opened], contest: Contest, fp32: Predictor) -> dict[str, dict[str, Comparison]]:
    """Name -> metric -> the test rows' answers held against fp32's."""
    with progress.task("answer the test rows", len(opened)) as advance:
        answers = {}
        for name, one in opened.items():
            answers[name] = _logits(one, contest).argmax(axis=-1)
            advance(1)
    return {
        name: {
            metric: compare(
                METRICS[metric], contest.references, answers[DENSE], answers[name], classes=contest.classes,
                margin=contest.margin,
            )
            for metric in fp32.task.metrics
        }
        for name in opened
    }  # fmt: skip


def _logits(opened: Opened, contest: Contest) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits of the test rows, in the batches that are served: float32, shape (rows, classes)."""
    runner = cast("Runner", opened.runner)
    ids = [row.ids for row in runner.encode(contest.texts)]
    plan = list(by_length([len(row) for row in ids], tokens=contest.batching.tokens, rows=contest.batching.rows))
    found = np.empty((len(ids), contest.classes), dtype=np.float32)
    with ThreadPoolExecutor(opened.lanes) as lanes:
        answers = lanes.map(lambda batch: runner.run([ids[index] for index in batch]), plan)
        for batch, logits in zip(plan, answers, strict=True):
            found[batch] = logits
    return found


def _facts(name: str, found: Mapping[str, Measurement], compared: Mapping[str, Mapping[str, Comparison]],
           opened: Opened, *, ours: str) -> dict[str, Any]:  # fmt: skip
    one = found[name]
    return {
        "provider": one.provider,
        "lanes": opened.lanes,
        "throughput": one.throughput,
        "noise": one.noise,
        "latency_p50": one.latency_p50,
        "latency_p95": one.latency_p95,
        "bytes": one.size,
        "to_fp32": {cost: asdict(cost_ratio(found[DENSE], one, cost)) for cost in COSTS},
        "candidate_to_it": {cost: asdict(cost_ratio(one, found[ours], cost)) for cost in COSTS},
        "metrics": {metric: asdict(comparison) for metric, comparison in compared[name].items()},
    }
