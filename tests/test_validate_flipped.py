"""Rows that turned wrong, one by one and by what they turned into."""

from __future__ import annotations

from itertools import islice

from report_samples import LABELS, answers

from ftdeploy.validate.flipped import flipped, turned


def test_a_flip_says_who_answered_what() -> None:
    """Text, id, labels, scores and columns of the row."""
    first = next(flipped(answers(rows=9, flipped=3)))
    assert (first.id, first.label, first.baseline, first.candidate) == ("row 0", "negative", "negative", "positive")
    assert (round(first.baseline_score, 4), round(first.candidate_score, 4)) == (0.9, 0.8)
    assert first.columns == {"source": "blog"}
    assert first.text == answers(rows=9).texts[first.row]


def test_rows_are_read_when_they_are_asked_for() -> None:
    """Whoever looks at two of many flips has the texts of two read."""

    class Counted(list[str]):
        read = 0

        def __getitem__(self, row: object) -> str:  # type: ignore[override]
            type(self).read += 1
            return "text"

    many = answers(rows=500, flipped=400, texts=Counted([""] * 500))
    assert len(list(islice(flipped(many), 2))) == 2
    assert Counted.read == 2


def test_the_commonest_confusion_comes_first() -> None:
    """All flips are counted, by true label and by what the candidate says."""
    found = turned(answers(rows=300, flipped=41))
    assert sum(rows for _, _, rows in found) == 41
    assert [rows for _, _, rows in found] == sorted((rows for _, _, rows in found), reverse=True)
    assert found[0] == ("negative", "positive", 14)
    assert all(truth != said and {truth, said} <= set(LABELS) for truth, said, _ in found)
    assert turned(answers(flipped=0)) == []
