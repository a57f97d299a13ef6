"""package: the chosen model as a Bento, with everything that it needs to be served, watched and trusted."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ftdeploy import progress
from ftdeploy.artifact import Artifact, digest_of, sha256_file, walk_files
from ftdeploy.bill import bill_of_materials, pinned
from ftdeploy.child import run_module
from ftdeploy.dataset import SplitName, read_profile, read_split
from ftdeploy.drift import (
    CONFIDENCE_EDGES,
    bundle_projection,
    features_of,
    number_edges,
    reference_of,
    summary_ids,
    write_reference,
)
from ftdeploy.errors import ConfigError, DependencyError, did_you_mean
from ftdeploy.origin import Origin
from ftdeploy.populations import make_populations
from ftdeploy.predictor import Predictor
from ftdeploy.recipe import (
    DataSettings,
    Device,
    ModelSettings,
    MonitorSettings,
    PackageSettings,
    Recipe,
    ServeSettings,
    ThresholdSettings,
)
from ftdeploy.serve import RUNTIME, RUNTIME_REQUIREMENTS
from ftdeploy.serve.limits import Limits
from ftdeploy.signature import Review, Signature, read_signature, write_signature
from ftdeploy.sources import describe
from ftdeploy.stage import Facts, out_of_space, stage
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.said import sigmoid, softmax
from ftdeploy.thresholds import least_scores, outcome, sets_outcome
from ftdeploy.tune_service import tune_service
from ftdeploy.verdict import Report, read_report, refuse

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HERE = Path(str(files("ftdeploy")))

#: BentoML stamps a Bento with the time it was built, and a clock has no place in a digest. This is the date that
#: reproducible archives use.
NO_DATE = "1980-01-01T00:00:00+00:00"


def _outside(recipe: Recipe) -> Mapping[str, str]:
    """What a bundle carries beside the model: the service's source and the pins of everything that it needs."""
    source = digest_of({name: sha256_file(path) for name, path in _carried().items()})
    pins = " ".join(f"{name}=={number}" for name, number in pinned(_required(recipe.monitor)).items())
    return {"source": source, "pins": hashlib.sha256(pins.encode()).hexdigest()}


def _required(monitor: MonitorSettings) -> tuple[str, ...]:
    """The distributions that a bundle needs."""
    masks = monitor.traffic.text and monitor.traffic.redact
    return (*RUNTIME_REQUIREMENTS, "phonenumbers") if masks else RUNTIME_REQUIREMENTS


