"""The recipe's ``compress``: a measured search over pruning and quantization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ftdeploy.document import Section
from ftdeploy.suite import known_metric

MetricName = Annotated[str, AfterValidator(known_metric)]

#: What a search may try. The quantizers are those of ``ftdeploy.compress.tools.quantizers``; the others are families.
CandidateName = Literal[
    "fp32",
    "first-token",
    "students",
    "vocabulary",
    "mixed",
    "sessions",
    "inc-dynamic",
    "inc-static-minmax",
    "inc-static-percentile",
    "inc-static-entropy",
    "inc-static-qoperator",
    "inc-smooth",
    "inc-rtn-int4",
    "inc-rtn-int8",
    "inc-gptq-int4",
    "inc-gptq-int8",
    "inc-awq-int4",
    "inc-awq-int8",
    "inc-tuned",
    "onnx-nc-dynamic",
    "onnx-nc-static-minmax",
    "onnx-nc-static-percentile",
    "onnx-nc-static-entropy",
    "onnx-nc-static-qoperator",
    "onnx-nc-smooth",
    "onnx-nc-rtn-int4",
    "onnx-nc-gptq-int4",
    "onnx-nc-awq-int4",
    "ort-dynamic",
    "ort-dynamic-embeddings",
    "calibrated",
    "calibrated-embeddings",
    "calibrated-4bit",
    "calibrated-rows",
    "calibrated-rows-embeddings",
    "calibrated-rows-4bit",
    "ort-static-minmax",
    "ort-static-percentile",
    "ort-static-entropy",
    "ort-static-qoperator",
    "ort-int8",
    "ort-int4",
    "optimum-dynamic",
    "optimum-fused",
    "ort-fp16",
]


class Goal(Section):
    """What is best, as a weighted sum: of the logarithms of the ratios to fp32, so that twice as fast counts the same
    from wherever it starts."""

    throughput: float = Field(default=1.0, ge=0)
    """Weight of the throughput, batched as it is served."""
    latency: float = Field(default=0.0, ge=0)
    """Weight of the latency of one text of median length."""
    size: float = Field(default=0.0, ge=0)
    """Weight of the bytes on disk."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.throughput or self.latency or self.size):
            raise ValueError("all weights are zero: nothing would be better than anything")
        return self


class Sparsity(Section):
    """Weights that become zero while a student learns, by Neural Compressor. ONNX Runtime on a CPU multiplies by zero
    as by any number: this makes nothing faster there, and a file smaller only where it is compressed."""

    pattern: Literal["1x1", "4x1", "2:4"] = "1x1"
    """Which weights go together: any one, four neighbouring outputs, or two of any four neighbouring inputs."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the encoder's weights that are zero in the end; at most 0.5 for `2:4`."""

    @model_validator(mode="after")
    def _two_of_four(self) -> Self:
        if self.pattern == "2:4" and self.share > 0.5:  # noqa: PLR2004 - two of four
            raise ValueError("of 2:4, share is at most 0.5: two of any four weights")
        return self


class Shape(Section):
    """A student: the fine-tuned model with fewer layers, a narrower feed-forward part, or fewer attention heads,
    physically smaller; or one that goes on with fewer tokens. Shares are of the fine-tuned model's, rounded to what is
    possible."""

    layers: float = Field(default=1.0, gt=0, le=1)
    """Share of the encoder's layers; those that stay are spread evenly, the first among them."""
    ffn: float = Field(default=1.0, gt=0, le=1)
    """Share of the feed-forward channels of each layer."""
    heads: float = Field(default=1.0, gt=0, le=1)
    """Share of the attention heads of each layer."""
    tokens: float = Field(default=1.0, gt=0, le=1)
    """Share of a text's tokens that the middle layer and those after it compute: the ones that the first token looks at
    most. For classifiers that read the first token, of architectures like BERT's with three layers and more."""
    pruning: Literal["reconstruction", "neural-compressor"] = "reconstruction"
    """Who decides which channels and heads go. `reconstruction`: at once, by how well the others can make up for them,
    by least squares. `neural-compressor`: during the first half of the teaching, by Neural Compressor's structured
    pruning (weight times gradient), and cut out at its end."""
    sparsity: Sparsity | None = None
    """Zeros among the weights that stay; none without it."""

    @model_validator(mode="after")
    def _all_tokens(self) -> Self:
        if self.tokens < 1 and self.pruning == "neural-compressor":
            raise ValueError("with pruning: neural-compressor, tokens must be 1: its pruners know BERT's own layers")
        return self


