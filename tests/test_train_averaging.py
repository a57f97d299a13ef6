"""Averages of the weights are what their formulas say; the average is evaluated, kept, saved, also after a resume."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import TinyTraining, make_tiny_training, weights_of

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import label_names, read_split
from ftdeploy.recipe import TrainSettings
from ftdeploy.train.averaging import Average, AverageWeights, ExponentialAverage, LastAverage, choose_average

#: Averaging the last two of three evaluations and keeping the last shows the average, not one of its parts.
LAST = ("train.average_last=2", "train.early_stopping=null")
#: By the loss, which falls to the end here: by accuracy the first evaluation may be the best, with nothing to average.
FALLING = ("train.average_last=2", "train.early_stopping.metric=loss")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> TinyTraining:
    return make_tiny_training(tmp_path_factory.mktemp("training"), rows=120)


def path(steps: int) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """A walk of the weights."""
    return list(np.random.default_rng(2).normal(size=(steps, 3, 2)).cumsum(axis=0))


def test_the_moving_average_is_the_bias_corrected_one() -> None:
    """m = d m + (1 - d) w from m = 0, divided by 1 - d^t; after one step it is that step's weights."""
    average, moving = ExponentialAverage(0.9), np.zeros((3, 2))
    for step, weights in enumerate(path(40), start=1):
        average.after_step({"w": torch.tensor(weights)})
        average.before_evaluation({"w": torch.zeros(3, 2)})
        moving = 0.9 * moving + 0.1 * weights
        np.testing.assert_allclose(average.value()["w"].numpy(), moving / (1 - 0.9**step), rtol=1e-6)


def test_the_mean_is_over_the_last_evaluations() -> None:
    """Of all while there are fewer; steps between them do not count."""
    average, walk = LastAverage(3), path(7)
    for count, weights in enumerate(walk, start=1):
        average.after_step({"w": torch.full((3, 2), 99.0)})
        average.before_evaluation({"w": torch.tensor(weights)})
        np.testing.assert_allclose(average.value()["w"].numpy(), np.mean(walk[max(0, count - 3) : count], axis=0))


@pytest.mark.parametrize("make", [lambda: ExponentialAverage(0.9), lambda: LastAverage(3)])
@pytest.mark.parametrize("stop", [1, 2, 6])
def test_a_restored_average_goes_on_as_the_first(make: Any, stop: int) -> None:
    """To the last bit."""

    def feed(average: Average, walk: list[Any]) -> None:
        for weights in walk:
            average.after_step({"w": torch.tensor(weights)})
            average.before_evaluation({"w": torch.tensor(weights)})

    whole, first, second = make(), make(), make()
    feed(whole, path(8))
    feed(first, path(8)[:stop])
    second.restore({name: tensor.clone() for name, tensor in first.state().items()})
    feed(second, path(8)[stop:])
    assert torch.equal(second.value()["w"], whole.value()["w"])


def test_without_a_key_there_is_no_average() -> None:
    """And the mean of one evaluation is none, too."""
    assert choose_average(TrainSettings()) is None
    assert choose_average(TrainSettings(average_last=1)) is None


def test_an_evaluation_sees_the_average_and_leaves_the_weights() -> None:
    """Also when it fails; before and after training nothing is swapped."""
    network = torch.nn.Linear(2, 3, bias=False)
    average = AverageWeights(ExponentialAverage(0.5))
    state: Any = SimpleNamespace(global_step=0, best_model_checkpoint=None)
    args: Any = SimpleNamespace(load_best_model_at_end=False)
    average.on_train_begin(args, state, None, model=network)
    with torch.no_grad():
        for value in (1.0, 4.0):
            network.weight.fill_(value)
            average.on_step_end(args, state, None, model=network)
    with suppress(KeyError), average.evaluated(network):
        torch.testing.assert_close(network.weight, torch.full((3, 2), 3.0))  # (1/4 + 4/2) / (3/4)
        raise KeyError
    assert torch.equal(network.weight, torch.full((3, 2), 4.0))
    average.on_train_end(args, state, None, model=network)
    torch.testing.assert_close(network.weight, torch.full((3, 2), 3.0))
    with average.evaluated(network):
        torch.testing.assert_close(network.weight, torch.full((3, 2), 3.0))


@pytest.mark.parametrize("settings", [("train.ema={decay: 0.9}",), LAST, FALLING])
def test_what_was_evaluated_is_what_is_saved(training: TinyTraining, tmp_path: Path, settings: tuple[str, ...]) -> None:
    """The saved weights have the very loss that the log states for the evaluation that was kept; an undisturbed and a
    resumed training end in them; and they are others than without an average."""
    whole = training.run(tmp_path / "whole", *settings)
    training.interrupt(tmp_path / "resumed", *settings, evaluation=3)
    assert training.run(tmp_path / "resumed", *settings).digest == whole.digest
    history = json.loads(whole.file("history.json").read_text(encoding="utf-8"))
    kept = [entry for entry in history if entry.get("epoch") == whole.facts["best_epoch"] and "eval_loss" in entry]
    assert validation_loss(whole, training.dataset) == pytest.approx(kept[0]["eval_loss"], rel=1e-4)
    plain = weights_of(training.run(tmp_path / "plain", *settings[1:]).path)
    assert any(not torch.equal(weight, plain[name]) for name, weight in weights_of(whole.path).items())


def validation_loss(checkpoint: Artifact, dataset: Artifact) -> float:
    """Mean cross-entropy over the validation rows."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(checkpoint.path, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
    rows, labels = read_split(dataset, "validation"), label_names(dataset)
    encoded = tokenizer(
        rows["text"].to_pylist(), padding=True, truncation=True, max_length=48, return_tensors="pt",
        return_token_type_ids=False,
    )  # fmt: skip
    targets = torch.tensor([labels.index(label) for label in rows["label"].to_pylist()])
    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(network(**encoded).logits, targets))
