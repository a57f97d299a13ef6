"""Rows of two texts through the whole of FLOW, and their bundle as people and programs use it."""

from __future__ import annotations

import csv
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browser import Browser, running
from tiny_pairs import COLUMNS, make_tiny_pairs, write_tiny_pairs
from tiny_run import TinyRun, artifact, ftdeploy, refusal
from transformers import AutoTokenizer
from workspace import serving

from ftdeploy.crossvalidate.fold import predict
from ftdeploy.dataset import SPLITS, pair_columns, read_split
from ftdeploy.models import open_model
from ftdeploy.pairs import SEPARATOR, join, parts
from ftdeploy.predictor import Predictor
from ftdeploy.prepare import prepare
from ftdeploy.recipe import load_recipe
from ftdeploy.stage import run_stage
from ftdeploy.traffic import read_traffic
from ftdeploy.update.challenger import challenger_recipe
from ftdeploy.update.collect import collect, keys_of
from ftdeploy.verdict import read_report

LONG = "a superb and touching film that nobody should miss, with a cast that gives all it has to every single scene"
SHORT = "it was fine"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run of the tiny recipe, whose label is which of both texts has more words; it keeps texts."""
    return make_tiny_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the served bundle records."""
    return tmp_path_factory.mktemp("traffic") / "recorded"


