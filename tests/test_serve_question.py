"""The keys of `/predict`: what is honoured, and that nothing is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from asking import answers, by_label, encoded, scope
from tiny import write_model_folder

from ftdeploy.predictor import Predictor
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import Question, parse_predict
from ftdeploy.serve.wire import Refusal

LIMITS = Limits(max_texts=3, max_chars=100)


def parsed(content: object) -> Question:
    return parse_predict(encoded(content), scope(), LIMITS)


def refused(content: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parsed(content)
    return caught.value


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder)
    return Predictor(folder)


@pytest.mark.parametrize(
    ("inputs", "texts", "single"),
    [
        ("a", ["a"], True),
        (["a"], ["a"], False),
        (["a", "b"], ["a", "b"], False),
        ([["a"], ["b"]], ["a", "b"], False),
    ],
)
def test_texts_come_alone_in_lists_and_in_lists_of_one(inputs: object, texts: list[str], single: bool) -> None:
    """One text gets one answer; a list gets a list, also a list of lists as TEI has it."""
    found = parsed({"inputs": inputs})
    assert (found.texts, found.single) == (texts, single)


@pytest.mark.parametrize("inputs", [[["a", "b"]], [["a"], ["a", "b"]], [["a"], []], [[]]])
def test_pairs_are_refused(inputs: object) -> None:
    """The model takes one text; TEI would read two as a pair."""
    refusal = refused({"inputs": inputs})
    assert refusal.status == 422
    assert "no pairs" in refusal.message


@pytest.mark.parametrize("inputs", [[["a"], "b"], ["a", ["b"]], [[1]], [[["a"]]], [{"text": "a"}]])
def test_what_is_no_text_is_refused(inputs: object) -> None:
    """Wherever it stands."""
    assert refused({"inputs": inputs}).status == 422


@pytest.mark.parametrize(
    ("keys", "function"),
    [
        ({}, None),
        ({"parameters": None}, None),
        ({"parameters": {"function_to_apply": None}}, None),
        ({"parameters": {"function_to_apply": "softmax"}}, "softmax"),
        ({"parameters": {"function_to_apply": "sigmoid"}}, "sigmoid"),
        ({"parameters": {"function_to_apply": "none"}}, "none"),
        ({"raw_scores": True}, "none"),
        ({"raw_scores": False}, None),
        ({"raw_scores": True, "parameters": {"function_to_apply": "none"}}, "none"),
    ],
)
def test_the_function_is_that_of_pipelines_or_of_tei(keys: dict[str, Any], function: str | None) -> None:
    """`function_to_apply` and `raw_scores`; None is the task's own."""
    assert parsed({"inputs": "a", **keys}).choice.function == function


@pytest.mark.parametrize(
    ("keys", "whole"),
    [
        ({}, False),
        ({"truncate": None}, False),
        ({"truncate": True}, False),
        ({"truncate": False}, True),
        ({"truncate": True, "truncation_direction": "Right"}, False),
        ({"parameters": {"truncation": True}}, False),
        ({"parameters": {"truncation": False}}, True),
        ({"truncate": False, "parameters": {"truncation": False}}, True),
    ],
)
def test_cutting_can_be_ruled_out(keys: dict[str, Any], whole: bool) -> None:
    """TEI's `truncate` and the pipelines' `truncation`; nothing said is our way, cut and report."""
    assert parsed({"inputs": "a", **keys}).whole is whole


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"raw_scores": "yes"}, "raw_scores"),
        ({"raw_scores": None}, "raw_scores"),
        ({"truncate": 1}, "truncate"),
        ({"truncation_direction": "left"}, "truncation_direction"),
        ({"truncation_direction": None}, "truncation_direction"),
        ({"parameters": {"function_to_apply": "relu"}}, "softmax, sigmoid, none"),
        ({"parameters": {"function_to_apply": []}}, "function_to_apply"),
        ({"parameters": {"truncation": "longest_first"}}, "parameters.truncation"),
        ({"raw_scores": True, "parameters": {"function_to_apply": "sigmoid"}}, "different scores"),
        ({"truncate": True, "parameters": {"truncation": False}}, "different things"),
        ({"options": {"use_cache": False}}, "'options'"),
        ({"prompt_name": "query"}, "'prompt_name'"),
        ({"parameters": {"max_length": 10}}, "'max_length'"),
        ({"parameters": {"function_to_aply": "none"}}, "function_to_apply"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(keys: dict[str, Any], named: str) -> None:
    """A key that was ignored would look as if it had been heard."""
    refusal = refused({"inputs": "a", **keys})
    assert refusal.status == 422
    assert named in refusal.message


def test_answers_hold_the_scores_that_were_asked_for(predictor: Predictor) -> None:
    """From the question to the JSON."""
    raw = parsed({"inputs": ["good", "bad"], "raw_scores": True, "parameters": {"top_k": 1}})
    found = orjson.loads(raw.render(answers(predictor, raw.texts)).body)
    logits = predictor.run([row.ids for row in predictor.encode(raw.texts)]).logits
    assert [answer[0]["label"] for answer in found] == ["positive", "negative"]
    assert [answer[0]["score"] for answer in found] == pytest.approx(logits.max(axis=1).tolist(), rel=1e-5)
    one = parsed({"inputs": "good", "parameters": {"function_to_apply": "sigmoid"}})
    scores = by_label(orjson.loads(one.render(answers(predictor, one.texts)).body))
    assert sum(scores.values()) != pytest.approx(1, abs=1e-7)


def test_a_text_too_long_is_refused_before_the_model_sees_it(tmp_path: Path) -> None:
    """Where cutting was ruled out, with the tokens that it has."""
    import asyncio

    from tiny import MAX_LENGTH, write_source

    from ftdeploy.serve.engine import Engine

    write_source(tmp_path / "src", traffic={"enabled": False})

    async def play() -> Refusal:
        engine = Engine(tmp_path / "src")
        await engine.start()
        await engine.loaded()
        try:
            await engine.ask(["good"], "r1", whole=True)
            with pytest.raises(Refusal) as caught:
                await engine.ask(["good", "film " * MAX_LENGTH], "r2", whole=True)
        finally:
            await engine.stop()
        return caught.value

    refusal = asyncio.run(play())
    assert (refusal.status, refusal.error_type) == (413, "too_long")
    assert f"text 1 has {MAX_LENGTH + 2} tokens" in refusal.message
