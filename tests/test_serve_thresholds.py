"""A fallback stands first where the likeliest label is not sure enough, in every protocol and nowhere else."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from asking import answers, by_label, encoded, scope
from tiny import write_model_folder

from ftdeploy.predictor import Predictor
from ftdeploy.serve.bulk_lines import answer_line, read_line
from ftdeploy.serve.invocations import parse_invocations
from ftdeploy.serve.kserve import metadata, parse_infer
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.metrics import Texts
from ftdeploy.serve.question import parse_predict
from ftdeploy.serve.thresholds import decided, sure_enough
from ftdeploy.signature import Signature, read_signature, write_signature

LIMITS = Limits()
LABELS = ("negative", "neutral", "positive")
SURE, UNSURE = "superb great best", "the film was a film"
ANSWER = [{"label": "b", "score": 0.5}, {"label": "a", "score": 0.3}, {"label": "c", "score": 0.2}]


def _signature(thresholds: Mapping[str, float], fallback: str = "other") -> Signature:
    return Signature(name="m", task="text-classification", labels=("a", "b", "c"), max_length=8,
                     thresholds=thresholds, fallback=fallback)  # fmt: skip


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A model that answers `other` below 0.9; `SURE` is above it, `UNSURE` below."""
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder, LABELS)
    told = {"thresholds": dict.fromkeys(LABELS, 0.9), "fallback": "other"}
    write_signature(folder, read_signature(folder).model_copy(update=told))
    return Predictor(folder)


def _predict(predictor: Predictor, **asked: Any) -> Any:
    question = parse_predict(encoded(asked), scope(), LIMITS)
    return orjson.loads(question.render(answers(predictor, question.texts)).body)


@pytest.mark.parametrize(
    ("thresholds", "sure"),
    [({}, True), ({"b": 0.5}, True), ({"b": 0.5001}, False), ({"a": 0.9, "c": 0.9}, True), ({"b": 0.0}, True)],
)
def test_the_likeliest_label_alone_is_held_against_its_own_threshold(thresholds: dict[str, float], sure: bool) -> None:
    """Not the others: a label that is unlikely is no answer, however low its threshold."""
    signature = _signature(thresholds)
    assert sure_enough(ANSWER, signature) is sure
    assert (decided(ANSWER, signature) == ANSWER) is sure


def test_a_foreign_fallback_stands_first_with_the_chance_that_the_best_label_is_wrong() -> None:
    """And the model's labels behind it, as they were; what was given is not changed."""
    before = [dict(item) for item in ANSWER]
    assert decided(ANSWER, _signature({"b": 0.9})) == [{"label": "other", "score": 0.5}, *before]
    assert before == ANSWER


def test_a_fallback_that_the_model_knows_goes_to_the_front_with_its_own_score() -> None:
    """Every label stands there once."""
    found = decided(ANSWER, _signature({"b": 0.9, "a": 0.9}, "c"))
    assert [item["label"] for item in found] == ["c", "b", "a"]
    assert by_label(found) == by_label(ANSWER)


def test_without_a_fallback_nothing_is_below_anything() -> None:
    """As every bundle before thresholds."""
    assert decided(ANSWER, _signature({"b": 0.9}, "")) == ANSWER


def test_predict_answers_it_in_its_own_shape(predictor: Predictor) -> None:
    """A list of labels with scores, best first, one longer; top_k counts it."""
    sure, unsure = _predict(predictor, inputs=[SURE, UNSURE])
    assert sure[0]["label"] == "positive"
    assert len(sure) == 3
    assert unsure[0] == {"label": "other", "score": pytest.approx(1 - unsure[1]["score"])}
    assert {item["label"] for item in unsure[1:]} == set(LABELS)
    assert _predict(predictor, inputs=UNSURE, parameters={"top_k": 1}) == unsure[:1]
    assert _predict(predictor, inputs=UNSURE, parameters={"details": True})["predictions"] == [unsure]