@stage(writes="bundle", version=5, outside=_outside, libraries=("ftdeploy",))
def package(dataset: Artifact, checkpoint: Artifact, compressed: Artifact, report: Artifact, *,
            package: PackageSettings, serve: ServeSettings, monitor: MonitorSettings, data: DataSettings,
            model: ModelSettings, device: Device, task: str, name: str, seed: int,
            out: Path) -> Facts:  # fmt: skip
    """Make the bundle, unless the report says that it must not be made.

    Raises:
        GateFailed, GateInconclusive: the report does not say pass.
        DependencyError: bentoml is missing, or cannot build the Bento.
    """
    refuse(report)
    found = read_report(report.file("report.json"))
    context = out / "context"
    requirements = pinned(_required(monitor))
    _write_source(context)
    folder = context / "model"
    folder.mkdir()
    for file in ("model.onnx", "tokenizer.json"):
        shutil.copyfile(compressed.file(file), folder / file)
    # Not report.html: it quotes rows of the test data, and a bundle travels further than its data may.
    shutil.copyfile(report.file("report.json"), folder / "report.json")
    signature = read_signature(compressed.path).model_dump() | {
        "traffic": monitor.traffic.model_dump(),
        "alerts": monitor.alerts.model_dump(),
        "monitor": monitor.model_dump(exclude={"traffic", "alerts"}),
    }
    write_signature(folder, Signature.model_validate(signature))  # the folder can be opened from here on
    decided: Facts = {}
    held: Facts = {}
    if package.thresholds is not None:
        least, decided = _thresholds(folder, dataset, task, package.thresholds, device=device)
        signature |= {"thresholds": least, "fallback": package.thresholds.fallback}
    elif signature["thresholds"]:
        decided = _sets(folder, dataset, device=device)
    if package.review is not None:
        signature |= {"review": _reviewed(package.review, signature["labels"], signature["fallback"])}
    if package.anomaly is not None:
        signature |= {"anomaly": package.anomaly.model_dump()}
        held = make_populations(folder, dataset, package.anomaly, device=device)
    _write_drift_reference(folder, dataset, task, package, device=device, seed=seed)
    limits = serve.model_dump() | (_tuned(folder, serve, device) if package.tune_service else {})
    write_signature(folder, Signature.model_validate(signature | {"serve": limits}))
    sbom = bill_of_materials(name, sha256_file(folder / "model.onnx"), requirements)
    (folder / "sbom.json").write_text(json.dumps(sbom, indent=1) + "\n", encoding="utf-8")
    made = (dataset, checkpoint, compressed)
    card = _model_card(
        found, package, origins_in_words(data, model), made, name=name, task=task, decided=decided, held=held
    )
    (folder / "model_card.md").write_text(card, encoding="utf-8")

    version = hashlib.sha256(f"{compressed.digest}{report.digest}".encode()).hexdigest()[:16]
    with progress.task("build the Bento"):
        _build(context, name, version, requirements, out)
    return {**_facts(found, compressed, folder=out / "src" / "model"), **decided, **held}


def service_sources() -> Path:
    """The folder ``bentos``: beside the package in a checkout, inside it in an installed wheel."""
    installed = _HERE / "_bentos"
    return installed if installed.is_dir() else installed.parent.parent / "bentos"


def _carried() -> dict[str, Path]:
    """The service, and the part of ftdeploy that it runs on, so that a bundle needs no ftdeploy installed: name in the
    bundle's ``src`` -> file here."""
    service = service_sources()
    return dict(walk_files(service)) | {f"ftdeploy/{name}": _HERE / name for name in RUNTIME}


def _write_source(context: Path) -> None:
    for name, path in _carried().items():
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _reviewed(review: Review, labels: Sequence[str], fallback: str) -> dict[str, Any]:
    """What the signature says of documents.

    Raises:
        ConfigError: a critical label is none of the model's.
    """
    answered = (*labels, *filter(None, [fallback]))
    for label in review.critical:
        if label not in answered:
            raise ConfigError(
                f"package.review.critical: {label!r} is no label of the model",
                cause="a typing error, or a label that the data do not have",
                fix=did_you_mean(label, answered),
            )
    return review.model_dump()


def _thresholds(folder: Path, dataset: Artifact, task: str, settings: ThresholdSettings, *,
                device: Device) -> tuple[dict[str, float], Facts]:  # fmt: skip
    """The labels' least scores, and what comes of them on the test rows, which had no part in finding them."""
    predictor, kind = Predictor(folder, device=device), TASKS[task]
    if kind.view != "labels":
        raise ConfigError(
            f"package.thresholds is set, and an answer of {task} is no list of labels with their probabilities",
            cause="thresholds decide between one label for a text and a fallback",
            fix="remove package.thresholds",
        )
    signature = predictor.signature

    def rows(split: SplitName) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        table = read_split(dataset, split, columns=["text", "label"])
        logits = predictor.predict(table["text"].to_pylist()).logits
        targets = kind.targets(table["label"].to_pylist(), signature.labels)
        return softmax(logits / signature.temperature), targets

    with progress.task("thresholds"):
        least = least_scores(settings, signature.labels, *rows("validation"))
        found = outcome(least, signature.labels, *rows("test"))
    progress.say(
        f"{settings.fallback!r} is the answer to {found['fallback_share']:.1%} of the test rows; of the others "
        f"{found['accuracy_answered']:.1%} are right"
    )
    return least, {"fallback": settings.fallback, **found}


