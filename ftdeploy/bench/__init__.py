"""bench: models side by side in one run, alternating, so that the ratios hold on a busy machine.

`bench_folders` compares two models of ours; `ftdeploy.bench.peers` a model of ours with other ways to run the same
fine-tuned model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftdeploy.artifact import MANIFEST, Artifact, Kind, open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.errors import ArtifactError, ModelError, first_of
from ftdeploy.measure import Cost, amount, cost_ratio, measure
from ftdeploy.models.local import served_batching
from ftdeploy.run_folder import kinds_in, lineage
from ftdeploy.serve.limits import PREFIX, read_limits
from ftdeploy.signature import Signature, read_signature
from ftdeploy.tune_service import CALLERS, tune_service

#: What is compared.
COSTS: tuple[Cost, ...] = ("throughput", "latency_p50", "latency_p95", "size")
#: Labels that an error lists.
_SHOWN = 5


def model_folder(folder: Path) -> Path:
    """Where the model lies in a bundle or in a model artifact.

    Raises:
        ArtifactError: it is neither.
    """
    artifact = open_artifact(folder)
    if artifact.kind == "bundle":
        return folder / "src" / "model"
    if artifact.kind in ("onnx", "compressed"):
        return folder
    raise ArtifactError(
        f"{folder} is a {artifact.kind} artifact and holds no ONNX model",
        cause="the wrong folder was named",
        fix="name a bundle, or an onnx or compressed artifact",
    )


def run_of(candidate: Path) -> Path:
    """The folder of the run that a bundle or model artifact stands in, also where it is named ``.``."""
    return candidate.resolve().parent


def beside(candidate: Path, kind: Kind) -> Artifact:
    """What a bundle or model artifact was made of, out of the run that it stands in.

    Raises:
        ArtifactError: there is none of that kind beside it, or it was not made of that one; or the path is no artifact.
    """
    run, made = run_of(candidate), open_artifact(candidate, check_content=False)
    if not (run / kind / MANIFEST).is_file():
        raise ArtifactError(
            f"{candidate} has no {kind} artifact beside it",
            cause=f"the {made.kind} was moved out of its run's folder",
            fix=f"name the {made.kind} in the folder of its run (runs/NAME/{made.kind})",
        )
    found = open_artifact(run / kind, kind=kind)
    parts = [open_artifact(run / one, check_content=False) for one in kinds_in(run)]
    if found.digest not in lineage(made, parts):
        raise ArtifactError(
            f"{candidate} was not made of the {kind} artifact beside it",
            cause="the run went on after it was made and did not end, or what stands between the two was removed",
            fix="run the recipe to its end, and measure then",
        )
    return found


def bench_folders(candidate: Path, baseline: Path | None, *, rounds: int, rows: int) -> dict[str, Any]:
    """Measure ``candidate`` against ``baseline`` on test rows of the run that they belong to.

    Args:
        candidate: a bundle or a model artifact; its run's dataset gives the texts.
        baseline: likewise; None takes the fp32 export that the candidate was made of.
        rounds: alternating rounds.
        rows: rows in a round.

    Returns:
        ``ratios`` by cost with their bounds, and ``table``, lines for people.

    Raises:
        ArtifactError: a folder is no model, or the dataset or the export that the candidate was made of is not beside
            it.
        ModelError: the two do not do the same: another task, other labels, one text and two.
    """
    ours = model_folder(candidate)
    if baseline is None:
        baseline = beside(candidate, "onnx").path
    theirs = model_folder(baseline)
    _check_alike(candidate, baseline, read_signature(ours), read_signature(theirs))
    folders = {"baseline": theirs, "candidate": ours}
    texts = read_split(beside(candidate, "dataset"), "test", columns=["text"])["text"].to_pylist()
    found = measure(folders, texts, rounds=rounds, rows=rows, batching=served_batching(folders["candidate"]))
    ratios = {cost: cost_ratio(found["baseline"], found["candidate"], cost) for cost in COSTS}
    header = f"{'cost':<13} {'baseline':>12} {'candidate':>12} {'ratio':>7}   bounds"
    table = [f"{candidate} against {baseline}, {rounds} alternating rounds of {rows} rows", header]
    table += [
        f"{cost:<13} {amount(cost, r.baseline):>12} {amount(cost, r.candidate):>12} {r.ratio:>6.2f}x   "
        f"{r.lower:.2f} to {r.upper:.2f}"
        for cost, r in ratios.items()
    ]
    return {"ratios": {cost: vars(ratio) for cost, ratio in ratios.items()}, "table": table}


def _check_alike(candidate: Path, baseline: Path, ours: Signature, theirs: Signature) -> None:
    """Refuse models that do not do the same: the one that does less would look like the faster one."""
    reads = [f"reads {'two texts' if one.pairs is not None else 'one text'}" for one in (ours, theirs)]
    if ours.task != theirs.task:
        different = f"does {ours.task}, and {baseline} {theirs.task}"
    elif odd := sorted({*ours.labels} ^ {*theirs.labels}):
        different = f"and {baseline} have other labels: only one has {first_of(list(map(repr, odd)), _SHOWN)}"
    elif reads[0] != reads[1]:
        different = f"{reads[0]}, and {baseline} {reads[1]}"
    else:
        return
    raise ModelError(
        f"{candidate} {different}",
        cause="they were made by different recipes, and `bench` asks how much faster the same work is done",
        fix="name a model that does what the other does: another run of the recipe, or the onnx artifact beside it",
    )


def bench_service(bundle: Path) -> dict[str, Any]:
    """Measure how the service of a bundle is best set up on this machine; see `ftdeploy.tune_service`.

    What the bundle was set up with where it was made stands in its signature, and is what others are compared with.

    Returns:
        ``environment``, variables that set the service up (empty where it is set up well), ``ratio``, texts a second
        of that for each now, and ``table``, lines for people.

    Raises:
        ArtifactError: the folder is no bundle.
    """
    folder = open_artifact(bundle, kind="bundle").path / "src" / "model"
    found = tune_service(folder, read_limits(read_signature(folder).serve), rounds=5, seconds=0.6)
    environment = {f"{PREFIX}{name.upper()}": str(value) for name, value in found.changed().items()}
    ranked = sorted(found.measured.items(), key=lambda one: -one[1])
    table = [f"{bundle} on {found.processors} processors, {CALLERS} callers, in process", "texts/s  set up with"]
    table += [f"{rate:>7.0f}  {setup}{'  (now)' if setup == found.before else ''}" for setup, rate in ranked]
    if environment:
        words = " ".join(f"{name}={value}" for name, value in environment.items())
        table.append(f"{found.ratio:.2f} times the texts a second with: {words}")
    else:
        table.append("nothing is clearly better than how it is set up")
    return {"environment": environment, "ratio": found.ratio, "table": table}
