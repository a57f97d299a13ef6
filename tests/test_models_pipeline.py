"""A model of ours in the hands of `evaluate`, offline."""

from __future__ import annotations

import os
from pathlib import Path

import evaluate
import pytest
from datasets import Dataset
from evaluate.evaluation_suite import SubTask
from tiny import write_model_folder
from tiny_pairs import write_pair_model
from tiny_service import LABELS, scores_of, served

from ftdeploy.metrics import METRICS, score
from ftdeploy.models import Model, as_pipeline, open_model
from ftdeploy.suite import suites_folder

TEXTS = ["good film", "bad film", "superb", "awful", "the film", "great and lovely", "poor"]
TRUE = [1, 0, 1, 0, 0, 0, 1]
IDS = {"negative": 0, "positive": 1}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    write_model_folder(tmp_path / "model")
    return open_model(str(tmp_path / "model"), device="cpu")


def module(name: str, tmp_path: Path) -> evaluate.EvaluationModule:
    return evaluate.load(os.fspath(suites_folder() / "metrics" / f"{name}.py"), cache_dir=os.fspath(tmp_path / "cache"))


def test_it_answers_as_a_pipeline(model: Model) -> None:
    """The best label with its score, for a text, for texts, and for what `evaluate` makes of a column."""
    pipe = as_pipeline(model)
    assert pipe.task == "text-classification"
    best = pipe(["good film", "bad film"], truncation=True)
    assert [one["label"] for one in best] == ["positive", "negative"]
    assert best[0]["score"] == pytest.approx(model.scores(["good film", "bad film"])[0, 1])
    assert pipe("good film")[0]["label"] == "positive"
    assert pipe([{"text": "good film", "text_pair": None}, {"text": None, "text_pair": None}])[0] == best[0]
    assert pipe([]) == []
    with pytest.raises(ValueError, match="a pair of texts"):
        pipe([{"text": "good", "text_pair": "film"}])


def test_a_model_of_pairs_takes_objects_with_both(tmp_path: Path) -> None:
    """As `evaluate` makes them of two columns; a single text is refused."""
    write_pair_model(tmp_path / "model")
    pipe = as_pipeline(open_model(str(tmp_path / "model"), device="cpu"))
    given = [{"text": "great", "text_pair": "best"}, {"text": "awful", "text_pair": "bad"}]
    assert [one["label"] for one in pipe(given)] == ["positive", "negative"]
    with pytest.raises(ValueError, match="this model reads two"):
        pipe(["great"])
    data = Dataset.from_dict({"one": ["great", "awful"], "other": ["best", "bad"], "label": [1, 0]})
    found = evaluate.evaluator("text-classification").compute(
        model_or_pipeline=pipe, data=data, metric=module("accuracy", tmp_path), label_mapping=IDS,
        input_column="one", second_input_column="other",
    )  # fmt: skip
    assert found["accuracy"] == 1


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
def test_evaluates_evaluator_takes_it(model: Model, tmp_path: Path, name: str) -> None:
    """`model_or_pipeline=as_pipeline(model)` over a data set in memory, with a metric module of ours."""
    found = evaluate.evaluator("text-classification").compute(
        model_or_pipeline=as_pipeline(model),
        data=Dataset.from_dict({"text": TEXTS, "label": TRUE}),
        metric=module(name, tmp_path),
        label_mapping=IDS,
    )
    answers = model.scores(TEXTS).argmax(axis=1)
    assert found[name] == pytest.approx(score(METRICS[name], answers * 0 + TRUE, answers, 2))
    assert found["samples_per_second"] > 0


def test_an_evaluation_suite_runs_a_service(tmp_path: Path) -> None:
    """`evaluate.EvaluationSuite` over a model that answers over HTTP."""

    class Suite(evaluate.EvaluationSuite):  # type: ignore[misc]  # evaluate ships no types
        """One task."""

        def __init__(self) -> None:
            super().__init__("tiny")
            ids = {label: number for number, label in enumerate(LABELS)}
            self.suite = [
                SubTask(
                    task_type="text-classification",
                    data=Dataset.from_dict({"text": TEXTS, "label": [0] * len(TEXTS)}),
                    args_for_task={"metric": module("accuracy", tmp_path), "label_mapping": ids},
                )
            ]

    with served("tei") as service:
        model = open_model(service.url)
        found = Suite().run(as_pipeline(model))
        model.close()
    right = sum(max(scores_of(text)) == scores_of(text)[0] for text in TEXTS)
    assert found[0]["accuracy"] == pytest.approx(right / len(TEXTS))
