"""The parts of training that decide whether a resumed run is the same run: order, rates, stopping, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoints import write_tiny_checkpoint

from ftdeploy.recipe import EarlyStopping, TrainSettings
from ftdeploy.train import _facts
from ftdeploy.train.optimizer import build_optimizer, depth_of
from ftdeploy.train.precision import choose_precision
from ftdeploy.train.resume import last_complete_checkpoint, mark_complete
from ftdeploy.train.sampler import LengthGroupedBatches, TokenBudgetBatches

TASK: Any = SimpleNamespace(metrics=("accuracy", "macro_f1"))


@pytest.mark.parametrize(
    ("name", "base", "depth"),
    [
        ("classifier.weight", "bert", 0),
        ("bert.pooler.dense.weight", "bert", 0),
        ("bert.encoder.layer.11.output.dense.weight", "bert", 1),
        ("bert.encoder.layer.0.attention.self.query.weight", "bert", 12),
        ("bert.embeddings.word_embeddings.weight", "bert", 13),
        ("distilbert.transformer.layer.11.ffn.lin1.weight", "distilbert", 1),
        ("distilbert.embeddings.LayerNorm.weight", "distilbert", 13),
        ("pre_classifier.weight", "distilbert", 0),
        ("roberta.encoder.layer.5.output.dense.bias", "roberta", 7),
        ("classifier.out_proj.weight", "roberta", 0),
        ("transformer.h.0.attn.c_attn.weight", "transformer", 12),
        ("transformer.wte.weight", "transformer", 13),
        ("transformer.wpe.weight", "transformer", 13),
        ("transformer.ln_f.weight", "transformer", 0),
        ("model.layers.11.mlp.up_proj.weight", "model", 1),
        ("model.embed_tokens.weight", "model", 13),
        ("score.weight", "model", 0),
        ("mpnet.encoder.relative_attention_bias.weight", "mpnet", 13),
        ("deberta.encoder.rel_embeddings.weight", "deberta", 13),
        ("deberta.encoder.LayerNorm.weight", "deberta", 13),
        ("roberta.encoder.LayerNorm.weight", "roberta", 0),
        ("albert.encoder.embedding_hidden_mapping_in.weight", "albert", 13),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "albert", 1),
    ],
)
def test_depth_of_a_parameter(name: str, base: str, depth: int) -> None:
    """Head and what stands above the layers are 0, then layer by layer down, and embeddings and what else all layers
    read last; for every naming. ALBERT's shared layer is no head."""
    assert depth_of(name, base=base, layers=12) == depth


def test_each_layer_learns_slower_than_the_one_above(tmp_path: Path) -> None:
    """layerwise_decay multiplies the rate once a layer; biases and norms have no weight decay; nothing is left out."""
    from transformers import AutoModelForSequenceClassification

    write_tiny_checkpoint(tmp_path)
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)
    settings = TrainSettings(learning_rate=1e-3, layerwise_decay=0.5, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen = {}
    for group in build_optimizer(network, settings).param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert seen.keys() == set(names.values())
    assert seen["classifier.weight"] == (1e-3, 0.1)
    assert seen["bert.encoder.layer.1.output.dense.weight"] == (5e-4, 0.1)
    assert seen["bert.encoder.layer.0.output.dense.weight"] == (2.5e-4, 0.1)
    assert seen["bert.encoder.layer.0.output.dense.bias"] == (2.5e-4, 0.0)
    assert seen["bert.encoder.layer.0.output.LayerNorm.weight"] == (2.5e-4, 0.0)
    assert seen["bert.embeddings.word_embeddings.weight"] == (1.25e-4, 0.1)


def _batches(*, seed: int = 3, epoch: int = 0, rows: int = 1003) -> list[list[int]]:
    sampler = LengthGroupedBatches([(n * 7919) % 60 + 1 for n in range(rows)], batch_size=8, seed=seed)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def test_an_epoch_covers_each_row_once() -> None:
    """No row is left out or repeated, also when the batch size does not divide the rows."""
    assert sorted(index for batch in _batches() for index in batch) == list(range(1003))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    """Equal for equal seed and epoch, whatever was drawn elsewhere; another epoch or seed is another order."""
    import random

    first = _batches()
    random.seed(99)
    assert _batches() == first
    assert _batches(epoch=1) != first
    assert _batches(seed=4) != first


def test_a_batch_holds_rows_of_alike_length() -> None:
    """Padding is a small part of what a shuffled batch would have."""
    lengths = [(n * 7919) % 60 + 1 for n in range(1003)]

    def padded(batches: list[list[int]]) -> int:
        return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)

    plain = [list(range(start, min(start + 8, 1003))) for start in range(0, 1003, 8)]
    assert padded(_batches()) - sum(lengths) < 0.2 * (padded(plain) - sum(lengths))