@pytest.fixture(scope="module")
def url(run: TinyRun, traffic: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its bundle, served."""
    command = [sys.executable, "-m", "ftdeploy", "serve", str(run.run / "bundle")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTDEPLOY_TRAFFIC", str(traffic))
        with serving(command, cwd=tmp_path_factory.mktemp("served")) as found:
            yield found


def predictor(run: TinyRun) -> Predictor:
    return Predictor(run.run / "bundle" / "src" / "model", device="cpu")


def first_of(answer: Any) -> dict[str, Any]:
    return {one["label"]: pytest.approx(one["score"], abs=1e-4) for one in answer}


def test_the_model_reads_both_texts(run: TinyRun) -> None:
    """It learned which is longer, so it must have told them apart: exchanged, they are answered the other way."""
    report = read_report(run.run / "report" / "report.json")
    (accuracy,) = [one.candidate.value for one in report.metrics if one.metric == "accuracy"]
    assert accuracy > 0.6, "the tiny model has learned nothing, and nothing here is proven"
    model = predictor(run)
    found = model.task.said(model.predict([join(LONG, SHORT), join(SHORT, LONG)]), model.signature).labels
    assert found == ["first", "second"]
    assert SEPARATOR not in (run.run / "report" / "report.html").read_text(encoding="utf-8")
    assert "reads two texts" in (run.run / "bundle" / "src" / "model" / "model_card.md").read_text(encoding="utf-8")


def test_rows_are_tokenised_as_transformers_would(run: TinyRun) -> None:
    """In the bundle as in training: template, token types, the longer text cut first. So the export's parity with
    torch is parity with the checkpoint as anybody else would load it."""
    table = read_split(artifact(run.run, "dataset"), "test")
    pairs = [parts(text) for text in table["text"].to_pylist()]
    fast = AutoTokenizer.from_pretrained(run.run / "checkpoint")
    theirs = fast([one for one, _ in pairs], [other for _, other in pairs], truncation=True, max_length=48)
    model = predictor(run)
    ours = model.encode(table["text"].to_pylist())
    assert [row.ids for row in ours] == theirs["input_ids"]
    assert any(row.truncated() for row in ours), "no pair is so long that it is cut"
    ids, mask = (np.array([row], dtype=np.int64) for row in (ours[0].ids, [1] * len(ours[0].ids)))
    assert model.signature.feeds(ids, mask)["token_type_ids"].tolist() == [theirs["token_type_ids"][0]]


def test_the_checkpoint_answers_as_the_bundle(run: TinyRun) -> None:
    """Opened as a model, and by the code of cross-validation; both tell the texts apart by themselves."""
    texts = read_split(artifact(run.run, "dataset"), "test")["text"].to_pylist()[:20]
    with closing(open_model(str(run.run / "onnx"), device="cpu")) as onnx:
        expected = onnx.scores(texts)
    with closing(open_model(str(run.run / "checkpoint"), device="cpu")) as checkpoint:
        assert checkpoint.pairs
        found = checkpoint.scores(texts)
    temperature = predictor(run).signature.temperature
    again = predict(artifact(run.run, "checkpoint"), texts, load_recipe(run.recipe))
    np.testing.assert_allclose(again, found, atol=1e-4)
    if temperature == 1:
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_every_protocol_answers_pairs(run: TinyRun, url: str) -> None:
    """The same for the same pair, whatever its shape; in the order asked."""
    model = predictor(run)
    outputs = model.predict([join(LONG, SHORT), join(SHORT, LONG)])
    one, other = (first_of(answer) for answer in model.task.decode(outputs, model.signature))
    named = {"text": LONG, "text_pair": SHORT}

    def asked(path: str, content: Any, **headers: str) -> Any:
        body = content if isinstance(content, str) else json.dumps(content)
        reply = httpx.post(f"{url}{path}", content=body, headers={"content-type": "application/json"} | headers)
        assert reply.status_code == 200, reply.text
        return reply

    def scores(answer: Any) -> dict[str, float]:
        return {one["label"]: one["score"] for one in answer}

    assert scores(asked("/predict", {"inputs": named}).json()) == one
    assert scores(asked("/predict", {"inputs": [LONG, SHORT]}).json()) == one
    found = asked("/predict", {"inputs": [named, [SHORT, LONG]]}).json()
    assert [scores(answer) for answer in found] == [one, other]
    tensors = [
        {"name": "text_pair", "shape": [2], "datatype": "BYTES", "data": [SHORT, LONG]},
        {"name": "text", "shape": [2], "datatype": "BYTES", "data": [LONG, SHORT]},
    ]
    infer = asked("/v2/models/tiny/infer", {"inputs": tensors, "outputs": [{"name": "label"}]}).json()
    assert infer["outputs"][0]["data"] == ["first", "second"]
    records = [dict(zip(COLUMNS, pair, strict=True)) for pair in ((LONG, SHORT), (SHORT, LONG))]
    told = asked("/invocations", {"dataframe_records": records}).json()["predictions"]
    assert [record["label"] for record in told] == ["first", "second"]
    table = f'{",".join(COLUMNS)}\n"{LONG}","{SHORT}"\n'
    assert asked("/invocations", table, **{"content-type": "text/csv"}).text.splitlines()[1].startswith("first,")
    lines = "".join(json.dumps(line) + "\n" for line in ([LONG, SHORT], {"inputs": records[1], "id": 7}, LONG))
    bulk = asked("/predict/bulk", lines, **{"content-type": "application/x-ndjson"})
    first, second, wrong = map(json.loads, bulk.text.splitlines())
    assert scores(first["predictions"]) == one
    assert (second["id"], scores(second["predictions"])) == (7, other)
    assert "this model reads two texts" in wrong["error"]


def test_half_a_pair_is_refused(url: str) -> None:
    """With 422, and what is missing."""
    for inputs in (LONG, {"text": LONG}, [LONG], [[LONG]], {"text": LONG, "text_pair": None}):
        reply = httpx.post(f"{url}/predict", json={"inputs": inputs})
        assert reply.status_code == 422
        assert "two texts" in reply.json()["error"]
    about = httpx.get(f"{url}/about").json()
    assert about["pairs"] == list(COLUMNS)
    schemas = httpx.get(f"{url}/docs.json").json()["components"]["schemas"]
    assert {"text", "text_pair"} in [set(one.get("properties", ())) for one in schemas["Pair"]["anyOf"]]


def test_bundle_and_service_are_judged_on_pairs(run: TinyRun, url: str, tmp_path: Path) -> None:
    """By `ftdeploy eval` on the test rows of the run, and on a suite with a source of its own; a service is asked in
    whichever protocol it speaks."""
    bundle, suite = run.run / "bundle", tmp_path / "suite.yaml"
    columns = {"text": COLUMNS[0], "text_pair": COLUMNS[1], "label": "label"}
    gates = [{"kind": "non-inferiority", "metric": "accuracy", "margin": 0.2}]
    source = {"path": str(run.recipe.parent / "rows.csv")}
    document = {"name": "own", "gates": gates, "resamples": 1000, "timing_rows": 8, "timing_rounds": 5,
                "cases": [{"name": "rows", "source": source, "columns": columns, "limit": 80}]}  # fmt: skip
    suite.write_text(json.dumps(document), encoding="utf-8")
    environment = {"FTDEPLOY_CACHE": str(tmp_path / "cache")}
    for candidate in (str(bundle), url, f"{url}/predict"):
        found = ftdeploy("eval", suite, "--candidate", candidate, "--baseline", run.run / "onnx",
                         "--report", tmp_path / f"report-{len(candidate)}", environment=environment)  # fmt: skip
        assert found.returncode == 0, found.stderr
    single = {**columns, "text_pair": None}
    document["cases"][0]["columns"] = single  # type: ignore[index]  # a list
    suite.write_text(json.dumps(document), encoding="utf-8")
    told = ftdeploy("eval", suite, "--candidate", bundle, "--absolute", "--report", tmp_path / "no",
                    environment=environment)  # fmt: skip
    assert "reads two texts a row, and the rows have one" in told.stderr


def test_what_is_recorded_is_learned_from(run: TinyRun, url: str, traffic: Path, tmp_path: Path) -> None:
    """Texts are kept as two; the queue of `ftdeploy monitor` has both for whoever labels; their labels become new rows,
    and the challenger's dataset is one of pairs."""
    fresh = [(f"{LONG} number {n}", f"{SHORT} {n}") for n in range(60)]
    inputs = [{"text": one, "text_pair": other} for one, other in fresh]
    reply = httpx.post(f"{url}/predict", json={"inputs": inputs})
    identity = reply.headers["x-request-id"]
    labels = [{"request_id": identity, "index": n, "label": "first"} for n in range(30)]
    assert httpx.post(f"{url}/feedback", json=labels).status_code == 202

    def recorded() -> list[dict[str, Any]]:
        return [row for row in read_traffic(traffic) if row["id"] == identity]

    until = time.monotonic() + 60
    while (len(recorded()) < 60 or sum(row["true_label"] is not None for row in recorded()) < 30) and (
        time.monotonic() < until
    ):
        time.sleep(0.1)
    assert sorted((row["text"], row["text_pair"]) for row in recorded()) == sorted(fresh)
    monitored = ftdeploy("monitor", run.run / "bundle", "--traffic", traffic, "--report", tmp_path / "drift")
    assert (tmp_path / "drift").is_dir(), monitored.stderr
    (queue,) = (tmp_path / "drift").glob("*.csv")
    with queue.open(encoding="utf-8", newline="") as handle:
        asked = [row for row in csv.DictReader(handle) if row["request"] == identity]
    assert {(row["text"], row["text_pair"]) for row in asked} <= set(fresh)
    assert asked
    recipe, dataset = load_recipe(run.recipe), artifact(run.run, "dataset")
    new = collect(recipe, dataset, files=[], traffic=traffic, seen=keys_of([]), work=tmp_path / "work")
    assert sorted(map(parts, new.table["text"].to_pylist())) == sorted(fresh[:30])
    import pyarrow.parquet as pq

    from ftdeploy.pairs import with_two_columns  # as `update` writes them

    pq.write_table(with_two_columns(new.table), tmp_path / "new.parquet")
    made = challenger_recipe(recipe, champion=run.run, dataset=dataset, rows=tmp_path / "new.parquet")
    challenger = run_stage(prepare, made, {}, tmp_path / "challenger" / "dataset").artifact
    assert pair_columns(challenger) == COLUMNS
    rows = [text for name in SPLITS for text in read_split(challenger, name)["text"].to_pylist()]
    assert len(rows) > 400
    assert all(len(parts(text)) == 2 for text in rows)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running() as found:
        yield found


@pytest.mark.slow
def test_the_page_has_a_box_for_each_text(browser: Browser, url: str, tmp_path: Path) -> None:
    """Under the names that the data has for them, line by line; the answers show both, the command asks for both, and a
    table brings both columns."""
    done = "document.querySelector('#progress').hidden && document.querySelector('#run').ariaDisabled === 'false'"
    cards = "[...document.querySelectorAll('.answer')].map(card => card.innerText)"
    with browser.open(f"{url}/") as tab:
        tab.until("document.querySelector('#state').textContent === 'ready'")
        tab.until("document.querySelector('#texts-label').textContent === 'premise, one a line'")
        assert tab.text("#seconds-label") == "hypothesis, one a line"
        tab.fill("#texts", f"{LONG}\n{SHORT}")
        tab.fill("#seconds", SHORT)
        tab.press("Enter", "Control")
        tab.until("!document.querySelector('#problem').hidden")
        assert "not as many second texts" in tab.text("#problem")
        tab.fill("#seconds", f"{SHORT}\n{LONG}")
        tab.press("Enter", "Control")
        tab.until(f"{done} && document.querySelectorAll('.answer').length === 2")
        one, other = tab.ask(cards)
        assert one.index("premise") < one.index(LONG) < one.index("hypothesis") < one.index(SHORT)
        assert one.index("first") < one.index("second")
        assert other.index("second") < other.index("first")
        tab.click("#curl")
        assert '"text_pair":"it was fine"' in tab.text("#command")
        (tmp_path / "rows.csv").write_text(f'label,hypothesis,premise\nx,"{SHORT}","{LONG}"\n', encoding="utf-8")
        tab.click("#clear")
        assert tab.ask("document.querySelector('#seconds').value") == ""
        node = tab.call("Runtime.evaluate", expression="document.querySelector('#file')")["result"]["objectId"]
        tab.call("DOM.setFileInputFiles", files=[str(tmp_path / "rows.csv")], objectId=node)
        tab.until("document.querySelector('#seconds').value !== ''")
        assert tab.ask("[document.querySelector('#texts').value, document.querySelector('#seconds').value]") == [
            LONG, SHORT,
        ]  # fmt: skip
        assert not tab.problems()


def test_a_checkpoint_of_single_texts_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """`ftdeploy check` says it, and what to do."""
    recipe = write_tiny_pairs(tmp_path, rows=60, plain=True)
    told = refusal(ftdeploy("check", recipe), 6)
    assert "puts nothing between the two texts of a row" in told


def test_a_missing_column_is_told_before_anything_runs(tmp_path: Path) -> None:
    """With those there are."""
    columns = {"text": COLUMNS[0], "text_pair": "hypothesys", "label": "label"}
    recipe = write_tiny_pairs(tmp_path, rows=60, sections={"data": {"columns": columns}})
    told = refusal(ftdeploy("check", recipe), 5)
    assert "there is no column 'hypothesys'" in told
    assert "did you mean 'hypothesis'" in told
