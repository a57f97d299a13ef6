"""What SageMaker and MLflow send: each form gets its texts out and its answers back, and nothing is guessed."""

from __future__ import annotations

import csv
import io
import json

import orjson
import pytest
from asking import answers, encoded, scope
from tiny import write_model_folder

from ftdeploy.predictor import Predictor
from ftdeploy.serve.answers import Asked
from ftdeploy.serve.invocations import parse_invocations
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.wire import Refusal, Reply

LIMITS = Limits(max_texts=3, max_chars=100)


def parsed(body: bytes, **headers: str) -> Asked:
    return parse_invocations(body, scope(**headers), LIMITS)


def refused(body: bytes, **headers: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parsed(body, **headers)
    return caught.value


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder)
    return Predictor(folder)


def replied(predictor: Predictor, body: bytes, **headers: str) -> Reply:
    asked = parsed(body, **headers)
    return asked.render(answers(predictor, asked.texts))


# JSON

TWO = ["good", "bad"]


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": TWO},
        {"inputs": [["good"], ["bad"]]},
        {"inputs": {"text": TWO}},
        {"instances": TWO},
        {"instances": [["good"], ["bad"]]},
        {"instances": [{"text": "good"}, {"text": "bad"}]},
        {"dataframe_split": {"columns": ["text"], "data": [["good"], ["bad"]]}},
        {"dataframe_split": {"index": [0, 1], "columns": ["text"], "data": [["good"], ["bad"]]}},
        {"dataframe_split": {"data": [["good"], ["bad"]]}},
        {"dataframe_records": [{"review": "good"}, {"review": "bad"}]},
    ],
)
def test_mlflows_forms_get_a_record_for_each_text(predictor: Predictor, content: object) -> None:
    """Whatever the form, `predictions` holds each text's label and score, in the order asked."""
    reply = replied(predictor, encoded(content), content_type="application/json; charset=UTF-8")
    found = orjson.loads(reply.body)
    assert reply.content_type == b"application/json"
    assert [set(one) for one in found["predictions"]] == [{"label", "score"}] * 2
    assert [one["label"] for one in found["predictions"]] == ["positive", "negative"]


def test_params_choose_labels_and_scores(predictor: Predictor) -> None:
    """With `top_k` each prediction is a list, also of all labels (null)."""
    body = {"inputs": TWO, "params": {"top_k": None, "function_to_apply": "none"}}
    found = orjson.loads(replied(predictor, encoded(body)).body)["predictions"]
    assert [len(one) for one in found] == [2, 2]
    assert found[0][0]["score"] > 1
    best = orjson.loads(replied(predictor, encoded({"inputs": TWO, "params": {"function_to_apply": "none"}})).body)
    assert best["predictions"] == [one[0] for one in found]


def test_several_labels_of_a_text_are_rows_of_csv(predictor: Predictor) -> None:
    """With `top_k` each row says which text it is about; JSON lines have a list a line."""
    body = encoded({"inputs": TWO, "params": {"top_k": 2}})
    wanted = orjson.loads(replied(predictor, body).body)["predictions"]
    rows = list(csv.DictReader(io.StringIO(replied(predictor, body, accept="text/csv").body.decode(), newline="")))
    assert [(row["row"], row["label"]) for row in rows] == [
        (str(place), one["label"]) for place, answer in enumerate(wanted) for one in answer
    ]
    assert len(rows) == 4
    lines = replied(predictor, body, accept="application/jsonlines").body.splitlines()
    assert [orjson.loads(line) for line in lines] == wanted


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": "good"},
        {"inputs": ["good", "bad"], "parameters": {"top_k": 1}},
        {"inputs": ["good", "bad"], "parameters": None},
        {"inputs": "good", "parameters": {"details": True}},
    ],
)
def test_the_containers_form_is_answered_as_predict_answers(predictor: Predictor, content: object) -> None:
    """A text alone, or `parameters` beside the inputs: SageMaker's container for Hugging Face."""
    from ftdeploy.serve.question import parse_predict

    asked = parse_predict(encoded(content), scope(), LIMITS)
    wanted = asked.render(answers(predictor, asked.texts))
    assert replied(predictor, encoded(content)) == wanted


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([], "an object is wanted"),
        ({}, "exactly one"),
        ({"inputs": TWO, "instances": TWO}, "2 given"),
        ({"inputs": TWO, "params": {}, "parameters": {}}, "'parameters'"),
        ({"inputs": TWO, "params": []}, "params wants an object"),
        ({"inputs": TWO, "params": {"details": True}}, "'details'"),
        ({"inputs": TWO, "params": {"top_k": 0}}, "params.top_k"),
        ({"inputs": TWO, "signature_name": "x"}, "'signature_name'"),
        ({"inputs": 3}, "inputs wants"),
        ({"inputs": {"a": TWO, "b": TWO}}, "one column"),
        ({"inputs": [["good", "bad"]]}, "2 elements"),
        ({"instances": "good"}, "instances wants"),
        ({"instances": [{"a": "good", "b": "bad"}]}, "one key"),
        ({"instances": [{"a": "good"}, "bad"]}, "instances[1]"),
        ({"instances": ["good", 3]}, "instances[1]"),
        ({"instances": [{"a": "good"}, {"b": "bad"}]}, "instances[1] has the column 'b', and the first has 'a'"),
        ({"instances": [{"b64": "YQ=="}]}, "instances[0] has `b64`"),
        ({"inputs": {"b64": ["YQ=="]}}, "inputs has `b64`"),
        ({"dataframe_split": TWO}, "dataframe_split wants"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [["good", "bad"]]}}, "one column"),
        ({"dataframe_split": {"columns": ["a"], "data": [["good", "bad"]]}}, "2 elements"),
        ({"dataframe_split": {"columns": ["a"], "data": TWO}}, "a list of rows"),
        ({"dataframe_split": {"columns": ["a"], "dat": [["good"]]}}, "'dat'"),
        ({"dataframe_records": {"text": "good"}}, "dataframe_records wants"),
        ({"dataframe_records": ["good"]}, "dataframe_records[0]"),
        ({"dataframe_records": [{"text": None}]}, "dataframe_records[0]"),
        ({"dataframe_records": [{"a": "good"}, {"b": "bad"}]}, "dataframe_records[1] has the column 'b'"),
    ],
)
def test_a_form_that_is_not_understood_is_422_by_name(content: object, named: str) -> None:
    """Nothing is guessed, and nothing is ignored."""
    refusal = refused(encoded(content))
    assert (refusal.status, refusal.error_type) == (422, "validation")
    assert named in refusal.message


