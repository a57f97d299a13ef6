"""What a torch encoder is made of: its layers, the feed-forward block and the heads of each. Everything that makes a
student smaller looks here, and reports read the shape that came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftdeploy.errors import CompressionError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

#: Tried, each in a test: what is taken away stays away when the checkpoint is saved and loaded again.
ENCODERS = frozenset({
    "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Block:
    """The linear layers of one encoder layer that can be made narrower.

    Attributes:
        name: of the encoder layer, as ``named_modules`` has it.
        attention_out: from the heads' outputs, side by side, to the hidden states.
        up: from the hidden states to the feed-forward channels.
        down: and back.
    """

    name: str
    attention_out: nn.Linear
    up: nn.Linear
    down: nn.Linear


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The size of an encoder.

    Attributes:
        layers: encoder layers.
        hidden: width of the hidden states.
        ffn: feed-forward channels of each layer.
        heads: attention heads of each layer.
        head_size: channels of a head.
        vocabulary: rows of the word embeddings.
        parameters: of the whole model.
    """

    layers: int
    hidden: int
    ffn: tuple[int, ...]
    heads: tuple[int, ...]
    head_size: int
    vocabulary: int
    parameters: int

    def __str__(self) -> str:
        ffn, heads = _alike(self.ffn), _alike(self.heads)
        size = f"{self.parameters / 1e6:.1f}M parameters"
        return f"{self.layers} layers of {self.hidden}, FFN {ffn}, heads {heads}, {self.vocabulary} tokens, {size}"


def read_shape(model: PreTrainedModel) -> Shape:
    """The shape of a model as it stands in memory, whatever its config says.

    Raises:
        CompressionError: see `blocks`.
    """
    found = blocks(model)
    size = head_size(model)
    return Shape(
        layers=len(found),
        hidden=int(model.config.hidden_size),
        ffn=tuple(block.up.out_features for block in found),
        heads=tuple(block.attention_out.in_features // size for block in found),
        head_size=size,
        vocabulary=int(model.get_input_embeddings().weight.shape[0]),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def head_size(model: PreTrainedModel) -> int:
    """Channels of an attention head; the config keeps the number of heads from before any was taken away."""
    return int(model.config.hidden_size) // int(model.config.num_attention_heads)


def encoder_layers(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """The encoder's layers, and their name as ``named_modules`` has it.

    Raises:
        CompressionError: the architecture is none of `ENCODERS`, or has no such list.
    """
    from torch import nn

    kind = str(model.config.model_type)
    if kind in ENCODERS:
        depth = int(model.config.num_hidden_layers)
        found = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, nn.ModuleList) and len(module) == depth
        ]
        if len(found) == 1:
            return found[0]
    raise unsupported(kind, "has no list of encoder layers that is known")


def blocks(model: PreTrainedModel) -> list[Block]:
    """The narrowable linear layers of each encoder layer, from the embeddings on.

    Raises:
        CompressionError: an architecture whose encoder layer does not end in attention output, up and down projection.
    """
    name, layers = encoder_layers(model)
    return [_block(f"{name}.{index}", layer, model) for index, layer in enumerate(layers)]


def unsupported(kind: str, what: str) -> CompressionError:
    """The error for an architecture that cannot be made smaller in the way that was asked for."""
    return CompressionError(
        f"a {kind!r} model {what}",
        cause="making a model smaller needs to know where its layers, channels and heads are",
        fix=f"leave this step out, or choose a checkpoint of one of {', '.join(sorted(ENCODERS))}",
    )


def set_ffn_width(config: Any, width: int) -> None:
    """Write the feed-forward width into a config, under the name that its architecture has for it."""
    setattr(config, "hidden_dim" if config.model_type == "distilbert" else "intermediate_size", width)


def _block(name: str, layer: nn.Module, model: PreTrainedModel) -> Block:
    from torch import nn

    linears = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    hidden = int(model.config.hidden_size)
    if len(linears) >= 3:  # noqa: PLR2004  # the three names on the next line
        out, up, down = linears[-3:]
        ends = {out.out_features, up.in_features, down.out_features}
        if ends == {hidden} and up.out_features == down.in_features:
            return Block(name=name, attention_out=out, up=up, down=down)
    raise unsupported(str(model.config.model_type), f"has another feed-forward block in {name}")


def _alike(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "/".join(str(value) for value in values)
