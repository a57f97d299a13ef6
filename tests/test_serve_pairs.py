"""Requests to a model that reads two texts: the shapes that people send, one string out of each pair, and refusals that
say what is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from asking import answers, by_label, encoded, scope
from jsonschema_rs import Draft202012Validator
from tiny import write_source
from tiny_pairs import COLUMNS, write_pair_model

from ftdeploy.pairs import SEPARATOR, Pairs, join
from ftdeploy.predictor import Predictor
from ftdeploy.serve.about import describe_bundle
from ftdeploy.serve.app import create_app
from ftdeploy.serve.bulk_lines import read_line
from ftdeploy.serve.invocations import parse_invocations
from ftdeploy.serve.kserve import metadata, parse_infer
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.openapi import describe
from ftdeploy.serve.question import parse_predict
from ftdeploy.serve.tensors import write_texts
from ftdeploy.serve.traffic import Answered, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions
from ftdeploy.serve.wire import Refusal
from ftdeploy.signature import Signature
from ftdeploy.traffic import export_traffic, read_traffic

LIMITS = Limits(max_texts=3, max_chars=20)
ONE = {"text": "good", "text_pair": "bad"}
OURS = dict(zip(COLUMNS, ("good", "bad"), strict=True))
GOOD_BAD, BAD_GOOD = join("good", "bad"), join("bad", "good")
SIGNATURE = Signature(name="m", task="text-classification", labels=("a", "b"), max_length=8,
                      pairs=Pairs(columns=COLUMNS))  # fmt: skip

predict = partial(parse_predict, pairs=COLUMNS)
invocations = partial(parse_invocations, pairs=COLUMNS)
infer = partial(parse_infer, pairs=COLUMNS)


def refused(parse: Callable[..., Any], content: Any, **headers: str) -> Refusal:
    body = content if isinstance(content, bytes) else encoded(content)
    with pytest.raises(Refusal) as caught:
        parse(body, scope(**headers), LIMITS)
    return caught.value


def schema_of(name: str, signature: Signature = SIGNATURE, limits: Limits = LIMITS) -> dict[str, Any]:
    """A schema of the service's description, with what it refers to."""
    document = describe(signature, limits, digest="d" * 64, version="1")
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def fits(name: str, content: Any, signature: Signature = SIGNATURE) -> bool:
    return bool(Draft202012Validator(schema_of(name, signature)).is_valid(content))


@pytest.mark.parametrize(
    ("inputs", "texts", "single"),
    [
        (ONE, [GOOD_BAD], True),
        (OURS, [GOOD_BAD], True),
        (["good", "bad"], [GOOD_BAD], True),
        ([ONE], [GOOD_BAD], False),
        ([ONE, ["bad", "good"], OURS], [GOOD_BAD, BAD_GOOD, GOOD_BAD], False),
        ([["good", "bad"], ["bad", "good"]], [GOOD_BAD, BAD_GOOD], False),
        ({"text_pair": "bad", "text": "good"}, [GOOD_BAD], True),
        (["", ""], [join("", "")], True),
    ],
)
def test_pairs_come_as_pipelines_and_tei_have_them(inputs: Any, texts: list[str], single: bool) -> None:
    """An object with both, or a list of two, alone or in a list; the description of the service allows the same."""
    found = predict(encoded({"inputs": inputs}), scope(), LIMITS)
    assert (found.texts, found.single) == (texts, single)
    assert fits("Question", {"inputs": inputs})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("good", "inputs is a text; this model reads two texts"),
        ({"text": "good"}, "inputs has no text_pair; this model reads two texts"),
        ({"text_pair": "bad"}, "inputs has no text; this model reads two texts"),
        ({"premise": "good"}, "inputs has no hypothesis"),
        ({"text": "good", "hypothesis": "bad"}, "inputs has no text_pair"),
        ({**ONE, "third": "x"}, "unknown key of inputs 'third'"),
        ({"text": "good", "text_pair": None}, "text_pair of inputs wants a text, not null"),
        ({"text": ["good"], "text_pair": "bad"}, "text of inputs wants a text, not a list"),
        (["good"], "inputs[0] is a text; this model reads two texts"),
        (["good", "bad", "good"], "inputs[0] is a text; this model reads two texts"),
        ([ONE, ["good"]], "inputs[1] holds 1 elements; this model reads two texts"),
        ([["good", "bad", "x"]], "inputs[0] holds 3 elements"),
        ([["good", 1]], "text_pair of inputs[0] wants a text, not a number"),
        ([ONE, {"text": "good"}], "inputs[1] has no text_pair"),
        ([], "inputs is empty"),
        (7, "inputs is a number; this model reads two texts"),
        (None, "inputs is null; this model reads two texts"),
    ],
)
def test_half_a_pair_is_refused_and_the_message_says_what_is_missing(inputs: Any, words: str) -> None:
    """With the place among several, and both shapes; the description forbids it, too."""
    found = refused(predict, {"inputs": inputs})
    assert found.status == 422
    assert words in found.message
    assert not fits("Question", {"inputs": inputs})


