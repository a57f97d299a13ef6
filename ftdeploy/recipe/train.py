"""The checkpoint to fine-tune, and how."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ftdeploy.document import Section
from ftdeploy.errors import did_you_mean
from ftdeploy.metrics import LABEL_SET_METRICS, METRICS, NUMBER_METRICS, SPAN_METRICS
from ftdeploy.origin import Origin
from ftdeploy.recipe.objective import ClassWeights, Ema, Lora, Teacher, senseless
from ftdeploy.windows import Windows

Schedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
    "one_cycle", "reduce_lr_on_plateau",
]  # fmt: skip


class ModelSettings(Origin):
    """The checkpoint to fine-tune, or to take as it is: a folder with config.json, tokenizer.json and
    model.safetensors."""

    max_length: int = Field(default=128, ge=8, le=8192)
    """Longest input in tokens; the same in training, in the suite and in the bundle. Longer texts are cut, and the
    answer says so; or they are read in windows."""
    windows: Windows | None = None
    """How texts are read that are longer than `max_length`; null cuts them. Training learns each window as a row with
    the label of its text, weighted so that a text counts once; whatever is scored are whole texts."""
    pooling: Literal["auto", "mean", "cls"] = "auto"
    """Of `feature-extraction`, what one vector is made of the tokens': their `mean`, or the first one's (`cls`). `auto`
    is what the checkpoint says (`1_Pooling/config.json` of sentence-transformers), else `mean`."""

    @model_validator(mode="after")
    def _windows_move_on(self) -> Self:
        if self.windows is not None and self.windows.overlap > self.max_length // 2:
            raise ValueError(f"windows.overlap is at most half of max_length, {self.max_length // 2}")
        return self


class EarlyStopping(Section):
    """Stop when the validation metric no longer gets better; the best weights are restored."""

    metric: str | None = None
    """A metric of `ftdeploy.metrics`, or `loss`; null takes the task's first."""
    patience: int = Field(default=2, ge=1)
    """Evaluations without improvement before stopping."""
    min_delta: float = Field(default=0.0, ge=0)
    """What counts as improvement, in units of the metric."""

    @model_validator(mode="after")
    def _metric_is_known(self) -> Self:
        known = (*METRICS, *SPAN_METRICS, *LABEL_SET_METRICS, *NUMBER_METRICS, "loss")
        if self.metric is not None and self.metric not in known:
            raise ValueError(f"there is no metric {self.metric!r}; {did_you_mean(self.metric, known)}")
        return self


class ScheduleOptions(Section):
    """What some schedules want to know beside their name."""

    cycles: float = Field(default=0.5, gt=0)
    """`cosine`: waves after the warm-up, 0.5 falls once from the peak to nothing. `cosine_with_restarts` rounds it up:
    how often it falls."""
    power: float = Field(default=1.0, gt=0)
    """`polynomial`: the exponent; 1 is linear."""
    end_share: float = Field(default=0.002, ge=0, lt=1)
    """`polynomial`: where it ends, as a share of the peak."""
    timescale: int | None = Field(default=None, ge=1)
    """`inverse_sqrt`: steps until the rate begins to fall noticeably; null takes the steps of the warm-up."""
    factor: float = Field(default=0.5, gt=0, lt=1)
    """`reduce_lr_on_plateau`: what the rate is multiplied with."""
    patience: int = Field(default=1, ge=0)
    """`reduce_lr_on_plateau`: evaluations without improvement before that."""


class Freeze(Section):
    """Parts that are never trained: they stay as they are in the checkpoint. Frozen layers run without dropout."""

    layers: int = Field(default=0, ge=0)
    """How many layers, counted from the embeddings."""
    embeddings: bool = True
    """Whether the embeddings are frozen."""


class Unfreeze(Section):
    """Gradual unfreezing (Howard & Ruder 2018, section 3.3): the head is trained first, then from the top one group of
    layers after the other, the embeddings last. What is not trained yet runs without dropout."""

    every: Literal["epoch"] | int = "epoch"
    """When the next group joins: `epoch`, or a number of steps."""
    layers: int = Field(default=1, ge=1)
    """Layers in a group."""

    @model_validator(mode="after")
    def _every_is_positive(self) -> Self:
        if self.every != "epoch" and self.every < 1:
            raise ValueError("every is `epoch`, or a number of steps of at least 1")
        return self


class TrainSettings(Section):
    """Fine-tuning with transformers' Trainer."""

    epochs: int = Field(default=3, ge=1, le=1000)
    """Passes over the training rows."""
    learning_rate: float = Field(default=5e-5, gt=0, lt=1)
    """Peak learning rate of AdamW."""
    layerwise_decay: float = Field(default=1.0, gt=0, le=1)
    """Each layer's learning rate is this factor times that of the layer above (Howard & Ruder 2018); 1 is off."""
    head_learning_rate: float | None = Field(default=None, gt=0, lt=1)
    """Peak learning rate of the head; null is `learning_rate`."""
    embeddings_learning_rate: float | None = Field(default=None, gt=0, lt=1)
    """Peak learning rate of the embeddings; null is that of a layer below the lowest."""
    batch_size: int = Field(default=32, ge=1)
    """Rows in a batch, of alike length."""
    batch_tokens: int | None = Field(default=None, ge=8)
    """Padded tokens in a batch instead of a number of rows: short rows come in larger batches. A longer row is a batch
    of its own. How many steps there are then follows from the lengths. Null counts rows."""
    gradient_accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are added up for one step; each of their rows counts the same."""
    gradient_checkpointing: bool = False
    """Less memory for more time: what the layers computed is computed again in the backward pass (Chen et al. 2016)."""
    evaluate: Literal["epoch"] | int = "epoch"
    """When the validation rows are looked at, and a checkpoint to resume from is kept: `epoch`, or every so many
    steps and after the last."""
    schedule: Schedule = "linear"
    """How the learning rate falls (the names of transformers' SchedulerType, and `one_cycle`: Smith 2018).
    `reduce_lr_on_plateau` follows the metric of early stopping, or the task's first."""
    schedule_options: ScheduleOptions = ScheduleOptions()
    """Details of some schedules."""
    warmup: float = Field(default=0.06, ge=0)
    """The learning rate first rises to its peak: below 1 in this share of the steps, from 1 on in so many steps.
    `constant` and `reduce_lr_on_plateau` have no warm-up."""
    freeze: Freeze | None = None
    """Null trains all layers."""
    unfreeze: Unfreeze | None = None
    """Null trains all layers from the start."""
    activation_cache_bytes: int = Field(default=2_000_000_000, ge=0)
    """Outputs of frozen layers are computed once and kept on disk while training lasts, where that saves time and
    takes no more than this; 0 never."""
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
        if self.warmup > 1 and self.warmup % 1:
            found.append("warmup is a share below 1, or a whole number of steps")
        if self.evaluate != "epoch" and self.evaluate < 1:
            found.append("evaluate is `epoch`, or a number of steps of at least 1")
        if found:
            raise ValueError("; ".join(found))
        return self