@pytest.mark.parametrize(
    "asked",
    [
        {"parameters": {"thresholds": False}},
        {"parameters": {"function_to_apply": "sigmoid"}},
        {"raw_scores": True},
    ],
)
def test_who_asks_for_the_models_own_labels_gets_them(predictor: Predictor, asked: dict[str, Any]) -> None:
    """By the parameter; and scores that are no probabilities are held against no threshold."""
    assert {item["label"] for item in _predict(predictor, inputs=UNSURE, **asked)} == set(LABELS)


@pytest.mark.parametrize("asked", [{"thresholds": True}, {"thresholds": None}, {"function_to_apply": "softmax"}])
def test_who_asks_for_nothing_else_gets_what_was_decided(predictor: Predictor, asked: dict[str, Any]) -> None:
    """Also by name."""
    assert _predict(predictor, inputs=UNSURE, parameters=asked) == _predict(predictor, inputs=UNSURE)


def test_kserve_names_it_as_the_label_and_keeps_the_scores(predictor: Predictor) -> None:
    """`scores` has a column for each of the model's labels, as the metadata lists them: who wants these reads them."""
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": [SURE, UNSURE]}
    question = parse_infer(encoded({"inputs": [tensor]}), scope(), LIMITS)
    found = orjson.loads(question.render(answers(predictor, question.texts)).body)
    outputs = {one["name"]: one for one in found["outputs"]}
    assert outputs["label"]["data"] == ["positive", "other"]
    assert outputs["scores"]["shape"] == [2, 3]
    own = by_label(_predict(predictor, inputs=UNSURE, parameters={"thresholds": False}))
    assert outputs["scores"]["data"][3:] == pytest.approx([own[label] for label in LABELS], abs=1e-6)
    assert outputs["score"]["data"][1] == pytest.approx(1 - max(own.values()), abs=1e-6)
    told = metadata(predictor.signature, version="1", digest="d")["parameters"]
    assert (told["fallback"], told["thresholds"]) == ("other", dict.fromkeys(LABELS, 0.9))
    plain = predictor.signature.model_copy(update={"fallback": "", "thresholds": {}})
    assert not {"fallback", "thresholds"} & metadata(plain, version="1", digest="d")["parameters"].keys()


def test_invocations_answer_it_in_every_media_type(predictor: Predictor) -> None:
    """MLflow's and SageMaker's JSON, CSV and JSON lines; `params` leave it out."""

    def ask(content: Any, accept: str = "application/json") -> bytes | bytearray:
        asked = parse_invocations(encoded(content), scope(content_type="application/json", accept=accept), LIMITS)
        return asked.render(answers(predictor, asked.texts)).body

    rows = {"instances": [SURE, UNSURE]}
    assert [one["label"] for one in orjson.loads(ask(rows))["predictions"]] == ["positive", "other"]
    table = list(csv.DictReader(io.StringIO(bytes(ask(rows, "text/csv")).decode())))
    assert [row["label"] for row in table] == ["positive", "other"]
    lines = bytes(ask(rows, "application/jsonlines")).splitlines()
    assert orjson.loads(lines[1])["label"] == "other"
    raw = orjson.loads(ask(rows | {"params": {"thresholds": False}}))["predictions"]
    assert raw[1]["label"] in LABELS


def test_lines_of_bulk_answer_it(predictor: Predictor) -> None:
    """As `/predict`."""
    for parameters, first in (({}, "other"), ({"thresholds": False}, None)):
        line = read_line(encoded({"inputs": UNSURE, "parameters": parameters}), 0, LIMITS)
        assert line.question is not None
        found = orjson.loads(answer_line(line, line.question, answers(predictor, [UNSURE])))["predictions"]
        assert (found[0]["label"] == first) is (first is not None)


def test_metrics_count_it_beside_the_models_own_labels(predictor: Predictor) -> None:
    """Drift is told by the model's labels: a fallback that took their place would hide it."""
    texts = Texts(predictor.signature)
    found = answers(predictor, [SURE, UNSURE, UNSURE])
    texts.note(found.rows, found.scored)
    counted = texts.snapshot(LABELS)
    assert counted["ftdeploy_fallbacks_total"] == 2
    assert sum(value for name, value in counted.items() if name.startswith("ftdeploy_answers_total")) == 3
