"""What training minimises, and what keeps it from fitting the rows too closely: parts of the recipe's ``train``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Discriminator, Field, FiniteFloat, Tag

from ftdeploy.document import Section
from ftdeploy.origin import Origin

if TYPE_CHECKING:
    from ftdeploy.recipe.train import TrainSettings

_Weight = Annotated[FiniteFloat, Field(gt=0)]

ClassWeights = Annotated[
    Annotated[Literal["none", "balanced", "effective_number"], Tag("rule")]
    | Annotated[dict[str, _Weight], Field(min_length=1), Tag("given")],
    Discriminator(lambda value: "given" if isinstance(value, Mapping) else "rule"),
]


class Lora(Section):
    """Low-rank adaptation (Hu et al. 2022) with the library peft: the checkpoint's weights stay as they are, and beside
    each matrix two thin ones are learned. Merged before anything is saved, so that later stages see a plain
    checkpoint. Wants a learning rate about ten times that of full fine-tuning."""

    rank: int = Field(default=8, ge=1, le=4096)
    """Width of the thin matrices."""
    alpha: int = Field(default=16, ge=1)
    """Their product is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the thin matrices."""
    target_modules: Literal["auto"] | tuple[str, ...] = "auto"
    """`auto`: every matrix in the encoder's layers; or the last parts of their names, as [query, value]."""


class Ema(Section):
    """Exponential moving average of the weights over the steps (Polyak & Juditsky 1992), its bias towards the first
    weights corrected as in Adam. It is what is evaluated, kept as the best and saved."""

    decay: float = Field(default=0.999, gt=0, lt=1)
    """What an earlier step counts against the next; the average reaches back about 1 / (1 - decay) steps."""


class Teacher(Origin):
    """Knowledge distillation (Hinton et al. 2015) from a bundle, or another folder with model.onnx and signature.json:
    its answers to the training rows are learned beside the labels. It must know the very labels of the data."""

    temperature: float = Field(default=2.0, gt=0)
    """The logits of both are divided by this."""
    alpha: float = Field(default=0.5, gt=0, le=1)
    """Share of the teacher's answers in the loss; the rest is that of the labels."""


def senseless(train: TrainSettings) -> list[str]:
    """What of a ``train`` section contradicts itself, or would be set to no effect.

    Args:
        train: parsed.
    """
    found = [
        f"lora and {name} exclude each other: with lora the layers' own weights do not move at all"
        for name in ("freeze", "unfreeze", "reinitialize_layers", "mixout")
        if train.lora is not None and getattr(train, name)
    ]
    if train.ema is not None and train.average_last:
        found.append("ema and average_last exclude each other: both say which weights are kept")
    if train.mixout and train.reinitialize_layers:
        found.append("mixout and reinitialize_layers exclude each other: mixout holds to weights that were thrown away")
    if train.mixout and train.gradient_checkpointing:
        found.append("mixout and gradient_checkpointing exclude each other: the second forward pass would be another")
    if train.teacher is not None and train.teacher.alpha == 1:
        hard = [name for name in ("focal_gamma", "label_smoothing") if getattr(train, name)]
        found += [f"{name} has no effect with teacher.alpha 1, which leaves the labels out" for name in hard]
    return found
