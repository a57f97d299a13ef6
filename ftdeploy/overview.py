"""The page of a run: what each stage did; written from the artifacts alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftdeploy.artifact import Artifact, Kind
from ftdeploy.charts import Series, bar_chart, xy_chart
from ftdeploy.compress.outcome import CandidateResult, Costs, SearchResult
from ftdeploy.compress.page import PAGE as SEARCH_PAGE
from ftdeploy.compress.page import proof, ranked, sentence
from ftdeploy.files import write_text
from ftdeploy.overview_data import data_parts, shown
from ftdeploy.page import Page, Part, Table, render_page
from ftdeploy.verdict import read_report

_VERDICTS = {
    "pass": "Every gate passed.",
    "fail": "A gate failed: there is a report, and no bundle.",
    "inconclusive": "A gate could not decide: there is a report, and no bundle.",
    "measured": "No gate was asked: the report is a measurement, and no verdict.",
}
_LOSSES = ("loss", "eval_loss")
#: Measured candidates that the page shows, the winner and the fastest; the search's own page has all.
_CANDIDATES = 10


def write_overview(name: str, artifacts: Mapping[Kind, Artifact], path: Path) -> None:
    """Write the page of a run.

    Args:
        name: the recipe's.
        artifacts: those that there are; stages that have not run are left out.
        path: where the page goes.

    Raises:
        ArtifactError: an artifact lacks a file that its kind has.
        OSError: the folder cannot be written.
    """
    verdict = str(artifacts["report"].facts["verdict"]) if "report" in artifacts else ""
    parts = [part for make in _PARTS for part in make(artifacts)]
    page = Page(
        title=f"Run of {name}",
        summary=_VERDICTS.get(verdict, "The run was not taken as far as the verdict."),
        tiles=_tiles(artifacts),
        parts=parts,
    )
    write_text(path, render_page(page))


def _tiles(artifacts: Mapping[Kind, Artifact]) -> list[tuple[str, str]]:
    tiles = []
    if "dataset" in artifacts:
        tiles.append(("rows", f"{artifacts['dataset'].facts['rows']:,}"))
    if "checkpoint" in artifacts:
        found = artifacts["checkpoint"].facts
        tiles += [
            (f"{key.replace('_', ' ')} after training", f"{value:.4f}")
            for key, value in found.items()
            if key.startswith("validation_") and isinstance(value, float)
        ]
    if "compressed" in artifacts:
        found = artifacts["compressed"].facts
        tiles += [("times the throughput of fp32", f"{found['speedup']:.2f}x")]
        tiles += [("times smaller", f"{found['times_smaller']:.2f}x")]
    if "report" in artifacts:
        report = read_report(artifacts["report"].file("report.json"))
        tiles += [
            (f"{one.metric} on {report.rows:,} test rows", f"{one.candidate.value:.4f}") for one in report.metrics
        ]
    return tiles


def _data(artifacts: Mapping[Kind, Artifact]) -> Iterator[Part]:
    if "dataset" in artifacts:
        yield from data_parts(artifacts["dataset"])


def _training(artifacts: Mapping[Kind, Artifact]) -> Iterator[Part]:
    if "checkpoint" not in artifacts:
        return
    checkpoint = artifacts["checkpoint"]
    history = json.loads(checkpoint.file("history.json").read_text(encoding="utf-8"))
    facts = [(name.replace("_", " "), shown(value)) for name, value in checkpoint.facts.items()]
    yield Part(
        heading="Training",
        text="The weights of the best evaluation are kept, where early stopping is on."
        if history
        else "Nothing was trained: the checkpoint is taken as it is.",
        charts=list(training_charts(history)),
        table=Table(columns=("what", "found"), rows=facts),
    )


def training_charts(history: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """Curves of a training over its steps: loss, metrics, learning rates, norm of the gradient, what is trained.

    Args:
        history: entries of a checkpoint's ``history.json``.
    """
    scored = sorted({name for entry in history for name in entry if name.startswith("eval_")} - {"eval_loss"})
    yield from _curve(history, _LOSSES, title="Loss", y="loss")
    yield from _curve(history, scored, title="Metrics on the validation rows", y="score")
    groups = list(dict.fromkeys(name for entry in history for name in entry.get("learning_rates", {})))
    rates = [
        Series(
            name=group,
            points=[(e["step"], e["learning_rates"][group]) for e in history if group in e.get("learning_rates", {})],
        )
        for group in groups
    ]
    if rates:
        yield xy_chart(rates, title="Learning rates by group of layers", x="step", y="learning rate")
    else:
        yield from _curve(history, ("learning_rate",), title="Learning rate", y="learning rate")
    yield from _curve(history, ("grad_norm",), title="Norm of the gradient before clipping", y="norm")
    yield from _trained(history)


def _curve(history: Sequence[Mapping[str, Any]], keys: Sequence[str], *, title: str, y: str) -> Iterator[Any]:
    found = {key: [(entry["step"], entry[key]) for entry in history if key in entry] for key in keys}
    words = {"loss": "train", "eval_loss": "validation"}
    series = [
        Series(name=words.get(key, key.removeprefix("eval_").replace("_", " ")), points=points)
        for key, points in found.items()
        if points
    ]
    if series:
        yield xy_chart(series, title=title, x="step", y=y)


def _trained(history: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    """How many groups of layers are frozen, where that changes what is trained."""
    if not any(entry.get("frozen") for entry in history):
        return
    logged = [entry for entry in history if "loss" in entry]
    points = [(entry["step"], float(len(entry.get("frozen", ())))) for entry in logged]
    titles = [f"step {entry['step']}: frozen {', '.join(entry.get('frozen', ())) or 'nothing'}" for entry in logged]
    series = [Series(name="frozen groups", points=points, titles=titles, kind="step")]
    yield xy_chart(series, title="Groups of layers that are frozen", x="step", y="groups")


def _export(artifacts: Mapping[Kind, Artifact]) -> Iterator[Part]:
    if "onnx" not in artifacts:
        return
    facts = [(name.replace("_", " "), shown(value)) for name, value in artifacts["onnx"].facts.items()]
    text = "The ONNX model answers as the torch model does, within these differences."
    yield Part(heading="Export", text=text, table=Table(columns=("what", "found"), rows=facts))


def _compression(artifacts: Mapping[Kind, Artifact]) -> Iterator[Part]:
    if "compressed" not in artifacts:
        return
    compressed = artifacts["compressed"]
    found = SearchResult.model_validate_json(compressed.file("candidates.json").read_bytes())
    measured = [(one, one.costs) for one in ranked(found).values() if one.costs is not None][:_CANDIDATES]
    every = f"All {len(found.candidates)} candidates, plots, and the rows that the winner answers differently"
    speeds = {one.name: costs.speedup for one, costs in measured}
    said = [sentence(found), proof(found), *([found.calibration.sentence()] if found.calibration else [])]
    yield Part(
        heading="Compression",
        text=" ".join(said),
        links=[(every, f"{compressed.path.name}/{SEARCH_PAGE}")],
        charts=[bar_chart(speeds, title="Throughput, times fp32's")] if speeds else [],
        table=_candidates(measured, found),
    )


def _candidates(measured: Sequence[tuple[CandidateResult, Costs]], found: SearchResult) -> Table:
    metrics = list(found.candidates[0].metrics)
    rows = [
        [
            one.name + (" (winner)" if one.name == found.winner else ""),
            *(f"{one.metrics[name].value:.4f}" if name in one.metrics else "-" for name in metrics),
            f"{costs.speedup:.2f}x",
            f"{costs.size / 1e6:.1f}",
            one.reason,
        ]
        for one, costs in measured
    ]
    columns = ("candidate", *(f"#{name} (validation)" for name in metrics), "#throughput", "#MB", "why")
    return Table(columns=columns, rows=rows)


def _verdict(artifacts: Mapping[Kind, Artifact]) -> Iterator[Part]:
    if "report" not in artifacts:
        return
    gates = read_report(artifacts["report"].file("report.json")).gates
    rows = [[gate.verdict, gate.name, gate.explanation] for gate in gates]
    text = f"Slices, flipped rows and confusions are in {artifacts['report'].path.name}/report.html."
    yield Part(heading="Verdict", text=text, table=Table(columns=("verdict", "gate", "why"), rows=rows))


def _lineage(artifacts: Mapping[Kind, Artifact]) -> Iterator[Part]:
    made = {artifact.digest: kind for kind, artifact in artifacts.items()}
    rows = [
        [kind, artifact.made_by, artifact.digest[:12], ", ".join(made.get(one, one[:12]) for one in artifact.made_from)]
        for kind, artifact in artifacts.items()
    ]
    columns = ("artifact", "made by", "digest", "made from")
    yield Part(heading="Artifacts", table=Table(columns=columns, rows=rows))


_PARTS = (_verdict, _data, _training, _export, _compression, _lineage)
