"""Kept answers: the same as the model's, for exactly the same text, within a bound, and without the text."""

from __future__ import annotations

import asyncio
import gc
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ftdeploy.encoded import Encoded
from ftdeploy.serve.answer_cache import AnswerCache, Remembered
from ftdeploy.serve.model import Scored


class Model:
    """Answers by the text's length; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.batches = [np.zeros((1, 4), dtype=np.float32)]

    async def ask(self, texts: list[str]) -> tuple[list[Encoded], list[Scored]]:
        """Rows of a batch, as the engine gives them."""
        self.asked.append(texts)
        self.batches.append(np.array([[len(text)] * 4 for text in texts], dtype=np.float32))
        rows = [Encoded(ids=[7] * min(len(text), 5), length=len(text), unknown=1) for text in texts]
        answers = [[{"label": text[:1] or "none", "score": 0.5}] for text in texts]
        return rows, [Scored(answer, row, row) for answer, row in zip(answers, self.batches[-1], strict=True)]


def through(cache: AnswerCache, model: Model, *texts: str) -> tuple[list[str], list[bool]]:
    """The labels of some texts, and which came from the cache."""
    _, scored, cached = asyncio.run(cache.through(list(texts), model.ask))
    return [one.answer[0]["label"] for one in scored], list(cached)


def test_a_text_that_comes_again_is_answered_without_the_model() -> None:
    """In the order asked, hits and misses mixed; only the misses are asked for."""
    cache, model = AnswerCache(10), Model()
    assert through(cache, model, "a1", "b1") == (["a", "b"], [False, False])
    assert through(cache, model, "c1", "b1", "d1", "a1") == (["c", "b", "d", "a"], [False, True, False, True])
    assert through(cache, model, "a1", "c1") == (["a", "c"], [True, True])
    assert model.asked == [["a1", "b1"], ["c1", "d1"]]
    found = cache.snapshot()
    assert (found["ftdeploy_cache_hits_total"], found["ftdeploy_cache_misses_total"]) == (4, 4)
    assert (found["ftdeploy_cache_rows"], found["ftdeploy_cache_limit_rows"]) == (4, 10)


def test_a_text_twice_in_a_request_is_asked_for_once() -> None:
    """Both get the answer."""
    cache, model = AnswerCache(10), Model()
    assert through(cache, model, "a1", "b1", "a1") == (["a", "b", "a"], [False, False, True])
    assert model.asked == [["a1", "b1"]]


@pytest.mark.parametrize("other", ["A1", "a1 ", " a1", "a1\x00", "\uff41\uff11", "a", ""])
def test_another_text_is_another_text(other: str) -> None:
    """Case, blanks, control characters, forms that only look alike: nothing is taken for the same."""
    cache, model = AnswerCache(10), Model()
    through(cache, model, "a1")
    assert through(cache, model, other)[1] == [False]


def test_any_text_has_a_digest() -> None:
    """Lone surrogates, which JSON cannot bring, are no error, and are told apart."""
    cache, model = AnswerCache(10), Model()
    through(cache, model, "\ud800")
    assert through(cache, model, "\ud800", "\ud801")[1] == [True, False]


def test_what_is_known_of_a_text_is_remembered() -> None:
    """Length before and after cutting, unknown tokens, the answer and the embedding are those of the model."""
    cache, model = AnswerCache(10), Model()
    texts = ["long text", "abc"]
    first = asyncio.run(cache.through(texts, model.ask))
    again = asyncio.run(cache.through(texts, model.ask))
    (rows, scored), (model_rows, model_scored) = again[:2], asyncio.run(model.ask(texts))
    assert [row.truncated() for row in rows] == [row.truncated() for row in first[0]] == [True, False]
    for row, wanted in zip(rows, model_rows, strict=True):
        assert (row.length, row.kept, row.unknown) == (wanted.length, wanted.kept, wanted.unknown)
    for one, right in zip(scored, model_scored, strict=True):
        assert one.answer == right.answer
        np.testing.assert_array_equal(one.embedding, right.embedding)


def test_the_row_that_was_not_asked_for_longest_goes() -> None:
    """Never more rows than stated, also after a request that is larger than that."""
    cache, model = AnswerCache(3), Model()
    through(cache, model, "a", "b", "c")
    through(cache, model, "a")
    through(cache, model, "d")
    assert through(cache, model, "a", "c", "d")[1] == [True, True, True]
    assert through(cache, model, "b")[1] == [False]
    assert through(cache, model, *"efghij")[0] == list("efghij")
    assert cache.snapshot()["ftdeploy_cache_rows"] == 3
    assert through(cache, model, *"hij")[1] == [True, True, True]


def test_a_failure_is_not_kept() -> None:
    """The next request asks again."""
    cache, model = AnswerCache(3), Model()

    async def fail(texts: list[str]) -> Any:
        raise TimeoutError(len(texts))

    with pytest.raises(TimeoutError):
        asyncio.run(cache.through(["a"], fail))
    assert through(cache, model, "a")[1] == [False]


def test_neither_text_nor_tokens_are_kept_nor_a_digest_that_could_be_compared() -> None:
    """All that can be reached from the cache holds no text and no token; two processes' digests differ."""
    cache, model = AnswerCache(10), Model()
    through(cache, model, "zyxSECRETzyx")
    held = pickle.dumps(list(cache._held.items()))
    assert b"SECRET" not in held
    assert all(isinstance(row, Remembered) for row, _ in cache._held.values())
    assert cache._held.keys().isdisjoint(AnswerCache(10)._digest(text) for text in ("zyxSECRETzyx", ""))
    assert {len(key) for key in cache._held} == {16}


def test_a_row_keeps_its_own_embedding_and_not_its_batch() -> None:
    """Else one row in the cache would hold the memory of all that it was answered with."""
    cache, model = AnswerCache(10), Model()
    through(cache, model, "a", "b")
    kept: Callable[[], Sequence[Any]] = lambda: [one.embedding for _, one in cache._held.values()]  # noqa: E731
    assert all(embedding.base is None for embedding in kept())
    batch = model.batches.pop()
    gc.collect()
    assert sys.getrefcount(batch) == 2
