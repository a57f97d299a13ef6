"""validate: the suite's verdict on the compressed model (candidate), held against the fp32 export (baseline).

The stage never fails because a gate fails: the verdict is in the facts and in the report, and packaging refuses
(`ftdeploy.verdict.refuse`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.dataset import pair_columns, read_split
from ftdeploy.errors import DataError
from ftdeploy.hardware import choose_provider, processors
from ftdeploy.models.local import open_local
from ftdeploy.recipe import Device, Recipe, ServeSettings, ValidateSettings
from ftdeploy.stage import Facts, stage
from ftdeploy.validate.evaluation import evaluate_models
from ftdeploy.validate.render import write_report
from ftdeploy.verdict import Compared, Report


def _outside(recipe: Recipe) -> Mapping[str, str]:
    # Speed is measured: other processors or another number of them give another report.
    return {"provider": choose_provider(recipe.device).name, "processors": str(processors())}


@stage(
    writes="report", version=3, outside=_outside, libraries=("evaluate", "numpy", "onnxruntime", "scipy", "tokenizers")
)
def validate(dataset: Artifact, onnx: Artifact, compressed: Artifact, *, validate_: ValidateSettings,
             serve: ServeSettings, device: Device, task: str, name: str, out: Path) -> Facts:  # fmt: skip
    """Judge the compressed model by the suite, on the test rows, batched as the service batches.

    Writes ``report.json`` (`ftdeploy.verdict.Report`), ``report.html``, ``summary.md``, ``junit.xml`` and
    ``flips.csv``.

    Raises:
        ConfigError: a golden row wants a label that the model does not have.
        DataError: the test split has no rows, or one with a label that the model does not have.
        DependencyError: `evaluate` computes another metric from the same predictions.
    """
    table = read_split(dataset, "test")
    if not table.num_rows:
        raise DataError(
            f"{dataset.path} has no test rows",
            cause="`data.split.test` leaves none of so few rows",
            fix="add rows, or raise `data.split.test`",
        )
    opened = (open_local(one.kind, one, device=device, batching=serve.batching()) for one in (onnx, compressed))
    with closing(next(opened)) as baseline, closing(next(opened)) as candidate:
        report, answers = evaluate_models(
            validate_.suite,
            table,
            baseline=baseline,
            candidate=candidate,
            dataset=_compared(dataset),
            name=name,
            task=task,
            pairs=pair_columns(dataset) is not None,
            batching=serve.batching(),
            device=device,
        )
    # Made by stages: no path of this machine goes into the report of a run.
    report = report.model_copy(update={"baseline": _compared(onnx), "candidate": _compared(compressed)})
    write_report(report, answers, out)
    for gate in report.gates:
        progress.say(f"{gate.verdict}: {gate.name}. {gate.explanation}")
    return _facts(report)


def _compared(artifact: Artifact) -> Compared:
    return Compared(made_by=artifact.made_by, digest=artifact.digest, kind=artifact.kind)


def _facts(report: Report) -> Facts:
    ratios = {cost.cost: cost.ratio for cost in report.costs}
    return {
        "verdict": report.verdict,
        "rows": report.rows,
        **{result.metric: result.candidate.value for result in report.metrics},
        **{f"baseline_{result.metric}": result.baseline.value for result in report.metrics},
        "speedup": ratios["throughput"],
        "size_ratio": ratios["size"],
        "flips": report.right_to_wrong,
    }
