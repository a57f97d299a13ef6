"""Quantization-aware training: the forward pass computes with int8 as ONNX Runtime's dynamic quantization will.

Inside ``with fake_quantized(model):`` every linear layer multiplies weights of 255 levels (int8, symmetric, a scale an
output channel; 129 levels where they shall need no VNNI) with activations of 256 levels (uint8, one scale for the whole
tensor, minimum and maximum of the batch with 0 among them: the ONNX operator DynamicQuantizeLinear), and embeddings are
read from a table of 255 levels with one scale. Gradients pass straight through the rounding (Jacob et al. 2018,
https://arxiv.org/abs/1712.05877; Bengio et al. 2013, https://arxiv.org/abs/1308.3432). The weights themselves stay
float32: outside of it the model is a plain one, whose weights lie where quantizing them loses less.

Attention scores and sums stay float, as they do in the quantized graphs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Symmetric int8: -128 is never used, so that zero is zero.
_LEVEL = 127
_ACTIVATION_LEVELS = 255


@contextmanager
def fake_quantized(model: torch.nn.Module, *, activations: bool = True, level: int = _LEVEL) -> Iterator[None]:
    """Let the linear layers and embeddings of this model compute as int8 would; other models are left alone.

    Works in training and evaluation, on CPU and GPU, and under bf16 autocast (the levels are computed in float32).
    The weights' levels follow every optimizer step. Weights that are replaced inside (pruning) are not followed: enter
    it anew. The backward pass may run inside or outside.

    Args:
        model: its ``nn.Linear`` and ``nn.Embedding`` weights are known by identity; nothing in it is changed.
        activations: whether the layers' inputs are quantized, too; without it, weights only, which is cheaper.
        level: the largest weight of a linear layer (see `ftdeploy.compress.tools.int8.levels`).
    """
    from torch import nn
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    linear = {id(module.weight): module.weight for module in model.modules() if isinstance(module, nn.Linear)}
    embedding = {id(module.weight): module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    last: list[torch.Tensor] = []  # query, key and value read one tensor: its levels are computed once

    def quantize_input(given: torch.Tensor) -> torch.Tensor:
        if not activations:
            return given
        if not (last and last[0] is given):
            last[:] = [given, fake_quantize_activation(given)]
        return last[1]

    class Quantized(TorchFunctionMode):
        def __torch_function__(self, function: Any, _types: Any, given: Any = (), named: Any = None) -> Any:
            named = named or {}
            if function is functional.linear and id(given[1]) in linear:
                source, weight, *rest = given
                return function(quantize_input(source), fake_quantize_weight(weight, level), *rest, **named)
            if function is functional.embedding and id(given[1]) in embedding:
                return fake_quantize_rows(function(*given, **named), given[1])
            return function(*given, **named)

    with Quantized():
        try:
            yield
        finally:
            last.clear()


def fake_quantize_weight(weight: torch.Tensor, level: int = _LEVEL) -> torch.Tensor:
    """The weight of a linear layer with as many levels an output channel on each side of 0.

    Args:
        weight: float, (outputs, inputs).
        level: the largest one.
    """
    import torch

    weight = weight.float()
    scale = _symmetric_scale(weight.detach().abs().amax(1), level)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -level, level)


def fake_quantize_rows(rows: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Rows that were read from an embedding, with the levels that the whole table has: one scale, symmetric.

    Args:
        rows: float, (..., width).
        table: float, (rows, width); quantizing what was read of it costs less than quantizing it all.
    """
    import torch

    scale = _symmetric_scale(torch.stack(torch.aminmax(table.detach())).float().abs().amax(), _LEVEL)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_tensor_affine(rows.float(), scale, zero, -_LEVEL, _LEVEL)


def fake_quantize_activation(given: torch.Tensor) -> torch.Tensor:
    """A tensor with at most 256 levels, as the ONNX operator DynamicQuantizeLinear chooses them.

    https://onnx.ai/onnx/operators/onnx__DynamicQuantizeLinear.html: from the lowest to the highest value, 0 among them,
    rounded half to even.

    Args:
        given: float, any shape; one scale for all of it, padding included.
    """
    import torch

    given = given.float()
    low, high = torch.aminmax(given.detach())
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / _ACTIVATION_LEVELS
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = (-low / scale).round().clamp(0, _ACTIVATION_LEVELS).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(given, scale, zero, 0, _ACTIVATION_LEVELS)


def _symmetric_scale(largest: torch.Tensor, level: int) -> torch.Tensor:
    import torch

    scale = largest / level
    return torch.where(scale > 0, scale, torch.ones_like(scale))  # a channel of zeros stays one
