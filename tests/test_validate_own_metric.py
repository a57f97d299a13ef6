"""Metrics of the user's own, out of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftdeploy.errors import ConfigError
from ftdeploy.metrics import METRICS, SCORE_METRICS, Ids, OwnMetric
from ftdeploy.statistics import compare, estimate, slices_non_inferior, superior
from ftdeploy.suite import suites_folder
from ftdeploy.validate.own_metric import own_metric

FILE = """\
import datasets
import evaluate


class Mine(evaluate.Metric):
    {attribute}

    def _info(self):
        features = datasets.Features({{{features}}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, {columns}):
        {body}
"""
_IDS = '"predictions": datasets.Value("int64"), "references": datasets.Value("int64")'
_SCORES = '"references": datasets.Value("int64"), "prediction_scores": datasets.Sequence(datasets.Value("float64"))'


def _file(folder: Path, body: str, *, name: str = "mine", attribute: str = "", features: str = _IDS,
          columns: str = "predictions, references") -> Path:  # fmt: skip
    path = folder / f"{name}.py"
    text = FILE.format(body=body, attribute=attribute or "pass", features=features, columns=columns)
    path.write_text(text, encoding="utf-8")
    return path


def _rows(count: int, lost: int) -> tuple[Ids, Ids, Ids]:
    references = np.arange(count) % 2
    baseline = np.where(np.arange(count) < count // 10, 1 - references, references)
    candidate = baseline.copy()
    candidate[-lost:] = 1 - references[-lost:] if lost else candidate[-lost:]
    return references, baseline, candidate


def test_it_judges_as_the_same_metric_of_ftdeploy_does(tmp_path: Path) -> None:
    """Values are equal, and ends as near as 500 resamples are to 10,000."""
    right = "return {'mine': sum(p == r for p, r in zip(predictions, references)) / len(references)}"
    mine = own_metric(_file(tmp_path, right))
    assert isinstance(mine, OwnMetric)
    rows = _rows(400, 6)
    ours, theirs = (compare(metric, *rows, classes=2, margin=0.05) for metric in (mine, METRICS["accuracy"]))
    assert (ours.metric, ours.verdict, ours.rows) == ("mine", "pass", 400)
    assert (ours.baseline, ours.candidate) == pytest.approx((theirs.baseline, theirs.candidate))
    assert (ours.lower, ours.upper) == pytest.approx((theirs.lower, theirs.upper), abs=0.004)
    alone, known = (estimate(metric, rows[0], rows[2], 2) for metric in (mine, METRICS["accuracy"]))
    assert (alone.lower, alone.upper) == pytest.approx((known.lower, known.upper), abs=0.008)


def test_few_rows_are_not_taken_for_proof(tmp_path: Path) -> None:
    """The least favourable row is in the resamples: equal answers on 50 rows do not exclude a drop of 0.02."""
    right = "return {'value': sum(p == r for p, r in zip(predictions, references)) / len(references)}"
    mine = own_metric(_file(tmp_path, right))
    found = compare(mine, *_rows(50, 0), classes=2, margin=0.02)
    assert (found.difference, found.verdict) == (0, "inconclusive")
    assert superior(mine, *_rows(50, 0), classes=2).verdict == "fail"


def test_it_says_when_lower_is_better(tmp_path: Path) -> None:
    """An attribute of the class; then a rise is the loss, and the row that raises it is the least favourable."""
    wrong = "return {'mine': sum(p != r for p, r in zip(predictions, references)) / len(references)}"
    mine = own_metric(_file(tmp_path, wrong, attribute="greater_is_better = False"))
    assert not mine.greater_is_better
    found = compare(mine, *_rows(200, 20), classes=2, margin=0.05)
    assert found.difference == pytest.approx(0.1)
    assert found.verdict == "fail"
    assert compare(mine, *_rows(400, 2), classes=2, margin=0.05).verdict == "pass"
    groups = {"first": np.arange(200), "last": np.arange(200, 400)}
    references, baseline, candidate = _rows(400, 60)
    sliced = slices_non_inferior(mine, references, baseline, candidate, groups, classes=2, margin=0.05)
    assert (sliced.verdict, sliced.slices[0].name) == ("fail", "last")


def test_the_modules_that_come_with_ftdeploy_are_metrics_too() -> None:
    """Named by path, with probabilities: the Brier score is ftdeploy's."""
    mine = own_metric(suites_folder() / "metrics" / "brier_score.py")
    assert mine.needs_scores
    references, scores = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    known = estimate(SCORE_METRICS["brier"], references, scores.argmax(axis=1), 2, scores=scores)
    found = estimate(mine, references, scores.argmax(axis=1), 2, scores=scores)
    assert found.value == pytest.approx(known.value)
    assert found.lower < found.value < found.upper


@pytest.mark.parametrize(
    ("body", "features", "words"),
    [
        ("return {'a': 1.0, 'b': 2.0}", _IDS, "answered with"),
        ("return {'mine': float('nan')}", _IDS, "answered with"),
        ("return 1 / 0", _IDS, "failed on 4 rows: ZeroDivisionError"),
        ("return {'mine': 1.0}", '"predictions": datasets.Value("int64"), "sources": datasets.Value("string")',
         "wants sources"),
        ("return (", _IDS, "cannot be loaded: SyntaxError"),
    ],
)  # fmt: skip
def test_what_is_no_metric_is_refused(tmp_path: Path, body: str, features: str, words: str) -> None:
    """Two numbers, none, an error, a column that a suite does not have, a file that is no Python."""
    path = _file(tmp_path, body, features=features)
    with pytest.raises(ConfigError, match=words):
        own_metric(path).compute(np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64))


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(ConfigError, match=r"there is no metric .*nothing\.py"):
        own_metric(tmp_path / "nothing.py")