#: Short texts, and one that alone is above the budget.
LENGTHS = [(n * 7919) % 60 + 1 for n in range(1003)] + [900]


def _budgeted(*, seed: int = 3, epoch: int = 0) -> list[list[int]]:
    sampler = TokenBudgetBatches(LENGTHS, tokens=512, seed=seed)
    sampler.set_epoch(epoch)
    found = list(sampler)
    assert len(found) == len(sampler)
    return found


def test_a_budget_of_tokens_is_kept() -> None:
    """Padded, no batch is above it but a single longer row; it is well used; each row comes once."""
    batches = _budgeted()
    assert sorted(index for batch in batches for index in batch) == list(range(len(LENGTHS)))
    padded = [max(LENGTHS[index] for index in batch) * len(batch) for batch in batches]
    assert [size for size in padded if size > 512] == [900]
    assert sum(LENGTHS) / (512 * len(batches)) > 0.85


def test_epochs_of_a_budget_have_the_same_number_of_batches_and_other_mates() -> None:
    """Schedules count on the number; the order depends on seed and epoch alone."""
    assert _budgeted() == _budgeted()
    assert len(_budgeted(epoch=1)) == len(_budgeted())
    first, second = ({frozenset(batch) for batch in _budgeted(epoch=epoch)} for epoch in (0, 1))
    assert len(first & second) < 0.1 * len(first)
    assert _budgeted(seed=4) != _budgeted()


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "expected"),
    [
        ([], 1, 0.0, False),
        ([0.5], 1, 0.0, False),
        ([0.5, 0.6], 1, 0.0, False),
        ([0.5, 0.5], 1, 0.0, True),
        ([0.5, 0.4], 2, 0.0, False),
        ([0.5, 0.4, 0.45], 2, 0.0, True),
        ([0.5, 0.4, 0.6], 2, 0.0, False),
        ([0.5, 0.55, 0.58], 2, 0.1, True),
        ([0.5, 0.61, 0.6], 2, 0.1, False),
    ],
)
def test_when_training_has_stalled(scores: list[float], patience: int, min_delta: float, expected: bool) -> None:
    """From the log alone: the last `patience` evaluations brought less than `min_delta`; other entries do not count."""
    from ftdeploy.train.callbacks import stalled

    log = [entry for score in scores for entry in ({"loss": 1.0}, {"eval_accuracy": score})]
    assert stalled(log, "eval_accuracy", EarlyStopping(patience=patience, min_delta=min_delta)) is expected


def test_of_a_loss_less_is_better() -> None:
    """Early stopping on the loss."""
    from ftdeploy.train.callbacks import stalled

    log = [{"eval_loss": value} for value in (0.9, 0.7, 0.8)]
    assert not stalled(log[:2], "eval_loss", EarlyStopping(patience=1))
    assert stalled(log, "eval_loss", EarlyStopping(patience=1))


def _history(*scores: float) -> list[dict[str, Any]]:
    return [{"epoch": float(n), "eval_accuracy": s, "eval_macro_f1": s - 0.1} for n, s in enumerate(scores, start=1)]


