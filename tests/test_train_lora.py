"""LoRA: only thin matrices are learned, and what is saved is a plain checkpoint that answers as the adapted one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_tiny_checkpoint
from encoders import make
from tiny_training import TinyTraining, make_tiny_training, weights_of

from ftdeploy.errors import ConfigError, DependencyError
from ftdeploy.recipe.objective import Lora
from ftdeploy.train.lora import add_lora, merge_lora

INPUTS = {"input_ids": torch.arange(5, 29).reshape(3, 8), "attention_mask": torch.ones(3, 8, dtype=torch.int64)}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> TinyTraining:
    return make_tiny_training(tmp_path_factory.mktemp("training"), rows=120)


def load(folder: Path, architecture: str) -> Any:
    """A tiny network with a head."""
    from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

    torch.manual_seed(3)
    if architecture == "gpt2":  # its matrices are of a class of their own and stand the other way
        config = GPT2Config(vocab_size=100, n_positions=16, n_embd=32, n_layer=2, n_head=2, pad_token_id=0)
        return GPT2ForSequenceClassification(config).eval()
    if architecture == "albert":  # its one layer stands for all
        return make("albert")
    write_tiny_checkpoint(folder)
    return AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()


def shake(network: Any) -> None:
    """Move what can be trained, as training would."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "albert"])
def test_merged_answers_as_unmerged(tmp_path: Path, architecture: str) -> None:
    """Adapters begin as nothing; after training the merged network answers as the adapted one did, and has the names,
    shapes and trainable weights of the one it was made from."""
    network = load(tmp_path, architecture)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    at_first = network(**INPUTS).logits
    tuner = add_lora(network, Lora(rank=3, alpha=6))
    torch.testing.assert_close(network(**INPUTS).logits, at_first)
    shake(network)
    adapted = network(**INPUTS).logits
    merge_lora(tuner)
    torch.testing.assert_close(network(**INPUTS).logits, adapted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(adapted, at_first, atol=1e-2), "or the test could not tell"
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == shapes
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_only_adapters_and_what_stands_above_the_layers_are_trained(tmp_path: Path) -> None:
    """Pooler and head are new in a checkpoint of an encoder, and must learn; the layers' own weights stay."""
    network = load(tmp_path, "bert")
    tuner = add_lora(network, Lora(rank=3))
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if ".lora_" not in name} == {
        f"{part}.{kind}" for part in ("bert.pooler.dense", "classifier") for kind in ("weight", "bias")
    }
    assert len([name for name in trained if ".lora_A." in name]) == 2 * 6
    assert tuner is not None


def test_target_modules_are_named_by_their_end(tmp_path: Path) -> None:
    """Others get no adapter; a name that none has is an error that lists those there are."""
    network = load(tmp_path, "bert")
    add_lora(network, Lora(target_modules=("query", "attention.output.dense")))
    adapted = {name.partition(".lora_")[0] for name, _ in network.named_parameters() if ".lora_" in name}
    assert {name.partition("layer.")[2][2:] for name in adapted} == {"attention.self.query", "attention.output.dense"}
    with pytest.raises(ConfigError) as caught:
        add_lora(load(tmp_path, "bert"), Lora(target_modules=("q_proj",)))
    assert "q_proj" in caught.value.what
    assert "query" in caught.value.fix


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """peft is not part of the extra `train`."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(DependencyError) as caught:
        add_lora(load(tmp_path, "bert"), Lora())
    assert "ftdeploy[lora]" in caught.value.fix


def test_a_resumed_training_ends_in_the_same_plain_checkpoint(training: TinyTraining, tmp_path: Path) -> None:
    """Adapters stand in the Trainer's checkpoints; in the artifact they are merged: names and shapes of a plain one,
    embeddings untouched."""
    settings = ("train.lora={rank: 3, dropout: 0.1}", "train.learning_rate=0.01")
    whole = training.run(tmp_path / "whole", *settings)
    training.interrupt(tmp_path / "resumed", *settings)
    assert training.run(tmp_path / "resumed", *settings).digest == whole.digest
    tuned, plain = weights_of(whole.path), weights_of(training.run(tmp_path / "plain").path)
    assert {name: weight.shape for name, weight in tuned.items()} == {n: weight.shape for n, weight in plain.items()}
    first = weights_of(training.recipe.parent / "model")
    words, query = "embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(tuned[f"bert.{words}"], first[words])
    assert not torch.equal(tuned[f"bert.{query}"], first[query])
