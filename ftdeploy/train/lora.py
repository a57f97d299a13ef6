"""Low-rank adaptation through peft, put into the network itself: the Trainer sees an ordinary network, whose
checkpoints hold everything, and after the merge it is the plain one again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import ConfigError, DependencyError
from ftdeploy.train.optimizer import depth_of

if TYPE_CHECKING:
    from peft import LoraModel
    from transformers import PreTrainedModel

    from ftdeploy.recipe.objective import Lora


def add_lora(network: PreTrainedModel, settings: Lora) -> LoraModel:
    """Put adapters beside the matrices of the encoder's layers (Hu et al. 2022), in place.

    They and what stands above the layers (head, pooler) can be trained afterwards, all else cannot. At first the
    network answers as before.

    Returns:
        What `merge_lora` wants.

    Raises:
        DependencyError: peft is not installed.
        ConfigError: a target module that the network does not have.
    """
    try:
        from peft import LoraConfig, LoraModel
        from peft.tuners.lora import Linear as LoraLinear
    except ImportError as error:
        raise DependencyError(
            f"train.lora wants peft: {error}",
            cause="ftdeploy was installed without the extra `lora`",
            fix="pip install 'ftdeploy[lora]'",
        ) from error
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    layers = int(network.config.num_hidden_layers)
    matrices = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, Linear | Conv1D)
        and 1 <= depth_of(f"{name}.", base=network.base_model_prefix, layers=layers) <= layers
    }
    wanted = tuple(matrices) if settings.target_modules == "auto" else settings.target_modules
    missing = [name for name in wanted if not any(f".{m}".endswith(f".{name}") for m in matrices)]
    if missing:
        known = sorted({name.rpartition(".")[2] for name in matrices})
        raise ConfigError(
            f"train.lora.target_modules names {missing[0]!r}, and no matrix of the encoder's layers ends in it",
            cause="architectures name their matrices differently",
            fix=f"choose from {', '.join(known)}, or take `auto`",
        )
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=[name for name in matrices if any(f".{name}".endswith(f".{w}") for w in wanted)],
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in matrices.values()),  # GPT-2's stand the other way
    )
    # Said outright: peft would else ask every quantization library that is installed, and importing Neural Compressor
    # takes seconds and warns (peft's documentation, "Experimental support for dynamic dispatch of custom modules").
    classes: dict[Any, Any] = {Linear: LoraLinear, Conv1D: partial(LoraLinear, is_target_conv_1d_layer=True)}
    config._register_custom_module(classes)  # noqa: SLF001  # peft documents it under this name
    tuner = LoraModel(network, {"default": config}, "default")
    for name, parameter in network.named_parameters():
        if depth_of(name, base=network.base_model_prefix, layers=layers) == 0:
            parameter.requires_grad = True
    return tuner


def merge_lora(tuner: LoraModel) -> None:
    """Add the adapters' products to the matrices that they stand beside, and take them out, in place."""
    network = tuner.merge_and_unload()
    for parameter in network.parameters():
        parameter.requires_grad = True
