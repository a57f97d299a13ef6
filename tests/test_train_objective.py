"""Each loss against the formula of its paper, written out in numpy; and weights that leave the learning rate alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

from ftdeploy.errors import ConfigError
from ftdeploy.recipe import TrainSettings
from ftdeploy.tasks import TASKS
from ftdeploy.train.objective import batch_loss, class_weights, symmetric_divergence, weigh_labels

Floats = NDArray[np.float64]
TASK = TASKS["text-classification"]
RANDOM = np.random.default_rng(5)
LOGITS, AGAIN, TEACHER = RANDOM.normal(0, 3, (3, 11, 4))
TARGETS = RANDOM.integers(0, 4, 11)
WEIGHTS = RANDOM.uniform(0.2, 3, 11)


def settings(**keys: Any) -> TrainSettings:
    return TrainSettings.model_validate(keys)


def log_softmax(logits: Floats) -> Floats:
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def hard(logits: Floats, *, gamma: float = 0.0, smoothing: float = 0.0) -> Floats:
    """Cross-entropy of each row against the smoothed target, times (1 - p)^gamma."""
    target = np.full(logits.shape, smoothing / 4)
    target[np.arange(11), TARGETS] += 1 - smoothing
    sure = np.exp(log_softmax(logits))[np.arange(11), TARGETS]
    return np.asarray(-(target * log_softmax(logits)).sum(axis=1) * (1 - sure) ** gamma)


def divergence(p: Floats, q: Floats) -> Floats:
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def loss(train: TrainSettings, *, weighted: bool = True, again: bool = False, teacher: bool = False) -> float:
    found = batch_loss(
        torch.tensor(LOGITS),
        torch.tensor(TARGETS),
        torch.tensor(WEIGHTS) if weighted else None,
        settings=train,
        again=torch.tensor(AGAIN) if again else None,
        teacher=torch.tensor(TEACHER) if teacher else None,
    )
    return float(found)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("weighted", [True, False])
def test_focal_loss_smoothing_and_weights_go_together(gamma: float, smoothing: float, weighted: bool) -> None:
    """(1 - p)^gamma times the smoothed cross-entropy times the row's weight; divided by the rows, not the weights."""
    rows = hard(LOGITS, gamma=gamma, smoothing=smoothing) * (WEIGHTS if weighted else 1)
    found = loss(settings(focal_gamma=gamma, label_smoothing=smoothing), weighted=weighted)
    assert found == pytest.approx(rows.mean(), rel=1e-5)


def test_the_plain_loss_is_torchs_own() -> None:
    """With everything off the number is the very one that training had before, to the last bit."""
    logits, targets = torch.tensor(LOGITS, dtype=torch.float32), torch.tensor(TARGETS)
    assert torch.equal(
        batch_loss(logits, targets, None, settings=settings()), torch.nn.functional.cross_entropy(logits, targets)
    )