def _sets(folder: Path, dataset: Artifact, *, device: Device) -> Facts:
    """What the thresholds of sets, which `export` found, bring on the test rows."""
    predictor = Predictor(folder, device=device)
    signature, task = predictor.signature, predictor.task
    table = read_split(dataset, "test", columns=["text", "label"])
    with progress.task("thresholds"):
        logits = predictor.predict(table["text"].to_pylist()).logits
    truths = task.targets(table["label"].to_pylist(), signature.labels)
    shares = sigmoid(logits / signature.temperature)
    found = sets_outcome(signature.thresholds, signature.labels, shares, truths)
    own, half = (f"{found[f'label_macro_f1_{how}']:.4f}" for how in ("by_threshold", "at_half"))
    progress.say(
        f"mean F1 of the labels on the test rows: {own} with thresholds of their own, {half} with a half for all"
    )
    return {**found}


def _write_drift_reference(folder: Path, dataset: Artifact, task: str, settings: PackageSettings, *, device: Device,
                           seed: int) -> None:  # fmt: skip
    from ftdeploy.monitor.held_out import learn_shifts  # scipy.stats; a run with nothing changed ends without it

    # Rows that the model was not trained on: its confidence on training rows would look like drift in production.
    rows = [row for split in ("validation", "test")
            for row in read_split(dataset, split, columns=["text", "label"]).to_pylist()]  # fmt: skip
    # At even distances: sources are often sorted by label or by date.
    kept = [rows[index] for index in sorted({n * len(rows) // settings.drift_rows for n in range(settings.drift_rows)})]
    texts = [row["text"] for row in kept]
    predictor, kind = Predictor(folder, device=device), TASKS[task]
    projection = bundle_projection(predictor, seed=seed)
    if not kind.probabilities:  # labels have nothing to tell, and no accuracy can be estimated
        plain = features_of(predictor, kind, texts, projection=projection)
        edges = number_edges(plain.confidence) if kind.number else CONFIDENCE_EDGES
        reference = reference_of(plain, projection, classes=1, seed=seed, edges=edges)
        left = ("label",) if kind.number else ("label", "confidence")  # vectors have none
        told = {name: values for name, values in reference.items() if not name.startswith(left)}
        write_reference(folder / "drift_reference.npz", told)
        return
    labels = kind.summaries(predictor.signature.labels)
    truths = summary_ids(kind, [row["label"] for row in kept], predictor.signature.labels)
    with progress.task("learn from made shifts when an estimate of the accuracy can be trusted"):
        plain = features_of(predictor, kind, texts, projection=projection)
        reference = reference_of(plain, projection, classes=len(labels), seed=seed, truths=truths)
        shifts = learn_shifts(predictor, kind, plain, texts, truths, projection=projection, seed=seed)
    write_reference(folder / "drift_reference.npz", reference | shifts)


def _tuned(folder: Path, serve: ServeSettings, device: Device) -> dict[str, int]:
    """Limits that are measured to be better on this machine than what is there, beside those that the recipe names."""
    found = tune_service(folder, Limits(**serve.model_dump()), fixed=frozenset(serve.model_fields_set), device=device)
    changed = found.changed()
    if changed:
        words = ", ".join(f"{name} {value}" for name, value in changed.items())
        progress.say(f"the service is set up with {words}: {found.ratio:.2f} times the texts a second")
    return changed


def _build(context: Path, name: str, version: str, requirements: dict[str, str], out: Path) -> None:
    """Have BentoML build the Bento from ``context`` and put it at ``out``, without the time of day."""
    home = out / "home"
    bentofile = out / "bentofile.yaml"
    document = {
        "service": "service:Model",
        "name": name,
        "description": (context / "model" / "model_card.md").read_text(encoding="utf-8"),
        "include": ["**"],
        "python": {"packages": [f"{n}=={v}" for n, v in requirements.items()], "lock_packages": False},
    }
    bentofile.write_text(yaml.safe_dump(document), encoding="utf-8")
    environment = {
        "BENTOML_HOME": os.fspath(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    arguments: list[str | Path] = ["build", "--version", version, "-f", bentofile, context]
    found = run_module("bentoml", arguments, environment=environment)
    built = home / "bentos" / name / version
    if found.returncode != 0 or not (built / "bento.yaml").is_file():
        lines = (found.stderr + found.stdout).strip().splitlines() or ["it said nothing"]
        errors = [line for line in lines if "rror" in line] or lines
        if out_of_space(out):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(out))
        raise DependencyError(
            f"BentoML could not build the bundle: {errors[0][:300]}",
            cause="bentoml is not installed, or is of a version that this ftdeploy does not know",
            fix="pip install -c constraints.txt 'ftdeploy[serve]'",
        )
    document = yaml.safe_load((built / "bento.yaml").read_text(encoding="utf-8"))
    document["creation_time"] = NO_DATE
    (built / "bento.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    for path in built.iterdir():
        path.rename(out / path.name)
    shutil.rmtree(home)
    shutil.rmtree(context)
    bentofile.unlink()


def origins_in_words(data: DataSettings, model: ModelSettings) -> list[str]:
    """Lines for the model card: where the rows and the checkpoint come from, under which licence, whom to cite."""
    origins: dict[str, Origin] = {f"data {e.name}" if data.sources else "data": e for e in data.entries}
    origins |= {f"texts {entry.name}": entry for entry in data.text_entries}
    described = {role: describe(origin) for role, origin in (origins | {"model": model}).items()}
    lines = [f"{role}: {found['source']}" for role, found in described.items()]
    for key in ("licence", "citation"):
        lines += [f"{role}, {key}: {found[key]}" for role, found in described.items() if key in found]
    return lines


def _model_card(report: Report, settings: PackageSettings, origins: list[str],
                made: tuple[Artifact, Artifact, Artifact], *, name: str, task: str, decided: Facts,
                held: Facts) -> str:  # fmt: skip
    import jinja2

    dataset, _, compressed = made
    kind, outputs = TASKS[task], read_profile(dataset)["labels"]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701  # Markdown, not HTML
    template = environment.from_string((_HERE / "model_card.md.j2").read_text(encoding="utf-8"))
    primary, signature = kind.metrics[0], read_signature(compressed.path)
    return template.render(
        name=name,
        task=task,
        description=settings.description,
        intended_use=settings.intended_use,
        licence=settings.licence,
        labels=kind.summaries(outputs)[1:] if kind.per_token else outputs,  # without that for no span
        per_token=kind.per_token,
        multi_label=kind.multi_label,
        function=kind.function,
        vectors=kind.vectors,
        number=kind.number,
        units=signature.units,
        thresholds=signature.thresholds,
        numbers=read_profile(dataset).get("numbers", {}).get("train", {}),
        dimensions=signature.dimensions,
        max_length=signature.max_length,
        windows=signature.windows,
        pairs=signature.pairs,
        temperature=signature.temperature,
        decided=decided,
        held=held,
        report=report,
        weakest=sorted((s for s in report.slices if s.metric == primary), key=lambda s: s.candidate.value)[:5],
        sources=origins,
        made=[
            f"{artifact.made_by} -> {artifact.kind} `{artifact.digest[:12]}`: "
            + ", ".join(f"{key} {value}" for key, value in artifact.facts.items() if "second" not in key)
            for artifact in made
        ],
    )


def _facts(report: Report, compressed: Artifact, *, folder: Path) -> Facts:
    scores = {metric.metric: metric.candidate.value for metric in report.metrics}
    before = {f"fp32_{metric.metric}": metric.baseline.value for metric in report.metrics}
    return {
        "verdict": report.verdict,
        **scores,
        **before,
        "winner": compressed.facts["winner"],
        "speedup": compressed.facts["speedup"],
        "times_smaller": compressed.facts["times_smaller"],
        "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        "test_rows": report.rows,
    }