class Distillation(Section):
    """How students learn from the fine-tuned model what pruning took (Hinton et al. 2015; Sun et al. 2019)."""

    epochs: int | None = Field(default=None, ge=1)
    """Passes over the rows; null takes what fits the search's time."""
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    """Peak of AdamW. A pruned model begins close to its teacher: a high rate leads away from it."""
    batch_size: int = Field(default=32, ge=1)
    """Rows in a step, of alike length."""
    temperature: float = Field(default=2.0, gt=0)
    """The logits of both are divided by this."""
    hard: float = Field(default=0.5, ge=0)
    """Weight of the labels' cross-entropy beside the teacher's answers."""
    hidden: float = Field(default=20.0, ge=0)
    """Weight of the hidden states' relative squared distance to the teacher's, over the layers. They say far more of
    each text than its answer does, so that a student learns from them what it is to answer to others."""
    augment: float = Field(default=3.0, ge=0, le=4)
    """For each training row, how many copies are learned beside it: with words masked or cut away, or joined of two
    rows; the teacher answers them, so no label can be wrong. Drawn anew in every epoch. Without `epochs` it may be more
    or less, so that whole epochs fill the search's time."""
    joined: float = Field(default=0.5, ge=0, le=1)
    """Of these copies, the share that is the beginning of a row and the end of another one. They teach most where there
    are few rows. Rows of two texts are not joined."""
    embedding_bits: Literal[4, 8] | None = 4
    """A student learns with its word embeddings rounded as they may be stored afterwards, so that storing them so costs
    it nothing; null leaves them as they are. They are the teacher's, and are not learned."""
    quantization_aware: bool = False
    """The last epoch trains with the rounding of dynamic int8 in place (Jacob et al. 2018), where quantizing costs more
    than `max_drop`."""


class CompressSettings(Section):
    """A measured search over pruning and quantization, on this machine, judged on validation rows."""

    objective: Literal["fastest", "smallest"] | Goal = "fastest"
    """What is best among the candidates that keep the metric: the fastest, the smallest, or weights."""
    max_drop: Mapping[MetricName, Annotated[float, Field(ge=0)]] = {"accuracy": 0.01}
    """Per metric, or metric of one label (`recall:LABEL`), how much worse than fp32 a candidate may score; judged on
    the validation rows by the gate, which also counts how sure they are."""
    candidates: tuple[CandidateName, ...] | Literal["auto"] = "auto"
    """Which quantizers and families to try. `first-token`: the last layer computes only what a classifier reads of it,
    the first token, for equal answers. `students`: fewer layers, heads, channels; distilled. `vocabulary`: without the
    tokens that the data does not need. `mixed`: the most sensitive layers stay in float. `sessions`: options of ONNX
    Runtime. `auto` tries what pays most often. fp32 is always measured beside them."""
    accept: Literal["likely", "proven"] = "likely"
    """`proven`: only what the gate passes may be shipped. `likely`: also what the validation rows are too few to
    decide on, when its measured drop is at most half of `max_drop`; the verdict then says so."""
    budget: float = Field(default=3.0, gt=0)
    """Time of the whole search, as a multiple of what the fine-tuning took. What is cheap is tried in any case."""
    budget_minutes: float | None = Field(default=None, gt=0)
    """Time of the whole search in minutes, instead of `budget`."""
    students: tuple[Shape, ...] | Literal["auto"] = "auto"
    """Shapes of the students, tried in this order while there is time."""
    cascade: float | None = Field(default=None, gt=0, lt=1)
    """Share of the texts, those that a student is least sure of, that go on to the whole model, quantized; both stand
    in one graph. A student then changes fewer answers, so that fewer rows prove that it keeps the metric, and none is
    shipped alone. null: students answer alone. For one label a row."""
    distillation: Distillation = Distillation()
    """How students learn."""
    int8: Literal["auto", "portable"] = "auto"
    """Int8 weights of the full range are multiplied right by x86 processors with VNNI only; others answer as well, but
    slower. `auto`: what this machine needs. `portable`: weights that are exact and fast on every processor, for a model
    that is made on one with VNNI and served on one without."""
    vocabulary_safety: int = Field(default=24_000, ge=0)
    """How many of the tokenizer's own most general tokens stay beside those that the training rows need; characters
    and special tokens always stay."""
    batch_tolerance: float = Field(default=0.05, gt=0, le=1)
    """Most that a label's probability may depend on the rows beside it; a candidate beyond is marked."""
    allow_slower: bool = False
    """Whether something slower than fp32 may be shipped, where the objective asks for it."""
    min_gain: float = Field(default=1.08, ge=1)
    """Candidates within this factor of the best at the objective count as equal there, and the better score decides;
    fp32 is left only for something at least this many times as good."""
    rows: int = Field(default=512, ge=32)
    """Rows in the timing batches."""
    rounds: int = Field(default=7, ge=3)
    """Alternating timing rounds. The best round of each candidate decides, medians are reported."""
