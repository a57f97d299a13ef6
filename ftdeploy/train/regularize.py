"""Holding on to the checkpoint, or letting go of its top: mixout and layers that begin anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftdeploy.errors import ConfigError
from ftdeploy.train.optimizer import depth_of, depths

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Weights = dict[str, "torch.Tensor"]


def layer_matrices(network: PreTrainedModel) -> Weights:
    """A copy of the matrices in the encoder's layers, by name: what mixout holds on to."""
    layers = int(network.config.num_hidden_layers)
    return {
        name: parameter.detach().clone()
        for name, parameter in network.named_parameters()
        if parameter.ndim > 1 and 1 <= depth_of(name, base=network.base_model_prefix, layers=layers) <= layers
    }


def mix_out(network: torch.nn.Module, kept: Weights, *, share: float) -> Weights:
    """The network's weights, with ``share`` of the numbers, drawn from torch's global generator, as they were kept.

    Mixout (Lee et al. 2020, equation 5) is dropout of what a weight has moved by: ``kept + dropout(weight - kept)``,
    so that its expectation is the weight. For ``torch.func.functional_call``.

    Args:
        network: on the device of ``kept``.
        kept: name -> weight, as `layer_matrices` gives it.
        share: in [0, 1).
    """
    from torch.nn.functional import dropout

    now = dict(network.named_parameters())
    return {name: weight + dropout(now[name] - weight, share) for name, weight in kept.items()}


def reinitialize_layers(network: PreTrainedModel, count: int) -> None:
    """Draw the weights of the top ``count`` layers and of the pooler anew, from torch's global generator, as the
    architecture draws them before pre-training (Zhang et al. 2021, section 4). 0 leaves everything as it is.

    Raises:
        ConfigError: there are fewer layers, or they cannot be told apart.
    """
    layers = int(network.config.num_hidden_layers)
    if count > layers:
        raise ConfigError(
            f"train.reinitialize_layers is {count}, and the checkpoint has {layers} layers",
            cause="the number was meant for a deeper checkpoint",
            fix=f"set at most {layers}; 1 or 2 are usual",
        )
    if not count:
        return
    if not set(range(1, layers + 1)) <= set(depths(network).values()):
        raise ConfigError(
            f"train.reinitialize_layers is {count}, and the network's top layers cannot be told from the others",
            cause="it shares the weights of one layer among all (as ALBERT does)",
            fix="leave train.reinitialize_layers out",
        )
    base = network.base_model_prefix
    for name, module in network.named_modules():
        top = 1 <= depth_of(f"{name}.", base=base, layers=layers) <= count
        if top or f"{name}.".startswith(f"{base}.pooler."):
            network._init_weights(module)  # noqa: SLF001  # transformers has no public name for it