@pytest.mark.parametrize(
    "inputs", [ONE, [ONE], [["good", "bad"]], [["good", "bad"], ["bad", "good"]]],
)  # fmt: skip
def test_a_model_of_single_texts_takes_no_pair(inputs: Any) -> None:
    """And says so."""
    found = refused(parse_predict, {"inputs": inputs})
    assert found.status == 422
    assert "no pairs" in found.message
    assert not fits("Question", {"inputs": inputs}, SIGNATURE.model_copy(update={"pairs": None}))


def test_limits_hold_for_each_of_both_texts() -> None:
    """Each may have as many characters as a text; of pairs as many may come as of texts."""
    assert predict(encoded({"inputs": ["x" * 20, "y" * 20]}), scope(), LIMITS).texts
    for inputs, key in (({"text": "x" * 21, "text_pair": "y"}, "text"), (["x", "y" * 21], "text_pair")):
        found = refused(predict, {"inputs": [inputs]})
        assert (found.status, found.message) == (413, f"{key} of inputs[0] has 21 characters; at most 20 are accepted")
    assert refused(predict, {"inputs": [ONE] * 4}).status == 413


def test_the_sign_between_texts_is_white_space_in_one() -> None:
    """A client cannot divide a row otherwise than it says."""
    found = predict(encoded({"inputs": [f"a{SEPARATOR}b", f"c{SEPARATOR}"]}), scope(), LIMITS)
    assert found.texts == [join("a b", "c ")]


TWO = [GOOD_BAD, BAD_GOOD]


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": [["good", "bad"], ["bad", "good"]]},
        {"inputs": [ONE, {"text": "bad", "text_pair": "good"}]},
        {"inputs": {"text": ["good", "bad"], "text_pair": ["bad", "good"]}},
        {"inputs": {"hypothesis": ["bad", "good"], "premise": ["good", "bad"]}},
        {"instances": [["good", "bad"], ["bad", "good"]]},
        {"instances": [OURS, {"premise": "bad", "hypothesis": "good"}]},
        {"dataframe_split": {"columns": ["text", "text_pair"], "data": [["good", "bad"], ["bad", "good"]]}},
        {"dataframe_split": {"columns": ["hypothesis", "premise"], "data": [["bad", "good"], ["good", "bad"]]}},
        {"dataframe_split": {"index": [0, 1], "data": [["good", "bad"], ["bad", "good"]]}},
        {"dataframe_records": [OURS, {"hypothesis": "good", "premise": "bad"}]},
        {"dataframe_records": [ONE, {"text": "bad", "text_pair": "good"}], "params": {"top_k": 1}},
        {"inputs": [ONE, ["bad", "good"]], "parameters": {"top_k": 1}},
    ],
)
def test_every_form_of_mlflow_has_two_columns(content: Any) -> None:
    """Named as requests call them or as the training rows do, in any order; and the description knows them all."""
    assert invocations(encoded(content), scope(), LIMITS).texts == TWO
    assert fits("Invocation", content)


@pytest.mark.parametrize("inputs", [ONE, OURS, ["good", "bad"]])
def test_one_pair_is_asked_as_at_predict(inputs: Any) -> None:
    """As SageMaker's container for Hugging Face sends it."""
    found = invocations(encoded({"inputs": inputs}), scope(), LIMITS)
    assert found.texts == [GOOD_BAD]
    assert fits("Invocation", {"inputs": inputs})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"instances": ["good", "bad"]}, "instances[0] is a text; this model reads two texts"),
        ({"instances": [{"text": "good"}]}, "instances[0] has no text_pair"),
        ({"instances": "good"}, "instances wants a list of pairs, not a text"),
        ({"dataframe_records": [{"premise": "good"}]}, "dataframe_records[0] has no hypothesis"),
        ({"dataframe_split": {"columns": ["text"], "data": [["good"]]}}, "dataframe_split.columns are ['text']"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [["x", "y"]]}}, "`premise` and `hypothesis`"),
        ({"dataframe_split": {"columns": "text", "data": []}}, "wants a list of two columns"),
        ({"dataframe_split": {"columns": list(COLUMNS), "data": [["good"]]}}, "dataframe_split[0] holds 1 elements"),
        ({"inputs": {"text": ["a", "b"], "text_pair": ["c"]}}, "two lists of as many texts each"),
        ({"inputs": {"text": ["a"]}}, "inputs are ['text']; this model reads two texts"),
        ({"inputs": {"text": ["a"], "text_pair": "b"}}, "two lists of as many texts each"),
    ],
)
def test_one_column_is_not_enough(content: Any, words: str) -> None:
    """Nor are two of other names: which of them is the first text is never guessed."""
    found = refused(invocations, content)
    assert (found.status, words in found.message) == (422, True), found.message


