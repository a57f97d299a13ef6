"""Answers of two models: labels by name, columns that stay in Arrow, flips."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Scores, ScriptedModel, sure

from ftdeploy.errors import ModelError
from ftdeploy.tasks import TASKS
from ftdeploy.validate.answers import (
    Answers,
    Column,
    Some,
    answer,
    chances,
    confusion,
    encoded,
    flips,
    lengths,
    mended,
    subjects,
)

TASK = TASKS["text-classification"]
cells = st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=30)


@given(cells, st.integers(1, 7), st.data())
def test_a_column_reads_as_a_list_would(values: list[str | None], size: int, data: st.DataObject) -> None:
    """However it is cut into chunks; null is an empty string; so do some rows of it, in any order."""
    chunks = [pa.array(values[start : start + size], pa.string()) for start in range(0, len(values), size)]
    plain = ["" if value is None else value for value in values]
    column = Column(pa.chunked_array(chunks))
    assert list(column) == plain
    assert [column[index] for index in range(-len(plain), len(plain))] == plain * 2
    assert column[1:9:2] == plain[1:9:2]
    picked = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=20))
    some, wanted = Some(column, np.array(picked, dtype=np.int64)), [plain[row] for row in picked]
    assert list(some) == wanted
    for given_, expected in ((column, plain), (some, wanted), (plain, plain)):
        assert lengths(given_).tolist() == [len(value) for value in expected]
        names, codes = encoded(given_)
        assert names == sorted(set(expected))
        assert [names[code] for code in codes.tolist()] == expected


def test_dictionaries_and_numbers_are_columns_too() -> None:
    """What Arrow holds otherwise reads as strings."""
    assert encoded(Column(pa.chunked_array([pa.array(["b", "a", None, "b"]).dictionary_encode()])))[0] == ["", "a", "b"]
    names, codes = encoded(Column(pa.chunked_array([pa.array([3, 1, 3])])))
    assert (names, codes.tolist()) == (["1", "3"], [1, 0, 1])
    assert list(Column(pa.chunked_array([pa.array([3, 1])]))) == ["3", "1"]


def _table(labels: list[str]) -> pa.Table:
    rows = [str(row) for row in range(len(labels))]
    return pa.table({"text": rows, "id": rows, "label": labels, "group": rows, "source": ["x"] * len(rows)})


def _fixed(rows: list[list[float]], labels: tuple[str, ...], name: str = "fixed") -> ScriptedModel:
    table = np.array(rows, dtype=np.float32)
    return ScriptedModel(lambda texts: table[[int(text) for text in texts]], labels, name=name)


def _rounded(values: object) -> object:
    return np.array(values, dtype=np.float32).tolist()


def test_answers_stand_in_the_order_of_the_candidates_labels() -> None:
    """The baseline's columns are moved by their names, those of every later question too."""
    was = _fixed([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], ("c", "a", "b"), "was")
    now = _fixed([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]], ("a", "b", "c"), "now")
    before, after = subjects(was, now)
    found = answer(_table(["b", "c"]), before, after, task=TASK, ask=lambda model: model.scores(["0", "1"]))
    assert found.labels == ("a", "b", "c")
    assert found.references.tolist() == [1, 2]
    assert found.baseline.probabilities.tolist() == _rounded([[0.2, 0.7, 0.1], [0.3, 0.1, 0.6]])
    assert found.baseline.predictions.tolist() == [1, 2]
    assert found.candidate.predictions.tolist() == [1, 0]
    assert found.candidate.scores.tolist() == _rounded([0.7, 0.5])
    assert list(found.columns) == ["source"]
    assert chances(before.said(["1"])).tolist() == chances(before.alone(["1"])).tolist() == _rounded([[0.3, 0.1, 0.6]])


def test_one_model_is_one_subject_and_answers_once() -> None:
    """Without a second model, or with one that must answer alike."""
    model = _fixed([[0.2, 0.8]], ("a", "b"))
    before, after = subjects(model, model)
    assert before is after
    asked: list[object] = []

    def ask(one: object) -> Scores:
        asked.append(one)
        return model.scores(["0"])

    found = answer(_table(["b"]), before, after, task=TASK, ask=ask)
    assert found.baseline is found.candidate
    assert asked == [model]


@pytest.mark.parametrize(("first", "second"), [(("a", "b"), ("a", "c")), (("a", "b"), ("a", "b", "c"))])
def test_a_label_of_one_model_only_is_named(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """With the model that has it and the one that lacks it, whichever is the candidate."""
    one, two = (_fixed([[1.0] * len(labels)], labels, name) for labels, name in ((first, "one"), (second, "two")))
    odd = "b" if len(first) == len(second) else "c"
    has, lacks = ("one", "two") if odd in first and odd not in second else ("two", "one")
    for pair in ((one, two), (two, one)):
        with pytest.raises(ModelError, match=f"{has} has the label '{odd}', and {lacks} does not"):
            subjects(*pair)


def test_flips_come_with_the_surest_mistakes_first() -> None:
    """Of equally sure ones the first row; what was mended is counted apart."""
    references = np.zeros(6, dtype=np.int64)
    candidate = sure([1, 1, 0, 1, 0, 1], 0.8)
    candidate.probabilities[3] = (0.05, 0.95)
    made = Answers(ids=list("abcdef"), texts=list("abcdef"), columns={}, labels=("no", "yes"), references=references,
                   baseline=sure([0, 0, 1, 0, 0, 1]), candidate=candidate)  # fmt: skip
    assert flips(made) == [3, 0, 1]
    assert mended(made) == 1
    assert confusion(references, candidate.predictions, 2) == ((2, 4), (0, 0))
    part = made.take(np.array([3, 2]))
    assert (flips(part), mended(part), list(part.ids), len(part)) == ([0], 1, ["d", "c"], 2)
