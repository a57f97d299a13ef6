"""The checkpoint to fine-tune, and how."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ftdeploy.document import Section
from ftdeploy.origin import Origin
from ftdeploy.recipe.objective import ClassWeights, Ema, Lora, Teacher, senseless


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
    class_weights: ClassWeights = "none"
    """Weights of the rows by their label. `balanced`: inversely to its frequency (as in scikit-learn);
    `effective_number`: to the effective number of its rows (Cui et al. 2019); or `{label: weight}`, 1 for others."""
    effective_number_beta: float = Field(default=0.999, gt=0, lt=1)
    """With `effective_number`: rows of one label count ever less, up to 1 / (1 - beta) of them."""
    focal_gamma: float = Field(default=0.0, ge=0, le=10)
    """Focal loss (Lin et al. 2017): rows that are answered well already count less, by (1 - p)^gamma; 0 is off."""
    r_drop: float = Field(default=0.0, ge=0)
    """R-Drop (Liang et al. 2021): two passes with different dropout, whose answers are to agree; the weight of their
    divergence. About doubles the time of a step; 0 is off."""
    mixout: float = Field(default=0.0, ge=0, lt=1)
    """Mixout (Lee et al. 2020): in each step this share of the layers' weights is that of the checkpoint; 0 is off."""
    reinitialize_layers: int = Field(default=0, ge=0)
    """This many of the top layers, and the pooler, begin anew (Zhang et al. 2021): they are specific to what the
    checkpoint was trained on before."""
    lora: Lora | None = None
    """Low-rank adaptation; wants the extra `lora`. Null trains the weights themselves."""
    ema: Ema | None = None
    """Exponential moving average of the weights; null is off."""
    average_last: int = Field(default=0, ge=0, le=100)
    """Mean of the weights at the last so many evaluations (stochastic weight averaging: Izmailov et al. 2018; of the
    latest: Kaddour 2022). It is what is evaluated, kept as the best and saved; 0 and 1 are off."""
    teacher: Teacher | None = None
    """Knowledge distillation; null is off."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` takes bf16 autocast where the processor has it and a short measurement finds it faster."""
    early_stopping: EarlyStopping | None = EarlyStopping()
    """Null trains all epochs and keeps the last weights."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        found = senseless(self)
        if found:
            raise ValueError("; ".join(found))
        return self