def test_facts_tell_the_epoch_that_was_kept() -> None:
    """With early stopping the best (the first of equals), without it the last."""
    history = [{"epoch": 0.5, "loss": 1.0}, *_history(0.7, 0.9, 0.9, 0.8)]
    best = _facts(history, TASK, TrainSettings())
    assert (best["best_epoch"], best["epochs"], best["validation_accuracy"]) == (2, 4, 0.9)
    last = _facts(history, TASK, TrainSettings(early_stopping=None))
    assert (last["best_epoch"], last["epochs"], last["validation_accuracy"]) == (4, 4, 0.8)


def test_the_choice_of_precision_outlives_a_crash(tmp_path: Path) -> None:
    """A resumed run goes on in the precision that it began with, also when the measurement would differ now."""
    network: Any = None  # not looked at when nothing is measured
    first = choose_precision("bf16", "cpu", network, [], batch_size=8, work=tmp_path)
    assert choose_precision("fp32", "cpu", network, [], batch_size=8, work=tmp_path) == first
    other = tmp_path / "other"
    other.mkdir()
    assert choose_precision("fp32", "cpu", network, [], batch_size=8, work=other).name == "fp32"


def test_auto_precision_measures_where_the_processor_has_bf16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the instructions the choice follows a measured ratio, without them it is fp32; either says why, and the
    network is left as it was."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from ftdeploy.train import precision

    write_tiny_checkpoint(tmp_path / "model")
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", local_files_only=True)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = [{"input_ids": [2, 5 + n % 9, 3], "labels": n % 2} for n in range(32)]
    found = {}
    for has in (True, False):
        monkeypatch.setattr(precision, "has_bf16", lambda has=has: has)
        work = tmp_path / str(has)
        work.mkdir()
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        found[has] = choose_precision("auto", "cpu", network, rows, batch_size=8, work=work)
        assert torch.equal(torch.rand(3), expected), "the measurement drew from the global generator"
    gain = float(found[True].reason.split()[4].rstrip("x"))
    assert found[True].name == ("bf16" if gain >= precision.WORTH else "fp32")
    assert found[False].name == "fp32"
    assert "no bf16" in found[False].reason
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def _checkpoint(work: Path, step: int, *, best: str | None = None) -> Path:
    folder = work / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "trainer_state.json").write_text(json.dumps({"best_model_checkpoint": best}), encoding="utf-8")
    return folder


def test_only_whole_checkpoints_are_resumed_from(tmp_path: Path) -> None:
    """The newest by number that was marked and has every file; half-written and half-removed ones are cleared away."""
    for step in (2, 10):
        mark_complete(_checkpoint(tmp_path, step))
    half_written = _checkpoint(tmp_path, 12)
    half_removed = _checkpoint(tmp_path, 14)
    mark_complete(half_removed)
    (half_removed / "model.safetensors").unlink()
    assert last_complete_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not half_written.exists()
    assert not half_removed.exists()
    assert (tmp_path / "checkpoint-2").exists()


def test_without_a_whole_checkpoint_training_begins_anew(tmp_path: Path) -> None:
    """Nothing is resumed from an empty folder or from one half-written checkpoint."""
    assert last_complete_checkpoint(tmp_path) is None
    _checkpoint(tmp_path, 5)
    assert last_complete_checkpoint(tmp_path) is None


def test_the_best_checkpoint_is_found_where_the_run_is_now(tmp_path: Path) -> None:
    """The Trainer notes a full path and takes the last weights in silence when nothing is there: a run that was moved
    would end in other weights."""
    mark_complete(_checkpoint(tmp_path, 2))
    mark_complete(_checkpoint(tmp_path, 4, best="/somewhere/else/checkpoint-2"))
    newest = last_complete_checkpoint(tmp_path)
    assert newest is not None
    state = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["best_model_checkpoint"] == str(tmp_path / "checkpoint-2")
