"""A model folder answers the same however its rows are batched, and tells what it cut and did not know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import MAX_LENGTH, WIDTH, WORDS, write_model_folder

from ftdeploy.batching import Batching
from ftdeploy.errors import ArtifactError
from ftdeploy.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder)
    return Predictor(folder, threads=1)


def test_answers_are_in_the_order_given_whatever_the_batches(predictor: Predictor) -> None:
    """Rows go through the model sorted by length; the outputs come back in the order of the texts."""
    texts = [" ".join(["film"] * (index % 9)) + f" {WORDS[index % len(WORDS)]}" for index in range(50)]
    together = predictor.predict(texts, batching=Batching(tokens=64))
    one_by_one = np.concatenate([predictor.predict([text]).logits for text in texts])
    assert together.logits.dtype == together.embedding.dtype == np.float32
    assert together.embedding.shape == (50, WIDTH)
    np.testing.assert_allclose(together.logits, one_by_one, atol=1e-5)


def test_progress_adds_up_to_the_rows(predictor: Predictor) -> None:
    """A progress bar fed by `predict` ends at its total."""
    seen: list[float] = []
    predictor.predict(["good film"] * 30, batching=Batching(tokens=40), advance=seen.append)
    assert sum(seen) == 30
    assert len(seen) > 1


def test_the_task_reads_the_answer(predictor: Predictor) -> None:
    """Good words give the last label, bad words the first, with scores that add up to one."""
    outputs = predictor.predict(["a superb film", "awful , boring"])
    good, bad = predictor.task.decode(outputs, predictor.signature)
    assert (good[0]["label"], bad[0]["label"]) == ("positive", "negative")
    assert sum(item["score"] for item in good) == pytest.approx(1)


@pytest.mark.parametrize("words", [MAX_LENGTH - 2, MAX_LENGTH - 1, 5 * MAX_LENGTH + 3])
def test_a_long_text_is_cut_and_says_so(predictor: Predictor, words: int) -> None:
    """``length`` is the tokens before cutting, special tokens included, however many windows the tokenizer made."""
    row = predictor.encode(["film " * words])[0]
    assert row.length == words + 2
    assert len(row.ids) == min(words + 2, MAX_LENGTH)
    assert row.truncated() == (words + 2 > MAX_LENGTH)
    assert row.ids[-1] == predictor.tokenizer.token_to_id("[SEP]")


def test_special_tokens_written_in_a_text_do_not_confuse_the_length(predictor: Predictor) -> None:
    """A text that spells out [SEP] is counted like any other."""
    row = predictor.encode(["film [SEP] " * 20])[0]
    assert row.length == 42


def test_unknown_words_are_counted(predictor: Predictor) -> None:
    """What the tokenizer does not know is a sign of drift; it is counted among the tokens that were read."""
    assert [row.unknown for row in predictor.encode(["good film", "gud phylm", ""])] == [0, 2, 0]


def test_an_empty_text_is_a_text(predictor: Predictor) -> None:
    """It holds the special tokens alone, and the model answers it."""
    assert len(predictor.encode([""])[0].ids) == 2
    assert np.isfinite(predictor.predict([""]).logits).all()


def test_no_texts_are_refused(predictor: Predictor) -> None:
    """There is nothing to answer, and no shape to answer in."""
    with pytest.raises(ValueError, match="at least one text"):
        predictor.predict([])


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff\xfe"])
def test_a_broken_tokenizer_is_an_error_in_words(tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty or damaged: an ArtifactError that names the file."""
    write_model_folder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json"):
        Predictor(tmp_path)
