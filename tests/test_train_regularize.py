"""Mixout is what its paper says, layers begin anew from the top only, and both resume to the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import write_tiny_checkpoint
from encoders import make
from tiny_training import TinyTraining, make_tiny_training, weights_of

from ftdeploy.errors import ConfigError
from ftdeploy.train.regularize import layer_matrices, mix_out, reinitialize_layers


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> TinyTraining:
    return make_tiny_training(tmp_path_factory.mktemp("training"), rows=120)


@pytest.fixture
def network(tmp_path: Path) -> Any:
    from transformers import AutoModelForSequenceClassification

    write_tiny_checkpoint(tmp_path, layers=3)
    torch.manual_seed(3)
    return AutoModelForSequenceClassification.from_pretrained(tmp_path, local_files_only=True)


def test_mixout_holds_on_to_the_matrices_of_the_layers(network: Any) -> None:
    """Not to embeddings, pooler and head, nor to biases and norms."""
    kept = layer_matrices(network)
    assert len(kept) == 3 * 6  # query, key, value, output, and the two of the feed-forward part
    assert all(".encoder.layer." in name and name.endswith(".weight") for name in kept)


def test_mixed_weights_are_either_the_kept_or_beyond_the_present_ones(network: Any) -> None:
    """Equation 5 of the paper, ((1 - m) w + m u - p u) / (1 - p): where the mask m is 1 the weight is u, else
    u + (w - u) / (1 - p); so that the mean is w."""
    kept = layer_matrices(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.25)
    share, drawn = 0.3, []
    for seed in range(3):
        torch.manual_seed(seed)
        for name, mixed in mix_out(network, kept, share=share).items():
            present = dict(network.named_parameters())[name]
            mask = torch.isclose(mixed, kept[name], rtol=0, atol=1e-4)
            expected = ((1 - mask.float()) * present + mask.float() * kept[name] - share * kept[name]) / (1 - share)
            torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-5)
            drawn.append(mask.flatten())
    taken = torch.cat(drawn).float()
    assert float(taken.mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / len(taken)) ** 0.5)


def test_gradients_reach_the_weights_through_mixout(network: Any) -> None:
    """None where the kept weight stood, 1 / (1 - p) where not; and the network's own weights are as before."""
    kept = layer_matrices(network)
    name = next(iter(kept))
    weight = dict(network.named_parameters())[name]
    before = weight.detach().clone()
    torch.manual_seed(1)
    mix_out(network, kept, share=0.5)[name].sum().backward()  # type: ignore[no-untyped-call]
    assert set(weight.grad.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(weight, before)


def test_layers_begin_anew_from_the_top(network: Any) -> None:
    """The top layers and the pooler are drawn anew, as the architecture draws them; all below, and the head, stays."""
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    reinitialize_layers(network, 0)
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5)  # else a bias of 0 would begin anew as 0
    reinitialize_layers(network, 2)
    anew = {n for n, parameter in network.named_parameters() if not torch.equal(parameter, before[n] + 0.5)}
    assert anew == {
        n for n in before if n.startswith(("bert.encoder.layer.1.", "bert.encoder.layer.2.", "bert.pooler."))
    }
    for name, parameter in network.named_parameters():
        if name in anew and parameter.ndim > 1:
            assert float(parameter.detach().std()) == pytest.approx(network.config.initializer_range, rel=0.15)


def test_more_layers_than_there_are_is_told(network: Any) -> None:
    """With the number that the checkpoint has."""
    with pytest.raises(ConfigError, match="has 3 layers"):
        reinitialize_layers(network, 4)


def test_one_layer_that_stands_for_all_has_no_top() -> None:
    """Beginning anew it would be all of the checkpoint, and nothing of it was done."""
    with pytest.raises(ConfigError, match="top layers cannot be told from the others"):
        reinitialize_layers(make("albert"), 1)


@pytest.mark.parametrize("setting", ["mixout=0.4", "reinitialize_layers=1", "r_drop=1"])
def test_a_resumed_training_ends_in_the_same_weights(training: TinyTraining, tmp_path: Path, setting: str) -> None:
    """What is drawn at random is drawn alike; and the setting does something."""
    whole = training.run(tmp_path / "whole", f"train.{setting}")
    training.interrupt(tmp_path / "resumed", f"train.{setting}")
    assert training.run(tmp_path / "resumed", f"train.{setting}").digest == whole.digest
    plain = weights_of(training.run(tmp_path / "plain").path)
    assert any(not torch.equal(weight, plain[name]) for name, weight in weights_of(whole.path).items())