@pytest.mark.parametrize("form", ["inputs", "instances", "dataframe_records"])
def test_nothing_at_all_is_422_and_too_much_413(form: str) -> None:
    """The limits of `/predict`."""
    assert refused(encoded({form: []})).error_type == "empty"
    many = [{"text": "good"}] * 4 if form != "inputs" else ["good"] * 4
    assert refused(encoded({form: many})).status == 413


# CSV


@pytest.mark.parametrize(
    ("kind", "body", "texts"),
    [
        ("text/csv", b"text\r\ngood\r\nbad\r\n", TWO),
        ("text/csv", b'"Text"\ngood\nbad', TWO),
        ("text/csv", b"inputs\ngood\n\nbad\n\n", TWO),
        ("text/csv", b'\xef\xbb\xbftext\n"a, ""b""\nc"\n""\n', ['a, "b"\nc', ""]),
        ("text/csv; header=present", b"review\ngood\nbad\n", TWO),
        ('TEXT/CSV; charset="utf-8"; header="absent"', b"text\ngood\n", ["text", "good"]),
    ],
)
def test_csv_of_one_column(kind: str, body: bytes, texts: list[str]) -> None:
    """A header by its name or by what the media type says; quotes, line breaks in them, empty lines and empty texts."""
    assert parsed(body, content_type=kind).texts == texts


def test_csv_without_a_word_on_its_header_is_422_when_the_first_line_is_none(predictor: Predictor) -> None:
    """Else a first text would be lost in silence, or a header answered."""
    refusal = refused(b"good\nbad\n", content_type="text/csv")
    assert refusal.status == 422
    assert "header=absent" in refusal.message
    reply = replied(predictor, b"good\nbad\n", content_type="text/csv; header=absent")
    rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
    assert [row["label"] for row in rows] == ["positive", "negative"]
    assert [0.9 < float(row["score"]) <= 1 for row in rows] == [True, True]
    assert reply.content_type.startswith(b"text/csv")


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        (b"", 422, "empty"),
        (b"text\n", 422, "empty"),
        (b"text\ngood,bad\n", 422, "validation"),
        (b"text\n\xff\xfe\n", 400, "invalid_csv"),
        (b'text\n"good\n', 400, "invalid_csv"),
        (b'text\n"good"bad\n', 400, "invalid_csv"),
        (b"text\n" + b"good\n" * 4, 413, "too_large"),
        (b"text\n" + b"good\n" * 400_000, 413, "too_large"),
        (b"text\n" + b"x" * 101 + b"\n", 413, "too_large"),
        (b"text\n" + b"x" * 200_000 + b"\n", 413, "too_large"),
    ],
)
def test_csv_that_cannot_be_read_is_refused(body: bytes, status: int, error_type: str) -> None:
    """Not CSV, not UTF-8, not one column, too much."""
    refusal = refused(body, content_type="text/csv")
    assert (refusal.status, refusal.error_type) == (status, error_type)