@pytest.mark.parametrize("logit", [30.0, 200.0])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_a_sure_answer_has_a_slope(gamma: float, logit: float) -> None:
    """Where p is 1 to the last digit, the loss is 0 and its gradient is a number."""
    logits = torch.tensor([[logit, 0.0]], requires_grad=True)
    found = batch_loss(logits, torch.tensor([0]), None, settings=settings(focal_gamma=gamma))
    found.backward()  # type: ignore[no-untyped-call]
    assert float(found.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_r_drop_is_symmetric() -> None:
    """Half of both Kullback-Leibler divergences; which pass is the first makes no difference; equal ones have none."""
    first, second = torch.tensor(LOGITS), torch.tensor(AGAIN)
    one, other = log_softmax(LOGITS), log_softmax(AGAIN)
    expected = (divergence(one, other) + divergence(other, one)) / 2
    np.testing.assert_allclose(symmetric_divergence(first, second).numpy(), expected, rtol=1e-4)
    assert torch.equal(symmetric_divergence(first, second), symmetric_divergence(second, first))
    assert not symmetric_divergence(first, first).any()
    assert (expected > divergence(one, other) * 0.01).all()
    assert not np.allclose(divergence(one, other), divergence(other, one)), "or the test could not tell"


def test_r_drop_adds_the_divergence_to_the_mean_of_both_passes() -> None:
    """Weighted row by row, as all else."""
    one, other = log_softmax(LOGITS), log_softmax(AGAIN)
    apart = (divergence(one, other) + divergence(other, one)) / 2
    rows = (hard(LOGITS) + hard(AGAIN)) / 2 + 0.7 * apart
    assert loss(settings(r_drop=0.7), again=True) == pytest.approx((rows * WEIGHTS).mean(), rel=1e-5)


def test_distillation_mixes_labels_and_teacher() -> None:
    """alpha T^2 KL(teacher / T, student / T) + (1 - alpha) cross-entropy; an evaluation, which has no teacher, looks at
    the labels alone."""
    train = settings(teacher={"path": "t", "temperature": 3, "alpha": 0.3}, label_smoothing=0.1)
    soft = divergence(log_softmax(TEACHER / 3), log_softmax(LOGITS / 3)) * 9
    rows = 0.3 * soft + 0.7 * hard(LOGITS, smoothing=0.1)
    assert loss(train, teacher=True) == pytest.approx((rows * WEIGHTS).mean(), rel=1e-5)
    assert loss(train) == pytest.approx((hard(LOGITS, smoothing=0.1) * WEIGHTS).mean(), rel=1e-5)


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn() -> None:
    """At alpha 1 loss and gradient vanish, whatever the labels say."""
    logits = torch.tensor(TEACHER, requires_grad=True)
    train = settings(teacher={"path": "t", "alpha": 1})
    found = batch_loss(logits, torch.tensor(TARGETS), None, settings=train, teacher=torch.tensor(TEACHER))
    found.backward()  # type: ignore[no-untyped-call]
    assert float(found.detach()) == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy(), 0, atol=1e-6)


LABELS = ("a", "b", "c")
COUNTS = np.repeat([0, 1, 2], [60, 30, 10])


def weights_by(rule: str, beta: float = 0.999) -> NDArray[np.float32]:
    found = class_weights(COUNTS, LABELS, settings(class_weights=rule, effective_number_beta=beta))
    assert found is not None
    return found


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    """n / (classes x rows of the class)."""
    from sklearn.utils.class_weight import compute_class_weight

    found = weights_by("balanced")
    np.testing.assert_allclose(found, compute_class_weight("balanced", classes=np.arange(3), y=COUNTS), rtol=1e-6)


def test_effective_numbers_lie_between_none_and_balanced() -> None:
    """Cui et al., equation 2: beta towards 0 weighs all labels alike, beta towards 1 inversely to their frequency."""
    np.testing.assert_allclose(weights_by("effective_number", 1e-9), 1, rtol=1e-6)
    np.testing.assert_allclose(weights_by("effective_number", 1 - 1e-9), weights_by("balanced"), rtol=1e-4)
    found = weights_by("effective_number", 0.9)
    expected = (1 - 0.9) / (1 - 0.9 ** np.array([60, 30, 10]))
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)


@pytest.mark.parametrize("rule", ["balanced", "effective_number"])
def test_weights_found_have_a_mean_of_one_over_the_rows(rule: str) -> None:
    """So that the learning rate keeps its meaning."""
    found = weights_by(rule)
    assert found[COUNTS].mean() == pytest.approx(1, rel=1e-5)
    assert found[0] < found[1] < found[2]


def _table(**columns: Any) -> pa.Table:
    return pa.table({"text": ["x"] * 3, "label": ["a", "c", "a"], **columns})


def test_given_weights_are_taken_and_others_are_one() -> None:
    """As they stand in the recipe, multiplied with a weight that the rows have already."""
    train = settings(class_weights={"c": 2.5})
    assert weigh_labels(_table(), LABELS, TASK, train)["weight"].to_pylist() == [1, 2.5, 1]
    weight = pa.array([0.5, 2, 4], pa.float32())
    assert weigh_labels(_table(weight=weight), LABELS, TASK, train)["weight"].to_pylist() == [0.5, 5, 4]


def test_without_class_weights_the_rows_are_as_they_were() -> None:
    """No column appears."""
    table = _table()
    assert weigh_labels(table, LABELS, TASK, settings()) is table


def test_a_weight_of_no_label_is_told() -> None:
    """Before training, with the label that was probably meant."""
    with pytest.raises(ConfigError) as caught:
        class_weights(COUNTS, ("positive", "negative"), settings(class_weights={"postive": 2}))
    assert "'postive'" in caught.value.what
    assert "did you mean 'positive'?" in caught.value.fix
