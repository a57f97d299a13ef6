"""AdamW with a learning rate per layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import AdamW
    from transformers import PreTrainedModel

    from ftdeploy.recipe import TrainSettings

# encoder.layer.3., transformer.layer.3., h.3., layers.3., block.3.: how architectures number their layers.
_LAYER = re.compile(r"\.(?:layer|layers|h|block|blocks)\.(\d+)\.")
# wte and wpe are GPT-2's, shared is T5's.
_EMBEDDINGS = re.compile(r"embed|\.w[tp]e\.|\.shared\.")


def depth_of(name: str, *, base: str, layers: int) -> int:
    """How far a parameter is from the output: 0 the head, 1 the top layer, ``layers`` the bottom, then embeddings.

    Args:
        name: of the parameter.
        base: the prefix of the encoder's parameters; others belong to the head.
        layers: how many layers there are.
    """
    found = _LAYER.search(name)
    if found:
        return max(1, layers - int(found.group(1)))
    if not name.startswith(base + ".") or ".pooler." in name:
        return 0
    return layers + 1 if _EMBEDDINGS.search(name) else 0


def build_optimizer(network: PreTrainedModel, settings: TrainSettings) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019); each layer's rate is ``layerwise_decay`` times that of the layer above.

    Discriminative fine-tuning as in Howard & Ruder 2018, section 3.2. Biases and norms have no weight decay.
    """
    import torch

    layers = int(getattr(network.config, "num_hidden_layers", 0))
    groups: dict[tuple[int, bool], list[Any]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            depth = depth_of(name, base=network.base_model_prefix, layers=layers)
            groups.setdefault((depth, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": settings.learning_rate * settings.layerwise_decay**depth,
                "weight_decay": settings.weight_decay if decays else 0.0,
            }
            for (depth, decays), parameters in sorted(groups.items(), key=lambda group: group[0])
        ],
        lr=settings.learning_rate,
    )
