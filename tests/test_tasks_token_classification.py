"""token-classification: rows as they are read, targets of tokens, and answers whose offsets are exact."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tasks_pieces import PARTS, TEXTS
from tiny import tokenizer_of_tiny_model

from ftdeploy.encoded import Outputs
from ftdeploy.errors import DataError
from ftdeploy.signature import Signature
from ftdeploy.spans import Span, dump, load, tags_of
from ftdeploy.tasks import TASKS
from ftdeploy.tasks.token_classification import IGNORED

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: All of Unicode that may stand in a text: no surrogates.
_PLANES = (*range(1, 0xD800), *range(0xE000, 0x1FFFF))
TASK = TASKS["token-classification"]
LABELS = tags_of(("Chemical", "Disease"))
SIGNATURE = Signature(name="t", task="token-classification", labels=LABELS, max_length=16)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """With windows of 16 tokens."""
    made = tokenizer_of_tiny_model()
    TASK.prepare_tokenizer(made, 16)
    return made


def _check_offsets(tokenizer: Tokenizer, texts: list[str], seed: int) -> int:
    """Hold every entity of a model that says anything against its text; how many there were."""
    rows = TASK.encode(tokenizer, texts, unknown=None)
    random = np.random.default_rng(seed)
    logits = random.normal(size=(len(rows), max(len(row.ids) for row in rows), len(LABELS))).astype(np.float32)
    outputs = Outputs(logits=logits, embedding=np.zeros((len(rows), 1), dtype=np.float32), rows=rows)
    answers, said = TASK.decode(outputs, SIGNATURE, texts), TASK.said(outputs, SIGNATURE)
    assert len(answers) == len(said.labels) == len(texts)
    for text, answer, label in zip(texts, answers, said.labels, strict=True):
        for one in answer:
            assert text[one["start"] : one["end"]] == one["word"]
            assert one["word"].strip() == one["word"] != ""
            assert one["entity_group"] in ("Chemical", "Disease")
            assert 0 < one["score"] <= 1
        assert all(one["end"] <= other["start"] for one, other in pairwise(answer))
        assert load(label) == tuple((one["start"], one["end"], one["entity_group"]) for one in answer)
    return sum(map(len, answers))


def test_offsets_are_exact_in_ten_thousand_texts(tokenizer: Tokenizer) -> None:
    """Whatever the model says: each entity's word is the text between its offsets, it begins and ends with no white
    space, and no two overlap."""
    draw = Random(13)  # noqa: S311  # texts, no secrets
    texts = [
        draw.choice(("", " ")).join(
            draw.choice(PARTS) if draw.random() < 0.7 else chr(draw.choice(_PLANES)) for _ in range(draw.randrange(30))
        )
        for _ in range(10_000)
    ]
    assert _check_offsets(tokenizer, texts, 13) > 10_000


@given(text=TEXTS, seed=st.integers(0, 9))
def test_offsets_are_exact_where_somebody_looks_for_trouble(tokenizer: Tokenizer, text: str, seed: int) -> None:
    """The same, with texts that a search for a counterexample makes."""
    _check_offsets(tokenizer, [text], seed)


@given(text=TEXTS, data=st.data())
def test_what_is_learned_is_what_is_answered(tokenizer: Tokenizer, text: str, data: st.DataObject) -> None:
    """A model that gives every word the tag that it was taught answers with the spans of the words, exactly."""
    rows = TASK.encode(tokenizer, [text], unknown=None)
    words = sorted((word.start, word.end) for row in rows for word in row.words)
    chosen = [word for word in words if data.draw(st.booleans())]
    truth = [Span(*word, "Disease") for word in chosen]
    targets = TASK.targets([dump(truth)], LABELS, rows)
    logits = np.zeros((len(rows), max(len(row.ids) for row in rows), len(LABELS)), dtype=np.float32)
    for at, row in enumerate(targets):
        assert len(row) == len(rows[at].ids)
        for token, target in enumerate(row):
            if target != IGNORED:
                logits[at, token, target] = 9
    outputs = Outputs(logits=logits, embedding=np.zeros((len(rows), 1), dtype=np.float32), rows=rows)
    found = load(TASK.said(outputs, SIGNATURE).labels[0])
    assert [span[:2] for span in found] == [span[:2] for span in truth]


def _read(**row: Any) -> tuple[Any, Any]:
    return TASK.read(row, "text", "tags")


def test_tags_of_tokens_become_spans_of_the_text() -> None:
    """With the text that comes along, or with the tokens joined by spaces."""
    tags = ["B-Chemical", "O", "B-Disease", "I-Disease"]
    joined = _read(tokens=["Aspirin", "for", "head", "ache"], tags=tags)
    assert joined == ("Aspirin for head ache", dump([Span(0, 7, "Chemical"), Span(12, 21, "Disease")]))
    given_text = _read(tokens=["Aspirin", "for", "head", "ache"], tags=tags, text="Aspirin  for headache")
    assert given_text == ("Aspirin  for headache", dump([Span(0, 7, "Chemical"), Span(13, 21, "Disease")]))


def test_spans_in_a_text_are_read_as_they_are() -> None:
    """As annotation tools write them."""
    found = _read(text="Aspirin helps", tags=[{"start": 0, "end": 7, "label": "Chemical"}])
    assert found == ("Aspirin helps", dump([Span(0, 7, "Chemical")]))
    for cell in (None, "", " "):
        assert _read(text="Aspirin helps", tags=cell) == ("Aspirin helps", None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 tokens have 1 tags"),
        ({"tokens": ["a"], "tags": ["B_Chemical"]}, "'B_Chemical' is not a tag"),
        (
            {"tokens": ["a"], "tags": ["E-Chemical"]},
            "token 1: E-Chemical continues a span of Chemical that has not begun",
        ),
        ({"tokens": ["a"], "tags": ["I-Chemical"]}, "has not begun; `scheme: iob1` says that it may"),
        ({"tokens": ["b", "a"], "tags": ["O", "O"], "text": "a b"}, "'a' is not in the text behind those before it"),
        ({"text": "short", "tags": [[2, 99, "Chemical"]]}, "does not lie in the text of 5 characters"),
    ],
)
def test_rows_whose_tags_do_not_fit_say_why(row: dict[str, Any], reason: str) -> None:
    """Misaligned, of another scheme, beyond the text."""
    with pytest.raises(ValueError, match=reason):
        _read(**row)


def test_a_kind_that_is_not_known_is_named(tokenizer: Tokenizer) -> None:
    """With what may have been meant."""
    rows = TASK.encode(tokenizer, ["good film"], unknown=None)
    with pytest.raises(DataError, match="'Desease' is not among the known ones") as caught:
        TASK.targets([dump([Span(0, 4, "Desease")])], LABELS, rows)
    assert "Disease" in caught.value.fix


def test_a_label_is_shown_by_its_words() -> None:
    """Beside its text, in reports and golden rows."""
    assert TASK.show(dump([Span(0, 7, "Chemical")]), "Aspirin helps") == "Aspirin [Chemical]"
    assert TASK.show(dump([]), "Nothing") == "(none)"


def test_data_without_a_span_is_refused() -> None:
    """And a kind with so few rows that a split would have none."""
    with pytest.raises(DataError, match="no row of the data has a span"):
        TASK.check_labels({"O": 100})
    with pytest.raises(DataError, match=r"fewer than 3 rows: 'Drug' \(2\)"):
        TASK.check_labels({"O": 100, "Drug": 2, "Disease": 9})
