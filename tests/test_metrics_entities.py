"""Metrics of spans, held against seqeval in its strict mode."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

from ftdeploy.metrics import resolve, score
from ftdeploy.metrics.entities import Entities, tag_scores
from ftdeploy.spans import Span, dump, from_tags, grouped, tags_of
from ftdeploy.statistics import compare
from ftdeploy.tasks.said import numbered

TAGS = tags_of(("Chemical", "Disease"))


def _legal(tags: list[str]) -> list[str]:
    """The same spans, in tags that seqeval's strict mode accepts: each begins with B-."""
    found = ["O"] * len(tags)
    for first, last, kind in grouped(tags):
        found[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return found


_ROW = st.integers(1, 7).flatmap(
    lambda words: st.tuples(*(st.lists(st.sampled_from(TAGS), min_size=words, max_size=words).map(_legal),) * 2)
)


def _labels(rows: list[list[str]]) -> list[str]:
    return [dump(from_tags(["abc"] * len(row), row, [4 * at for at in range(len(row))])) for row in rows]


@settings(max_examples=60)
@given(st.lists(_ROW, min_size=1, max_size=6))
def test_the_metrics_are_seqevals(rows: list[tuple[list[str], list[str]]]) -> None:
    """Strict, by exact boundaries and kind; over characters as over words; while training as afterwards."""
    truth, said = [list(one) for one in zip(*rows, strict=True)]
    table, (references, predictions) = numbered(_labels(truth), _labels(said))
    ids = {tag: number for number, tag in enumerate(TAGS)}
    longest = max(map(len, truth))
    padded = [
        np.array([[ids[tag] for tag in row] + [-100] * (longest - len(row)) for row in side]) for side in (truth, said)
    ]
    trained = tag_scores(padded[0], padded[1], TAGS)
    for name, function in (("entity_f1", f1_score), ("entity_precision", precision_score),
                           ("entity_recall", recall_score)):  # fmt: skip
        expected = float(function(truth, said, mode="strict", scheme=IOB2, zero_division=0))
        assert score(resolve(name, table), references, predictions, len(table)) == pytest.approx(expected)
        assert trained[name] == pytest.approx(expected)


def test_one_kind_may_be_counted_alone() -> None:
    """`entity_recall:Disease`."""
    labels = (dump([Span(0, 3, "Chemical"), Span(5, 8, "Disease")]), dump([Span(0, 3, "Chemical")]), dump([]))
    one, other = np.array([0, 0, 2]), np.array([0, 1, 1])
    assert score(resolve("entity_recall:Disease", labels), one, other, 3) == 0.5
    assert score(resolve("entity_recall", labels), one, other, 3) == 0.75
    assert score(resolve("accuracy", labels), one, other, 3) == pytest.approx(1 / 3)  # rows that are right as a whole


def test_the_row_that_could_come_is_the_heaviest() -> None:
    """A sentence full of entities, missed as a whole, lowers the end of the interval more than a short one would."""
    heavy = dump([Span(10 * at, 10 * at + 5, "Chemical") for at in range(8)])
    light, none = dump([Span(0, 5, "Chemical")]), dump([])
    assert Entities("entity_f1", (light, none, heavy)).heaviest().tolist() == [2, 0, 1]
    rows = np.zeros(200, dtype=np.int64)
    rows[0] = 1
    small, large = (
        compare(Entities("entity_f1", table), rows, rows, rows, classes=2, margin=0.05, resamples=1000, seed=1).lower
        for table in ((light, none), (light, heavy))
    )
    assert large < small < 0
