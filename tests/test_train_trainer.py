"""The Trainer as ftdeploy uses it: accumulation, evaluation by steps, what is kept as the best, trainings that fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import sentences, write_tiny_checkpoint

from ftdeploy.errors import TrainingError
from ftdeploy.recipe import TrainSettings
from ftdeploy.tasks import TASKS
from ftdeploy.train.tokens import ArrowRows, Row, encode_rows, encode_to_file, mean_weight
from ftdeploy.train.trainer import FineTuner, build_trainer
from ftdeploy.train.validation import validation_metrics

TASK = TASKS["text-classification"]
LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_checkpoint(folder, hidden=16)
    return folder


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)


def table_of(count: int, **columns: list[Any]) -> Any:
    import pyarrow as pa

    rows = sentences()[:: len(sentences()) // count][:count]
    return pa.table({name: [row[name] for row in rows] for name in ("text", "label")} | columns)


@pytest.fixture(scope="module")
def rows(tokenizer: Any) -> dict[str, list[Row]]:
    encoded = encode_rows(table_of(90), tokenizer, TASK, LABELS, max_length=40)
    return {"train": encoded[:60], "validation": encoded[60:]}


@pytest.fixture
def network(checkpoint: Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(1)
    return AutoModelForSequenceClassification.from_pretrained(
        checkpoint, local_files_only=True, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )


def tuner(network: Any, rows: dict[str, list[Row]], tokenizer: Any, work: Path, **train: Any) -> FineTuner:
    settings = TrainSettings(**{"learning_rate": 1e-3, "batch_size": 8, "epochs": 2, **train})
    return build_trainer(
        network, rows, TASK, settings, tokenizer=tokenizer, seed=3, device="cpu", precision="fp32", work=work
    )


def test_accumulated_batches_count_each_row_the_same(network: Any, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Two batches of 5 and 11 rows give the gradient of all 16 rows at once."""
    trainer = tuner(network, rows, tokenizer, tmp_path, gradient_accumulation=2)
    wanted, _ = trainer.compute_loss(network, trainer.data_collator(rows["train"][:16]), return_outputs=True)
    wanted.backward()
    expected = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    for part in (rows["train"][:5], rows["train"][5:16]):
        trainer.training_step(network, trainer.data_collator(part), num_items_in_batch=torch.tensor(16))
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)


