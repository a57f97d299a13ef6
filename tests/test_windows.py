"""Texts in windows: every token once, the answer of a short text as it was, and no more windows than allowed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import MAX_LENGTH, WORDS, tokenizer_of_tiny_model, write_model_folder

from ftdeploy.encoded import Encoded, Outputs
from ftdeploy.models.local import LocalModel
from ftdeploy.predictor import Predictor
from ftdeploy.serve.model import forward_of, joined
from ftdeploy.tasks import TASKS
from ftdeploy.windows import Pooling, Windows, pool, pooled, shares

TASK = TASKS["text-classification"]
WINDOWS = Windows(overlap=4, most=5)
LONG = " ".join(["the film was a", *["bad"] * 2] * 20)
TEXTS = [LONG, "good", "", "superb film " * 12, "awful " * 999]


def _folder(folder: Path, windows: Windows | None) -> Path:
    write_model_folder(folder)
    stated = json.loads((folder / "signature.json").read_bytes())
    stated["windows"] = windows.model_dump() if windows else None
    (folder / "signature.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


@given(words=st.lists(st.sampled_from((*WORDS, "qqq")), max_size=150), overlap=st.integers(0, 10))
def test_every_token_is_read_and_counted_once(words: list[str], overlap: int) -> None:
    """The windows of a text, without what they share, are the text; so are the counts of tokens."""
    tokenizer, windows = tokenizer_of_tiny_model(), Windows(overlap=overlap, most=1024)
    TASK.prepare_tokenizer(tokenizer, 24, windows)
    rows = TASK.encode(tokenizer, ["good", " ".join(words)], unknown=1, windows=windows)[1:]
    read = [token for number, row in enumerate(rows) for token in row.ids[(1 + overlap if number else 1) : -1]]
    tokenizer.no_truncation()
    whole = tokenizer.encode(" ".join(words)).ids
    assert read == whole[1:-1]
    assert all(row.text == 1 and len(row.ids) <= 24 and not row.truncated() for row in rows)
    assert sum(row.length for row in rows) == sum(row.kept for row in rows) == len(whole)
    assert sum(row.unknown for row in rows) == words.count("qqq")


def test_windows_beyond_the_most_are_not_read() -> None:
    """And the text counts as cut, with all of its tokens, whatever is left of it."""
    tokenizer, windows = tokenizer_of_tiny_model(), Windows(overlap=8, most=2)
    TASK.prepare_tokenizer(tokenizer, 20, windows)
    for words in (18, 28, 29, 30, 38, 1000):
        rows = TASK.encode(tokenizer, ["bad " * words], unknown=None, windows=windows)
        assert len(rows) == 1 + (words > 18)
        assert any(row.truncated() for row in rows) == (words > 28)
        assert sum(row.length for row in rows) == words + 2


def test_the_windows_of_a_text_count_as_one_row() -> None:
    """By their tokens, whatever else stands among the rows."""
    found = shares([0, 1, 1, 2], [5, 30, 10, 8])
    assert found.tolist() == [1, 0.75, 0.25, 1]


@pytest.mark.parametrize(("pooling", "expected"), [("mean", [[1.5, 0.5], [7, 7]]), ("max", [[3, 1], [7, 7]])])
def test_logits_are_pooled_by_text(pooling: Pooling, expected: list[list[float]]) -> None:
    """The mean by tokens, or of each label the largest; in any order of rows."""
    logits = np.array([[7, 7], [1, 1], [3, -1]], dtype=np.float32)
    assert pool(logits, [1, 0, 0], [4, 30, 10], pooling).tolist() == expected


def test_texts_of_one_window_are_not_touched() -> None:
    """Bit by bit, beside a text of several, too."""
    logits = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    rows = [Encoded(ids=[1] * 7, length=7, unknown=0, text=text) for text in (0, 1, 1, 2)]
    embedding = np.ones((4, 2), dtype=np.float32)
    found = pooled(Outputs(logits=logits, embedding=embedding, rows=rows), WINDOWS)
    assert (found.logits[[0, 2]] == logits[[0, 3]]).all()
    alone = pooled(Outputs(logits=logits[:1], embedding=embedding[:1], rows=rows[:1]), WINDOWS)
    assert (alone.logits == logits[:1]).all()


def test_everything_that_runs_a_model_answers_alike(tmp_path: Path) -> None:
    """Predictor, suite and service; a text that fits as without windows, a long one by all that is in it."""
    plain = Predictor(_folder(tmp_path / "plain", None), device="cpu")
    folder = _folder(tmp_path / "windows", WINDOWS)
    predictor = Predictor(folder, device="cpu")
    outputs = predictor.predict(TEXTS)
    assert (plain.predict(TEXTS).logits[[1, 2, 3]] == outputs.logits[[1, 2, 3]]).all()
    mixed = "bad " * MAX_LENGTH + "good " * 4 * MAX_LENGTH
    assert plain.predict([mixed]).logits.argmax() == 0
    assert predictor.predict([mixed]).logits.argmax() == 1

    model = LocalModel("m", "onnx", folder, digest="d", device="cpu")
    expected = TASK.said(outputs, predictor.signature).probabilities
    assert expected is not None
    for found in (model.scores(TEXTS), model.alone(TEXTS), model.said(TEXTS).probabilities):
        assert found is not None
        np.testing.assert_allclose(found, expected, atol=1e-6)

    rows = predictor.encode(TEXTS)
    assert [row.text for row in rows].count(4) == 5
    counted, scored = joined(predictor, TEXTS, rows, forward_of(predictor)(rows))
    assert [one.truncated() for one in counted] == [False, False, False, False, True]
    assert [one.length for one in counted] == [122, 3, 2, 26, 1001]
    np.testing.assert_allclose([one.logits for one in scored], outputs.logits, atol=1e-5)
    assert [one.answer[0]["label"] for one in scored] == ["negative", "positive", scored[2].answer[0]["label"],
                                                         "positive", "negative"]  # fmt: skip
