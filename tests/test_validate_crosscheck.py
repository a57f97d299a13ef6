"""The metrics through `evaluate`, offline, from modules loaded by path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ftdeploy.errors import DependencyError
from ftdeploy.metrics import METRICS, SCORE_METRICS, resolve, score
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
    """Every metric of ftdeploy is computed once more; a difference in the sixth digit is a difference."""
    labels = ["a", "b", "c", "d", "e: e", "f"]
    probabilities = _RANDOM.random((500, 6))
    probabilities[np.arange(500), PREDICTIONS] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    names = (*METRICS, *SCORE_METRICS, "f1:e: e", "precision:f", "recall:a")
    scores = {name: score(resolve(name, labels), REFERENCES, PREDICTIONS, 6, probabilities) for name in names}
    crosscheck(scores, REFERENCES, PREDICTIONS, labels=labels, probabilities=probabilities)
    with pytest.raises(DependencyError, match="macro_f1 is"):
        crosscheck(scores | {"macro_f1": scores["macro_f1"] + 1e-6}, REFERENCES, PREDICTIONS)


def test_a_missing_module_is_an_error() -> None:
    """An incomplete installation is said to be one."""
    with pytest.raises(DependencyError, match=r"nothing\.py is missing"):
        metric_module("nothing")


def test_nothing_is_left_of_the_check(tmp_path: Path) -> None:
    """HOME, which may be read-only, stays empty; modules are imported anew each time, without transformers and torch
    unless they are there; a user's own use of `evaluate` in the same process, with its evaluators, goes on."""
    code = (
        "import sys, numpy as np\n"
        "from ftdeploy.metrics import METRICS, score\n"
        "from ftdeploy.validate.crosscheck import crosscheck, light_evaluate, metric_module\n"
        "ids, path = np.array([0, 1, 1, 0]), list(sys.path)\n"
        "def check():\n"
        "    for name, metric in [*METRICS.items()][:2]:\n"
        "        crosscheck({name: score(metric, ids, ids, 2)}, ids, ids)\n"
        "    assert sys.path == path and 'evaluate_modules' not in sys.modules\n"
        "    assert not list(__import__('pathlib').Path.home().iterdir())\n"
        "check()\n"
        "assert not {'torch', 'transformers', 'scipy.stats', 'evaluate'} & set(sys.modules)\n"
        "import evaluate\n"
        "assert evaluate.evaluator('text-classification').PIPELINE_KWARGS\n"
        "with light_evaluate() as used:\n"
        "    assert used is evaluate\n"
        "check()\n"
        "assert sys.modules['evaluate'] is evaluate\n"
        "mine = evaluate.load(str(metric_module('accuracy')), cache_dir=sys.argv[1])\n"
        "crosscheck({'accuracy': 1.0}, ids, ids)\n"
        "assert mine.compute(predictions=ids, references=ids) == {'accuracy': 1.0}\n"
        "again = evaluate.load(str(metric_module('macro_f1')), cache_dir=sys.argv[1])\n"
        "assert again.compute(predictions=ids, references=ids) == {'macro_f1': 1.0}\n"
    )
    (tmp_path / "home").mkdir()
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env=plain | {"HOME": str(tmp_path / "home")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_another_place_for_modules_does_not_get_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has called `evaluate.load` before has such a place on sys.path, with a package of the same name."""
    (tmp_path / "evaluate_modules" / "metrics").mkdir(parents=True)
    for folder in (tmp_path / "evaluate_modules", tmp_path / "evaluate_modules" / "metrics"):
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    crosscheck({"accuracy": accuracy_score(REFERENCES, PREDICTIONS)}, REFERENCES, PREDICTIONS)
    assert sys.path[0] == str(tmp_path)