def test_accumulation_makes_fewer_steps(network: Any, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Eight batches an epoch in threes are three steps; the schedule ends with them."""
    trainer = tuner(network, rows, tokenizer, tmp_path, gradient_accumulation=3, early_stopping=None)
    trainer.fit(None)
    assert trainer.state.global_step == 6
    assert trainer.history()[-2]["learning_rate"] < 1e-3 / 4
    assert trainer.lr_scheduler.get_last_lr() == [0.0] * len(trainer.optimizer.param_groups)  # type: ignore[union-attr]  # it was made


def test_recomputing_changes_nothing(checkpoint: Path, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Gradient checkpointing ends in the same weights, dropout included."""
    from transformers import AutoModelForSequenceClassification

    found = []
    for recompute in (False, True):
        torch.manual_seed(1)
        network = AutoModelForSequenceClassification.from_pretrained(checkpoint, local_files_only=True)
        work = tmp_path / str(recompute)
        trainer = tuner(network, rows, tokenizer, work, gradient_checkpointing=recompute, epochs=1)
        trainer.fit(None)
        assert network.is_gradient_checkpointing is recompute
        found.append({name: weight.clone() for name, weight in network.state_dict().items()})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_evaluation_by_steps_keeps_the_best(network: Any, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Every five steps and after the last; the weights in the end are those with the least loss, though training went
    on to worse ones."""
    table = table_of(90)
    other = {label: place for place, label in zip(reversed(LABELS), LABELS, strict=True)}
    swapped = table.set_column(1, "label", [[other[label] for label in table["label"].to_pylist()]])
    against = encode_rows(swapped, tokenizer, TASK, LABELS, max_length=40)[60:]  # the more is learned, the worse
    trainer = tuner(network, {**rows, "validation": against}, tokenizer, tmp_path, evaluate=5, learning_rate=1e-2,
                    schedule="constant", epochs=4, early_stopping={"metric": "loss", "patience": 100})  # fmt: skip
    trainer.fit(None)
    evaluations = [entry for entry in trainer.history() if "eval_loss" in entry]
    assert [entry["step"] for entry in evaluations] == [5, 10, 15, 20, 25, 30, 32]
    losses = [entry["eval_loss"] for entry in evaluations]
    assert losses[-1] > min(losses)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses))


def test_metrics_of_an_evaluation() -> None:
    """The task's, the one that is followed, and the mean cross-entropy over the rows."""
    from types import SimpleNamespace

    logits, targets = torch.randn(50, 2), torch.arange(50) % 2
    found = SimpleNamespace(predictions=logits.numpy(), label_ids=targets.numpy())
    scores = validation_metrics(TASK, "eval_loss", labels=["bad", "good"])(found)
    assert scores["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)))
    assert scores["accuracy"] == pytest.approx(float((logits.argmax(-1) == targets).float().mean()))
    assert scores.keys() == {*TASK.metrics, "loss"}


def test_the_history_tells_what_was_frozen_and_at_which_rates(network: Any, rows: Any, tokenizer: Any,
                                                              tmp_path: Path) -> None:  # fmt: skip
    """At the steps at which it was so."""
    trainer = tuner(network, rows, tokenizer, tmp_path, unfreeze={"every": 5}, layerwise_decay=0.5)
    trainer.fit(None)
    entries = {entry["step"]: entry for entry in trainer.history() if "loss" in entry}
    assert entries[5]["frozen"] == ["layer 1", "layer 0", "embeddings"]
    assert "learning_rates" not in entries[5]
    assert entries[6]["frozen"] == ["layer 0", "embeddings"]
    assert entries[6]["learning_rates"]["layer 1"] == pytest.approx(entries[6]["learning_rate"] / 2)
    assert "frozen" not in entries[16]


def test_a_loss_that_is_none_ends_training(network: Any, rows: Any, tokenizer: Any, tmp_path: Path) -> None:
    """The error names the step."""
    network.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan at step 1 of 16"):
        tuner(network, rows, tokenizer, tmp_path).fit(None)


def test_a_gradient_that_is_none_ends_training_before_the_weights_are_spoilt(
    network: Any, rows: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """The loss may still be fine."""
    network.classifier.bias.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"the norm of the gradients is (inf|nan) at step 1 of 16"):
        tuner(network, rows, tokenizer, tmp_path).fit(None)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters())


def test_a_training_that_diverges_does_not_run_to_its_end(network: Any, rows: Any, tokenizer: Any,
                                                          tmp_path: Path) -> None:  # fmt: skip
    """From the tenth step on logits are a thousand times too large, as a far too high rate makes them on some machines
    and not on others; each row comes with either label, so that large ones cannot be right."""
    torn = [{**row, "labels": label} for row in rows["train"][:30] for label in (0, 1)]
    trainer = tuner(network, {**rows, "train": torn}, tokenizer, tmp_path, epochs=20, early_stopping=None)
    network.classifier.bias.data.copy_(torch.tensor([0.5, -0.5]))
    network.classifier.register_forward_hook(
        lambda _module, _inputs, logits: logits * (1000.0 if trainer.state.global_step >= 10 else 1.0)
    )
    with pytest.raises(TrainingError, match="training diverges: the loss is") as caught:
        trainer.fit(None)
    assert "train.learning_rate" in caught.value.fix
    assert trainer.state.global_step < trainer.state.max_steps / 2


def test_rows_in_a_file_are_those_in_memory(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several chunks, with the columns of the objective; and the file is made once."""
    monkeypatch.setattr("ftdeploy.train.tokens.CHUNK", 16)
    table = table_of(50, weight=[0.5 + n / 50 for n in range(50)], teacher=[[0.25 * n, 1.0] for n in range(50)])
    expected = encode_rows(table, tokenizer, TASK, LABELS, max_length=20)
    file = tmp_path / "train.arrow"
    found = encode_to_file(table, tokenizer, TASK, LABELS, max_length=20, file=file)
    assert len(found) == 50
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one["row"] == number
        assert one["weight"] == pytest.approx(other["weight"])
        assert {name: one[name] for name in ("input_ids", "labels", "teacher")} == {
            name: other[name] for name in ("input_ids", "labels", "teacher")
        }
    assert found.lengths == [len(row["input_ids"]) for row in expected]
    assert mean_weight(found) == pytest.approx(mean_weight(expected)) == pytest.approx(0.99)
    made = file.stat()
    again = encode_to_file(table, tokenizer, TASK, LABELS, max_length=20, file=file)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (made.st_mtime_ns, made.st_ino)
    assert list(again) == list(found)
    with pytest.raises(IndexError):
        ArrowRows(file)[50]
