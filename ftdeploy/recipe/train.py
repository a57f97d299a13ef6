"""The checkpoint to fine-tune, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftdeploy.document import Section
from ftdeploy.origin import Origin


class ModelSettings(Origin):
    """The checkpoint to fine-tune: a folder with config.json, tokenizer.json and model.safetensors."""

    max_length: int = Field(default=128, ge=8, le=8192)
    """Longest input in tokens; the same in training, in the suite and in the bundle. Longer texts are cut, and the
    answer says so."""


class EarlyStopping(Section):
    """Stop when the validation metric no longer gets better; the best weights are restored."""

    patience: int = Field(default=2, ge=1)
    """Evaluations without improvement before stopping."""
    min_delta: float = Field(default=0.0, ge=0)
    """What counts as improvement, in units of the metric."""


class TrainSettings(Section):
    """Fine-tuning with transformers' Trainer."""

    epochs: int = Field(default=3, ge=1, le=1000)
    """Passes over the training rows."""
    learning_rate: float = Field(default=5e-5, gt=0, lt=1)
    """Peak learning rate of AdamW."""
    layerwise_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer's learning rate is this factor times that of the layer above (Howard & Ruder 2018); 1 is off."""
    batch_size: int = Field(default=32, ge=1)
    """Rows in a step."""
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    """How the learning rate falls (the names of transformers' SchedulerType)."""
    warmup: float = Field(default=0.06, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decoupled weight decay; biases and layer norms are left out."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target spread over all labels (Szegedy et al. 2016)."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` takes bf16 autocast where the processor has it and a short measurement finds it faster."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """Null trains all epochs and keeps the last weights."""
