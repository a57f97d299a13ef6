"""Metrics by name, and what is promised of all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.metrics import METRICS, SCORE_METRICS, Floats, Ids, is_metric_name, resolve, score

CLASSES = 4
LABELS = ("bad", "so: so", "good", "great")
_PAIRS = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60)


def _columns(pairs: list[tuple[int, int]]) -> tuple[Ids, Ids]:
    rows = np.array(pairs, dtype=np.int64)
    return rows[:, 0], rows[:, 1]


def _scores(predictions: Ids, seed: int) -> Floats:
    """Probabilities whose greatest is the prediction's."""
    found = np.random.default_rng(seed).random((len(predictions), CLASSES))
    found[np.arange(len(found)), predictions] += 1
    return np.asarray(found / found.sum(axis=1, keepdims=True))


@given(_PAIRS, st.permutations(range(CLASSES)), st.integers(0, 99))
def test_names_of_classes_do_not_matter(pairs: list[tuple[int, int]], names: list[int], seed: int) -> None:
    """Renaming the classes changes no metric."""
    references, predictions = _columns(pairs)
    scores, renamed = _scores(predictions, seed), np.array(names, dtype=np.int64)
    for metric in (*METRICS.values(), *SCORE_METRICS.values()):
        before = score(metric, references, predictions, CLASSES, scores)
        moved = scores[:, np.argsort(renamed)]
        assert score(metric, renamed[references], renamed[predictions], CLASSES, moved) == pytest.approx(before)


def test_value_takes_a_stack_of_sums() -> None:
    """Metrics of many resamples are computed at once, each as it is alone; of no rows they are 0."""
    references, predictions = _columns([(0, 0), (0, 1), (1, 1), (2, 1), (3, 3)])
    scores = _scores(predictions, 1)
    for metric in (*METRICS.values(), *SCORE_METRICS.values(), resolve("f1:good", LABELS)):
        sums = metric.statistics(references, predictions, CLASSES, scores).sum(axis=0)
        stacked = metric.value(np.stack([sums, 3 * sums, 0 * sums]))
        assert stacked.tolist() == pytest.approx([float(metric.value(sums))] * 2 + [0.0])


def test_metrics_know_their_names_and_directions() -> None:
    """Keys are names; what is computed from classes alone is never an error; errors are named so."""
    for name, metric in {**METRICS, **SCORE_METRICS}.items():
        assert metric.name == name
        assert metric.needs_scores is (name in SCORE_METRICS)
    assert {name for name, metric in SCORE_METRICS.items() if not metric.greater_is_better} == {
        "brier", "log_loss", "ece",
    }  # fmt: skip
    assert all(metric.greater_is_better for metric in METRICS.values())


def test_metrics_of_one_class_are_named_by_its_label() -> None:
    """Whatever stands in the label, a colon or blanks too."""
    references, predictions = _columns([(1, 1), (1, 0), (2, 1), (3, 3)])
    assert score(resolve("recall:so: so", LABELS), references, predictions, CLASSES) == 0.5
    assert score(resolve("precision:great", LABELS), references, predictions, CLASSES) == 1
    assert resolve("f1:good", LABELS).name == "f1:good"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acuracy", "did you mean 'accuracy'"),
        ("f1", "'f1' is not a metric; known: .*f1:LABEL"),
        ("f1:goood", "which the model does not have; did you mean 'good'"),
        ("f1:", "names the label ''"),
        ("brier:good", "'brier:good' is not a metric"),
    ],
)
def test_unknown_names_are_refused_with_a_hint(name: str, words: str) -> None:
    """A misspelt metric, a misspelt label, a label where none belongs."""
    with pytest.raises(ValueError, match=words):
        resolve(name, LABELS)


def test_names_are_checked_before_labels_are_known() -> None:
    """`f1:anything` may be some model's; `f1` alone and `f1:` are nobody's."""
    assert all(map(is_metric_name, (*METRICS, *SCORE_METRICS, "f1:anything", "recall:a:b")))
    assert not any(map(is_metric_name, ("f1", "f1:", "brier:good", "", "acuracy")))


def test_metrics_of_probabilities_refuse_to_go_without() -> None:
    """Forgotten scores are an error, not another number."""
    ids = np.array([0, 1])
    for metric in SCORE_METRICS.values():
        with pytest.raises(ValueError, match="probabilities"):
            score(metric, ids, ids, 2)
