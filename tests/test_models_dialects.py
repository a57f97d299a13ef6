"""Which dialect a service is taken to speak, and what answers are read as."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_service import LABELS, kserve_metadata, labelled, scores_of, served

from ftdeploy.errors import SourceError
from ftdeploy.models.client import Calls, Client
from ftdeploy.models.dialects import ShapeError, dialects, read_labelled
from ftdeploy.pairs import join

ROW = [{"label": "a", "score": 0.75}, {"label": "b", "score": 0.25}]


def names(url: str) -> list[tuple[str, str]]:
    client = Client(url, Calls())
    try:
        return [(one.name, one.path) for one in dialects(client, LABELS)]
    finally:
        client.close()


def test_a_service_that_states_what_it_is_is_believed() -> None:
    """By its metadata or its information; the others are tried at /predict, and at the address itself."""
    with served("kserve") as service:
        for path in ("", "/", "/v2", "/v2/", "/v2/models/stars", "/v2/models/stars/infer"):
            assert names(service.url + path) == [("KServe v2", "/v2/models/stars/infer")]
    with served("tei") as service:
        assert names(service.url) == [("TEI", "/predict")]
    with served("hf") as service:
        assert names(service.url + "/predict") == [("Hugging Face", "/predict"), ("TEI", "/predict")]
        assert [path for _, path in names(service.url + "/base")] == ["/base/predict"] * 2 + ["/base"] * 2


def test_questions_have_the_form_of_their_dialect() -> None:
    """All labels are asked for; TEI's batches are nested and cut; a tensor has the shape of the metadata."""
    bodies: dict[str, Any] = {}
    for speaks in ("kserve", "tei", "hf"):
        with served(speaks) as service:
            client = Client(service.url, Calls())
            bodies[speaks] = next(iter(dialects(client, LABELS))).body(["x", "y"])
            client.close()
    assert bodies["hf"] == {"inputs": ["x", "y"], "parameters": {"top_k": None}}
    assert bodies["tei"] == {"inputs": [["x"], ["y"]], "truncate": True}
    assert bodies["kserve"] == {
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["x", "y"]}],
        "outputs": [{"name": "probabilities"}],
    }


def test_pairs_have_the_form_of_their_dialect() -> None:
    """An object, a list of two, or two tensors; a service with the inputs of two texts says that it reads such."""
    inputs = [{"name": name, "datatype": "BYTES", "shape": [-1, 1]} for name in ("text", "text_pair")]
    texts = [join("a", "b"), join("c", "d")]
    bodies: dict[str, Any] = {}
    for speaks, meta in (("kserve", {"inputs": inputs}), ("tei", {}), ("hf", {})):
        with served(speaks, meta=meta) as service:
            client = Client(service.url, Calls())
            dialect = next(iter(dialects(client, LABELS)))
            assert dialect.pairs is (True if speaks == "kserve" else None)
            bodies[speaks] = dialect.body(texts)
            client.close()
    told = [{"text": "a", "text_pair": "b"}, {"text": "c", "text_pair": "d"}]
    assert bodies["hf"] == {"inputs": told, "parameters": {"top_k": None}}
    assert bodies["tei"] == {"inputs": [["a", "b"], ["c", "d"]], "truncate": True}
    assert bodies["kserve"]["inputs"] == [
        {"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["a", "c"]},
        {"name": "text_pair", "datatype": "BYTES", "shape": [2, 1], "data": ["b", "d"]},
    ]


def test_the_output_with_the_scores_is_found() -> None:
    """The usual name among several, or the only matrix; of two unknown ones neither."""
    scores = {"name": "logits", "datatype": "FP32", "shape": [-1, 3]}
    outputs = kserve_metadata()["outputs"]
    for listed, wanted in (([*outputs, scores], "probabilities"), ([outputs[0], scores], "logits")):
        with served("kserve", meta={"outputs": listed}) as service:
            client = Client(service.url, Calls())
            assert next(iter(dialects(client, LABELS))).body(["x"])["outputs"] == [{"name": wanted}]
            client.close()
    two = {"outputs": [scores, scores | {"name": "other"}]}
    with served("kserve", meta=two) as service, pytest.raises(SourceError, match="give a score for each label"):
        names(service.url)


@pytest.mark.parametrize(
    ("document", "rows"),
    [([ROW, ROW[::-1]], 2), ({"predictions": [ROW, ROW]}, 2), (ROW, 1), ([ROW], 1)],
)
def test_answers_are_read_by_label(document: Any, rows: int) -> None:
    """In lists, wrapped, or bare for one text."""
    assert read_labelled(document, rows) == [{"a": 0.75, "b": 0.25}] * rows


@pytest.mark.parametrize(
    "document",
    [None, 7, "good", {"error": "x"}, [1], [[1]], [[{"label": 1, "score": 0.5}]], [[{"label": "a", "score": True}]],
     [[{"label": "a", "score": float("nan")}]], [[ROW[0], ROW[0]]]],
)  # fmt: skip
def test_what_is_no_answer_is_not_read_as_one(document: Any) -> None:
    """A number too few or a word too many."""
    with pytest.raises(ShapeError):
        read_labelled(document, 1)


def test_the_small_service_answers_each_text_differently() -> None:
    """Otherwise the tests of order would prove nothing."""
    assert len({tuple(scores_of(f"text {number}")) for number in range(200)}) == 200
    assert labelled("x")[0]["score"] >= labelled("x")[-1]["score"]


def test_a_number_is_an_output_of_its_own() -> None:
    """One for each text, in one dimension, where there is no matrix of scores."""
    outputs = [{"name": "score", "datatype": "FP32", "shape": [-1]}]
    with served("kserve", meta={"outputs": outputs}) as service:
        client = Client(service.url, Calls())
        dialect = next(iter(dialects(client, ("score",))))
        client.close()
    assert dialect.body(["x"])["outputs"] == [{"name": "score"}]
