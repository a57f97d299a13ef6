"""The metrics through `evaluate`, offline, from modules loaded by path."""

from __future__ import annotations

from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ftdeploy.errors import DependencyError
from ftdeploy.metrics import METRICS, score
from ftdeploy.suite import suites_folder
from ftdeploy.validate.crosscheck import crosscheck, metric_module

_RANDOM = np.random.default_rng(8)
REFERENCES = _RANDOM.integers(0, 5, 500)
PREDICTIONS = np.where(_RANDOM.random(500) < 0.7, REFERENCES, _RANDOM.integers(0, 6, 500))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("accuracy", accuracy_score(REFERENCES, PREDICTIONS)),
        ("macro_f1", f1_score(REFERENCES, PREDICTIONS, average="macro", zero_division=0)),
    ],
)
def test_modules_are_usable_from_evaluate_alone(name: str, theirs: float, tmp_path: Path) -> None:
    """`evaluate.load` by path works without a network, and computes what scikit-learn computes."""
    metric = evaluate.load(str(suites_folder() / "metrics" / f"{name}.py"), cache_dir=str(tmp_path))
    assert metric.compute(predictions=PREDICTIONS, references=REFERENCES)[name] == pytest.approx(theirs)


def test_agreement_is_silent_and_disagreement_an_error() -> None:
    """A difference in the sixth digit is a difference."""
    scores = {name: score(metric, REFERENCES, PREDICTIONS, 6) for name, metric in METRICS.items()}
    crosscheck(scores, REFERENCES, PREDICTIONS)
    with pytest.raises(DependencyError, match="macro_f1 is"):
        crosscheck(scores | {"macro_f1": scores["macro_f1"] + 1e-6}, REFERENCES, PREDICTIONS)


def test_a_missing_module_is_an_error() -> None:
    """An incomplete installation is said to be one."""
    with pytest.raises(DependencyError, match=r"nothing\.py is missing"):
        metric_module("nothing")
