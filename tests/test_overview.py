"""The page of a run: what it shows, from the artifacts alone."""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import pytest
from search_samples import WINNER, search
from tiny_run import TinyRun, artifact, ftdeploy

from ftdeploy.artifact import Artifact, Kind, seal
from ftdeploy.compress.page import ranked, sentence, write_page
from ftdeploy.overview import training_charts, write_overview
from ftdeploy.pipeline import PAGE
from ftdeploy.run_folder import read_run


def _text(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


def test_a_finished_run_is_on_one_page(tiny: TinyRun) -> None:
    """The run left it: verdict, data, curves, candidates, each artifact; it needs nothing from elsewhere."""
    page = (tiny.run / PAGE).read_text(encoding="utf-8")
    text = _text(page)
    for heading in ("Verdict", "Data", "Training", "Export", "Compression", "Artifacts"):
        assert f">{heading}<" in page
    for kind, one in read_run(tiny.run).items():
        assert one.digest[:12] in text, kind
    assert page.count("<svg") >= 4
    assert "src=" not in page
    assert re.findall(r'href="([^"]*)"', page) == ["compressed/candidates.html"]
    assert (tiny.run / "compressed" / "candidates.html").is_file()


@pytest.mark.parametrize("last", ["dataset", "checkpoint", "onnx", "compressed", "report"])
def test_a_run_that_ended_early_has_a_page_of_what_there_is(tiny: TinyRun, tmp_path: Path, last: Kind) -> None:
    """Parts of stages that have not run are left out."""
    kept: dict[Kind, Artifact] = {}
    for kind, one in read_run(tiny.run).items():
        kept[kind] = one
        if kind == last:
            break
    write_overview("tiny", kept, tmp_path / PAGE)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert (">Verdict<" in page) == (last == "report")
    assert (">Training<" in page) == (last != "dataset")
    assert [path.name for path in tmp_path.iterdir()] == [PAGE]


def test_a_failed_gate_leaves_the_page_too(tiny: TinyRun, tmp_path: Path) -> None:
    """It says that there is no bundle, and which gate failed."""
    run = tiny.copy(tmp_path, until="compress")
    suite = '{"gates": [{"kind": "floor", "metric": "accuracy", "minimum": 0.999}]}'
    found = ftdeploy("run", tiny.recipe, "--out", run, "--set", f"validate.suite={suite}")
    assert found.returncode in (10, 11), found.stderr
    text = _text((run / PAGE).read_text(encoding="utf-8"))
    assert "there is a report, and no bundle" in text
    assert "accuracy at least 0.999" in text


def test_what_the_data_holds_is_text_and_never_markup(tiny: TinyRun, tmp_path: Path) -> None:
    """Examples of rows are escaped."""
    run = tiny.copy(tmp_path, until="prepare")
    dataset = artifact(run, "dataset")
    profile = json.loads((run / "dataset" / "profile.json").read_text(encoding="utf-8"))
    profile["changed"]["some_rule"] = {"rows": 1, "examples": ["<script>alert(1)</script>"]}
    profile["balance"] = {"suspects": 3, "worst": [{"id": "<b>", "share": 0.25}], "methods": ["a", "b"]}
    (run / "dataset" / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    write_overview("tiny", {"dataset": dataset}, tmp_path / PAGE)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "<script>" not in page
    text = _text(page)
    assert "<script>alert(1)</script>" in text
    assert re.search(r"worst 1, share\s+0\.25", text)


def test_rules_that_were_asked_for_are_tables(tiny: TinyRun, tmp_path: Path) -> None:
    """Suspects are shown with their texts, groups with their shares and weights, identifiers by type and split; what
    the rows are is the dataset's own."""
    rules = {
        "quality": {}, "privacy": {"policy": "keep"}, "duplicates": {"threshold": 0.5},
        "bias": {"terms": {"films": ["film", "movie"]}, "reweigh": "terms:films"},
    }  # fmt: skip
    overrides = [part for key, value in rules.items() for part in ("--set", f"data.{key}={json.dumps(value)}")]
    found = ftdeploy("run", tiny.recipe, "--until", "prepare", "--out", tmp_path / "run", *overrides)
    assert found.returncode == 0, found.stderr
    page = html.unescape((tmp_path / "run" / PAGE).read_text(encoding="utf-8"))
    profile = json.loads((tmp_path / "run" / "dataset" / "profile.json").read_text(encoding="utf-8"))
    assert f"right in {profile['quality']['accuracy']:.1%} of the rows" in page
    with (tmp_path / "run" / "dataset" / "suspects.csv").open(encoding="utf-8", newline="") as handle:
        first = next(row for row in csv.DictReader(handle) if row["issue"] == "label")
    assert first["text"] in page
    for group, one in profile["bias"]["columns"]["terms:films"].items():
        assert re.search(rf"<td>{re.escape(group or '(none)')}</td><td class=\"number\">{one['rows']:,}</td>", page)
    for heading in ("Suspicious rows", "Identifiers of people", "Groups and terms"):
        assert f">{heading}<" in page


def test_a_search_is_summed_up_and_its_own_page_linked(tmp_path: Path) -> None:
    """The verdict in a sentence, the winner and the fastest with score, speed and size; everything else on its page."""
    found = search()
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "candidates.json").write_text(found.model_dump_json(), encoding="utf-8")
    for name in ("model.onnx", "tokenizer.json", "signature.json"):
        (folder / name).write_text("not looked into", encoding="utf-8")
    write_page(found, folder)
    sealed = seal(
        folder, target=tmp_path / "compressed", kind="compressed", made_by="compress@2", made_from=(), key="",
        settings={}, facts={"speedup": 5.02, "times_smaller": 8.2},
    )  # fmt: skip
    write_overview("tiny", {"compressed": sealed}, tmp_path / PAGE)
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    text = _text(page)
    assert f"{sentence(found)} Non-inferior to fp32 by the gate, on 1,004 validation rows." in text
    assert found.calibration is not None
    assert found.calibration.sentence() in text
    assert f'href="compressed/candidates.html">All {len(found.candidates)} candidates' in page
    measured = [one for one in ranked(found).values() if one.costs is not None]
    table = text[text.index("(validation)") :]
    for one in measured[:10]:
        assert one.name in table
        assert one.costs is not None
        assert f"{one.costs.speedup:.2f}x" in table
    assert f"{WINNER} (winner)" in table
    assert "optimum-fused" not in table, "the eleventh in order"


def test_curves_show_what_was_frozen_and_each_group_s_rate() -> None:
    """With gradual unfreezing there is a curve of the frozen groups and one learning rate for each group."""
    plain = [{"step": step, "loss": 1 / step, "learning_rate": 1e-4, "grad_norm": 1.0} for step in (1, 2, 3)]
    plain.append({"step": 3, "eval_loss": 0.5, "eval_accuracy": 0.75})
    assert len(list(training_charts(plain))) == 4
    rates = {"head": 1e-4, "layer 5": 5e-5}
    frozen = [{**entry, "frozen": ["layer 5"], "learning_rates": rates} for entry in plain[:1]] + plain[1:]
    charts = list(training_charts(frozen))
    assert len(charts) == 5
    assert "step 1: frozen layer 5" in charts[-1]
    assert any("layer 5" in chart and "Learning rates" in chart for chart in charts)