def test_csv_has_two_columns() -> None:
    """Named in any order, or without a header the first text first; quotes and line breaks as anywhere."""

    def read(body: bytes, kind: str = "text/csv") -> list[str]:
        return invocations(body, scope(content_type=kind), LIMITS).texts

    assert read(b'text,text_pair\ngood,bad\n"bad","good"\n') == TWO
    assert read(b"hypothesis,premise\nbad,good\ngood,bad\n") == TWO
    assert read(b"good,bad\nbad,good\n", "text/csv; header=absent") == TWO
    for body, words in (
        (b"text\ngood\n", "row 0 has 1 cells; two columns are wanted"),
        (b"good,bad\nbad,good\n", "the columns are ['good', 'bad']; this model reads two texts"),
        (b"text,text_pair\ngood\n", "row 1 has 1 cells"),
    ):
        assert words in refused(invocations, body, content_type="text/csv").message


def test_json_lines_are_pairs() -> None:
    """Lists or objects, a line each."""
    body = b'["good", "bad"]\n{"premise": "bad", "hypothesis": "good"}\n'
    assert invocations(body, scope(content_type="application/jsonlines"), LIMITS).texts == TWO
    found = refused(invocations, b'"good"\n', content_type="application/jsonlines")
    assert "row[0] is a text; this model reads two texts" in found.message


# KServe


def tensor(name: str, *texts: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)} | changes


@pytest.mark.parametrize("order", [1, -1])
def test_two_tensors_are_the_two_texts(order: int) -> None:
    """By their names, in any order."""
    inputs = [tensor("text", "good", "bad"), tensor("text_pair", "bad", "good")][::order]
    assert infer(encoded({"inputs": inputs}), scope(), LIMITS).texts == TWO
    assert fits("InferQuestion", {"inputs": inputs})


@pytest.mark.parametrize("order", [1, -1])
def test_tensors_come_as_bytes_one_behind_the_other(order: int) -> None:
    """In the order of the inputs, and one of them may come as JSON."""
    pieces = {"text": write_texts(["good", "bad"]), "text_pair": write_texts(["bad!", "good"])}
    names = ["text", "text_pair"][::order]
    bare = [
        {"name": name, "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": len(pieces[name])}}
        for name in names
    ]

    def read(inputs: list[Any], behind: bytes) -> list[str]:
        said = encoded({"inputs": inputs})
        return infer(said + behind, scope(inference_header_content_length=str(len(said))), LIMITS).texts

    expected = [join("good", "bad!"), join("bad", "good")]
    whole = b"".join(pieces[name] for name in names)
    assert read(bare, whole) == expected
    mixed = [one if one["name"] == "text" else tensor("text_pair", "bad!", "good") for one in bare]
    assert read(mixed, pieces["text"]) == expected
    with pytest.raises(Refusal, match="bytes stand behind the JSON"):
        read(bare, whole + b"x")
    with pytest.raises(Refusal, match="bytes stand behind the JSON"):
        read(bare, whole[:-1])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("text", "good")], "exactly two input tensors, `text` and `text_pair`, are wanted; 1 given"),
        ([tensor("text", "good"), tensor("text", "bad")], "names 'text' and 'text_pair'"),
        ([tensor("text", "good"), tensor("other", "bad")], "names 'text' and 'text_pair'"),
        ([tensor("text", "good"), "x"], "names 'text' and 'text_pair'"),
        ([tensor("text", "good"), tensor("text_pair", "a", "b")], "as many texts each, not 1 of text and 2 of text_p"),
        ([tensor("text", "good"), tensor("text_pair", "b", shape=[2])], "1 texts want the shape"),
        ([tensor("text", "good"), tensor("text_pair", "b", datatype="FP32")], "text_pair wants the datatype 'BYTES'"),
    ],
)
def test_half_of_the_tensors_are_refused(inputs: list[Any], words: str) -> None:
    """With what is wrong about them."""
    found = refused(infer, {"inputs": inputs})
    assert (found.status, words in found.message) == (422, True), found.message