# JSON lines


@pytest.mark.parametrize(
    "kind", ["application/jsonlines", "application/jsonl", "application/x-jsonlines", "application/x-ndjson"]
)
@pytest.mark.parametrize(
    "body",
    [
        b'"good"\n"bad"\n',
        b'"good"\r\n"bad"',
        b'{"inputs": "good"}\n{"inputs": "bad"}\n',
        b'{"x":"good"}\n{"y":"bad"}',
    ],
)
def test_lines_get_a_line_each(predictor: Predictor, kind: str, body: bytes) -> None:
    """Texts or objects of one key, under each name that the type goes by."""
    reply = replied(predictor, body, content_type=kind)
    assert reply.content_type == b"application/jsonlines"
    assert reply.body.endswith(b"\n")
    assert [json.loads(line)["label"] for line in reply.body.splitlines()] == ["positive", "negative"]


@pytest.mark.parametrize(
    ("body", "status", "error_type"),
    [
        (b"", 422, "empty"),
        (b"\n", 422, "empty"),
        (b'"good"\n\n"bad"\n', 400, "invalid_json"),
        (b'"good"\n{\n', 400, "invalid_json"),
        (b'"good"\n3\n', 422, "validation"),
        (b'{"a": "good"}\n"bad"\n', 422, "validation"),
        (b'{"a": "good", "b": "bad"}\n', 422, "validation"),
        (b'{"b64": "YQ=="}\n', 422, "validation"),
        (b'"good"\n' * 4, 413, "too_large"),
        (b"1\n" * 500_000, 413, "too_large"),
    ],
)
def test_lines_that_cannot_be_read_are_refused_as_a_whole(body: bytes, status: int, error_type: str) -> None:
    """One answer for one request; lines that fail alone are those of bulk."""
    refusal = refused(body, content_type="application/jsonlines")
    assert (refusal.status, refusal.error_type) == (status, error_type)


# Media types


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-npy", "application/json; charset=latin-1", "text/csv; header=maybe", "json"]
)
def test_an_unknown_media_type_is_415(kind: str) -> None:
    """With those that there are."""
    assert refused(b"text\ngood", content_type=kind).status == 415


@pytest.mark.parametrize(
    ("kind", "accept", "given"),
    [
        ("text/csv", "*/*", "text/csv"),
        ("text/csv", "text/*", "text/csv"),
        ("text/csv", "application/json", "application/json"),
        ("text/csv", "image/png, application/jsonl;q=0.5", "application/jsonlines"),
        ("text/csv", "application/*", "application/json"),
        ("application/json", "text/csv", "text/csv"),
        ("application/json", "text/csv, application/json", "application/json"),
        ("", "application/json", "application/json"),
        ("", "", "application/json"),
        ("application/json", "application/json;q=0, text/csv", "text/csv"),
        ("application/json", "application/json;q=0.4, text/csv; q=0.5", "text/csv"),
        ("application/json", "text/csv;q=0.001, application/x-ndjson;q=1.000", "application/jsonlines"),
        ("application/json", "*/*;q=0.1, text/csv", "text/csv"),
        ("text/csv", "*/*, text/*;q=0", "application/json"),
        ("text/csv", "application/*;q=0.5, application/json;q=0.1, text/csv;q=0", "application/jsonlines"),
        ("application/json", "text/csv;q=nan, application/json", "application/json"),
        ("text/csv", "application/jsonl, application/x-ndjson;q=0", "application/jsonlines"),
    ],
)
def test_accept_chooses_the_answers_type(predictor: Predictor, kind: str, accept: str, given: str) -> None:
    """The most wanted by the weights, and among equals the body's own where it will do."""
    body = encoded({"inputs": TWO}) if kind in ("", "application/json") else b"text\ngood\nbad\n"
    reply = replied(predictor, body, content_type=kind, accept=accept)
    assert reply.content_type.decode().split(";")[0] == given


def test_what_nobody_accepts_is_406() -> None:
    """Said before the model works for it."""
    assert refused(b"text\ngood", content_type="text/csv", accept="image/png").status == 406
    assert refused(b"text\ngood", content_type="text/csv", accept="text/csv;q=0, application/*;q=0.0").status == 406
    assert refused(encoded({"inputs": "good"}), accept="text/csv").status == 406


def test_a_question_that_has_but_one_form_is_answered_in_it_where_it_is_accepted_at_all(predictor: Predictor) -> None:
    """Though another was wanted more."""
    reply = replied(predictor, encoded({"inputs": "good"}), accept="text/csv, application/json;q=0.5")
    assert reply.content_type == b"application/json"