def test_the_metadata_and_the_page_say_that_two_are_wanted() -> None:
    """The protocol's inputs, and how the training rows call them."""
    about = metadata(SIGNATURE, version="1", digest="d" * 64)
    assert [one["name"] for one in about["inputs"]] == ["text", "text_pair"]
    assert about["parameters"]["pairs"] == list(COLUMNS)
    Draft202012Validator(schema_of("Model")).validate(about)
    said = describe_bundle(SIGNATURE, LIMITS, digest="d" * 64, report=None)
    assert said["pairs"] == list(COLUMNS)
    single = SIGNATURE.model_copy(update={"pairs": None})
    assert describe_bundle(single, LIMITS, digest="d" * 64, report=None)["pairs"] is None
    assert len(metadata(single, version="1", digest="d" * 64)["inputs"]) == 1


# Bulk


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["good", "bad"], GOOD_BAD),
        ({"inputs": ONE, "id": 7}, GOOD_BAD),
        ({"inputs": ["bad", "good"], "parameters": {"top_k": 1}}, BAD_GOOD),
    ],
)
def test_a_line_is_a_pair(line: Any, text: str) -> None:
    """As at `/predict`, or a list of both alone."""
    found = read_line(encoded(line), 3, LIMITS, pairs=COLUMNS)
    assert found.refusal is None
    assert found.question is not None
    assert found.question.texts == [text]
    assert fits("BulkLine", line)


@pytest.mark.parametrize("line", ["good", {"inputs": "good"}, {"inputs": [ONE]}, ["good"], {"inputs": {"text": "a"}}])
def test_a_line_without_its_second_text_has_an_error_of_its_own(line: Any) -> None:
    """And is none by the description."""
    found = read_line(encoded(line), 3, LIMITS, pairs=COLUMNS)
    assert found.refusal is not None
    assert found.refusal.status == 422
    assert not fits("BulkLine", line)


# The whole way


def test_answers_are_of_both_texts_in_the_order_asked(tmp_path: Path) -> None:
    """Those of the pairs themselves, whichever protocol asks."""
    write_pair_model(tmp_path / "model")
    predictor = Predictor(tmp_path / "model", device="cpu")
    asked = predict(encoded({"inputs": [["great", "best"], ["awful", "bad"], ["great", "bad"]]}), scope(), LIMITS)
    found = orjson.loads(asked.render(answers(predictor, asked.texts)).body)
    good, bad, mixed = (by_label(one)["positive"] for one in found)
    assert good > mixed > bad
    tensors = {"inputs": [tensor("text", "great", "awful"), tensor("text_pair", "best", "bad")]}
    question = infer(encoded(tensors), scope(), LIMITS)
    said = orjson.loads(question.render(answers(predictor, question.texts)).body)
    assert said["outputs"][0]["data"] == ["positive", "negative"]


def test_an_app_over_a_bundle_of_pairs_asks_for_pairs(tmp_path: Path) -> None:
    """Its routes read bodies so; the description is that of the signature."""
    write_source(tmp_path / "src")
    write_pair_model(tmp_path / "src" / "model")
    app = create_app(tmp_path / "src")

    async def read() -> Any:
        return await app._routes["/docs.json"][1]["GET"]({}, None)  # type: ignore[arg-type]  # it reads nothing

    document = json.loads(asyncio.run(read()).body)
    assert "Pair" in document["components"]["schemas"]
    for path in ("/predict", "/invocations", "/v2/models/tiny/infer"):
        for example in document["paths"][path]["post"]["requestBody"]["content"]["application/json"][
            "examples"
        ].values():
            name = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            resolved = {"$ref": name, "components": document["components"]}
            Draft202012Validator(resolved).validate(example["value"])


def test_recorded_texts_are_two(tmp_path: Path) -> None:
    """Where texts are kept, in two columns, and in what is exported."""
    recorder = Recorder(tmp_path / "traffic", digest="d" * 64, options=TrafficOptions(text=True), pairs=True)
    recorder.record(
        Answered(id="r1", time=1.0, labels=["a"], confidences=[0.5], tokens=[4], unknown=[0.0], truncated=[False],
                 embeddings=[np.zeros(8, dtype=np.float32)], texts=[join("first one", "second one")])
    )  # fmt: skip
    recorder.close()
    (row,) = read_traffic(tmp_path / "traffic")
    assert (row["text"], row["text_pair"]) == ("first one", "second one")
    export_traffic(tmp_path / "traffic", tmp_path / "out.csv")
    head, first = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert "text,text_pair,embedding_0" in head
    assert "first one,second one," in first
