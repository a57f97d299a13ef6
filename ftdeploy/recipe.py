"""The recipe: parsed once at the door into frozen models, every error at once.

Each class is a section of the YAML file; the docstring under a field is its documentation, and is what
``ftdeploy schema`` prints. Paths are relative to the recipe's own folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator, model_validator

from ftdeploy.batching import Batching
from ftdeploy.document import NestedError, Section, parse, read_yaml
from ftdeploy.errors import ConfigError, did_you_mean
from ftdeploy.origin import Origin, Source, relative_to_recipe
from ftdeploy.suite import Suite, known_metric, load_suite
from ftdeploy.tasks import TASKS

Fraction = Annotated[float, Field(gt=0, lt=1)]
_MOST_HELD_OUT = 0.9
RESERVED_COLUMNS = ("text", "label", "group", "id")

Device = Literal["auto", "cpu", "cuda"]
CandidateName = Literal[
    "fp32",
    "optimum-fused",
    "inc-dynamic",
    "inc-dynamic-no-skip-fusion",
    "optimum-dynamic",
    "optimum-dynamic-no-skip-fusion",
]


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"{name!r} is not a task; {did_you_mean(name, TASKS)}")
    return name


MetricName = Annotated[str, AfterValidator(known_metric)]
TaskName = Annotated[str, AfterValidator(_known_task), Field(json_schema_extra={"enum": sorted(TASKS)})]


class Columns(Section):
    """Which column plays which part."""

    text: str = "text"
    """The column with the text."""
    label: str = "label"
    """The column with the label."""
    group: str | None = None
    """Rows of one group (a patient, a document, a product) are never split across train, validation and test."""
    id: str | None = None
    """A row's own name, kept beside it in reports."""


class Split(Section):
    """How rows are divided. Deterministic given the recipe's seed; independent of the order of the rows."""

    test: Fraction = 0.2
    """Share of the rows for the final verdict; never seen by training or compression."""
    validation: Fraction = 0.1
    """Share of the rows for early stopping and for choosing among compressed candidates."""
    stratify: bool = True
    """Keep the share of every label the same in each split."""

    @model_validator(mode="after")
    def _leaves_train(self) -> Self:
        if self.test + self.validation >= _MOST_HELD_OUT:
            raise ValueError("test and validation together leave less than a tenth for training")
        return self


class Clean(Section):
    """What is tidied before splitting. Every rule counts what it changed."""

    normalize: bool = True
    """Unicode NFC, control characters removed, runs of white space folded into one space."""
    min_chars: int = Field(default=1, ge=1)
    """Shorter texts are set aside as rejected."""
    max_chars: int = Field(default=20_000, ge=1)
    """Longer texts are set aside as rejected. One of over a million characters is an error, unless this allows it."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Texts that are equal but for case and white space: `drop` keeps the first (conflicting labels: none of them);
    `keep` keeps all, always on one side of the split."""


class DataSettings(Section):
    """Where the rows come from and how they become splits."""

    source: Source
    """Where the rows come from."""
    columns: Columns = Columns()
    """Which column plays which part."""
    labels: tuple[str, ...] = ()
    """The labels, in order; empty takes those found, sorted. A row with another label is an error."""
    split: Split = Split()
    """How rows are divided."""
    clean: Clean = Clean()
    """What is tidied before splitting."""
    slices: tuple[str, ...] = ()
    """Columns to report metrics by, beside text length (which is always there)."""
    limit: int | None = Field(default=None, ge=10)
    """Take a seeded sample of this many rows: for trying things out."""

    @field_validator("labels")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in value if value.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice")
        if len(value) == 1:
            raise ValueError(f"{value[0]!r} is the only one; at least two are wanted, or none to take those found")
        return value

    @field_validator("slices")
    @classmethod
    def _named_once(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        columns = info.data.get("columns", Columns())
        taken = [name for name in value if name in RESERVED_COLUMNS and getattr(columns, name) != name]
        if taken:
            raise ValueError(f"{taken[0]!r} is a name that ftdeploy uses for a column of its own; rename the column")
        return value


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


class ExportSettings(Section):
    """ONNX export with Optimum, and the proof that it answers as the torch model does."""

    opset: int = Field(default=18, ge=14, le=21)
    """ONNX operator set."""
    embedding_layer: int = Field(default=2, ge=0)
    """The encoder layer whose mean-pooled output becomes the second output, for drift detection (0: embeddings)."""
    max_logit_difference: float = Field(default=1e-3, gt=0)
    """Largest absolute difference between a torch and an ONNX logit that still counts as equal."""


class CompressSettings(Section):
    """A measured choice among compressed candidates, on this machine, on validation rows."""

    objective: Literal["fastest", "smallest"] = "fastest"
    """What is best among the candidates that keep the metric."""
    max_drop: Mapping[MetricName, Annotated[float, Field(ge=0, lt=1)]] = {"accuracy": 0.01}
    """Per metric, how much less than fp32 a candidate may score on the validation rows."""
    candidates: tuple[CandidateName, ...] | Literal["auto"] = "auto"
    """Which ones to try; `auto` tries all. fp32 is always measured beside them."""
    min_gain: float = Field(default=1.08, ge=1)
    """Candidates within this factor of the best at the objective count as equal there, and the better score decides;
    fp32 is left only for something at least this many times as good."""
    rows: int = Field(default=512, ge=32)
    """Rows in the timing batches."""
    rounds: int = Field(default=7, ge=3)
    """Alternating timing rounds. The best round of each candidate decides, medians are reported."""


class ValidateSettings(Section):
    """The evaluation suite that decides whether there is a bundle."""

    suite: Suite = Suite()
    """A path to a YAML file, or the suite itself."""

    @field_validator("suite", mode="before")
    @classmethod
    def _load(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            try:
                return load_suite(relative_to_recipe(Path(value), info))
            except ConfigError as error:
                raise NestedError(error) from error
        return value


class PackageSettings(Section):
    """What the bundle says about itself."""

    description: str = ""
    """One or two sentences for the model card."""
    licence: str = ""
    """Licence of data and checkpoint, for the model card."""
    intended_use: str = ""
    """Who should use the model for what, and who should not."""
    drift_rows: int = Field(default=2000, ge=50)
    """Most rows that the drift reference is computed from, at even distances from validation and test: on rows that it
    was trained on the model is surer than it will ever be in service."""


class ServeSettings(Section):
    """Limits of the HTTP service. Each can be changed for a running service by an environment variable
    `FTDEPLOY_<NAME>` (see README)."""

    max_body_bytes: int = Field(default=2_000_000, ge=1000)
    """A larger request body is refused with 413."""
    max_texts: int = Field(default=256, ge=1)
    """More texts in one request are refused with 413."""
    max_chars: int = Field(default=100_000, ge=1)
    """A longer text is refused with 413; tokens beyond the model's length are cut and reported."""
    max_queue: int = Field(default=1024, ge=1)
    """Texts that wait for the tokenizer or the model; more are refused with 429 and Retry-After."""
    max_requests: int = Field(default=512, ge=1)
    """Requests in flight, an eighth of them larger than 64 KiB, which bounds the memory that bodies hold; more are
    refused with 429 and Retry-After. There may be four times as many connections."""
    timeout_seconds: float = Field(default=30, gt=0)
    """A request that takes longer is answered with 503."""
    batch_tokens: int = Field(default=2048, ge=64)
    """Budget of padded tokens in one forward pass."""
    batch_rows: int = Field(default=64, ge=1)
    """Most texts in one forward pass."""
    threads: int = Field(default=0, ge=0)
    """Threads of ONNX Runtime over all lanes; 0 takes the processors this process may use."""
    lanes: int = Field(default=0, ge=0)
    """Forward passes at the same time, on one copy of the weights; 0 takes one for each thread, on a GPU one."""
    body_seconds: float = Field(default=10, gt=0)
    """A request whose headers, or whose body after them, have not arrived after so long is refused with 408."""
    drain_seconds: float = Field(default=0.5, ge=0)
    """After SIGTERM, how long requests that are on their way are still taken."""

    def batching(self) -> Batching:
        """How the service runs a model, for whoever measures as it is served."""
        return Batching(tokens=self.batch_tokens, rows=self.batch_rows, threads=self.threads, lanes=self.lanes)


class TrafficSettings(Section):
    """What the service records of its traffic. Never the text."""

    enabled: bool = True
    """Record at all."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """Share of the requests that is recorded."""
    segment_rows: int = Field(default=10_000, ge=1)
    """A segment is sealed after this many rows..."""
    segment_seconds: float = Field(default=3600, gt=0)
    """...or after this many seconds."""
    max_bytes: int = Field(default=200_000_000, ge=100_000)
    """The oldest sealed segments go when all together are larger."""


class MonitorSettings(Section):
    """What the served bundle remembers, for drift detection."""

    traffic: TrafficSettings = TrafficSettings()
    """What the service records of its traffic."""


class Recipe(Section):
    """One recipe in, one deployable bundle out."""

    version: Literal[1]
    """Format of this file."""
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    """Name of the bundle and of the model behind its HTTP service."""
    task: TaskName
    """What the model does."""
    seed: int = Field(default=13, ge=0, lt=2**31)
    """Decides splits, the new head's weights, the order of rows and every resampling."""
    device: Device = "auto"
    """Where training, measuring and validating run: CUDA where there is one, else the CPU; or forced. A served bundle
    chooses by itself; `FTDEPLOY_DEVICE` forces it."""
    data: DataSettings
    """Where the rows come from and how they become splits."""
    model: ModelSettings
    """The checkpoint to fine-tune."""
    train: TrainSettings = TrainSettings()
    """Fine-tuning."""
    export: ExportSettings = ExportSettings()
    """ONNX export and parity."""
    compress: CompressSettings = CompressSettings()
    """The measured choice among compressed candidates."""
    validate_: ValidateSettings = Field(default=ValidateSettings(), alias="validate")  # pydantic owns the bare name
    """The evaluation suite that decides whether there is a bundle."""
    package: PackageSettings = PackageSettings()
    """What the bundle says about itself."""
    serve: ServeSettings = ServeSettings()
    """Limits of the HTTP service."""
    monitor: MonitorSettings = MonitorSettings()
    """What the served bundle remembers."""


def load_recipe(path: Path, *, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: the YAML file.
        overrides: ``section.key=value`` settings laid over the file.

    Raises:
        ConfigError: every problem at once, each with its path, line and, for a misspelt key, a suggestion.
    """
    data, lines = read_yaml(path, overrides=overrides)
    return parse(Recipe, data, path=path, lines=lines)


def dump_section(section: object) -> Any:
    """A section (or a scalar of the recipe) as plain JSON data, defaults filled in; for manifests and keys.

    Of a path only its name is kept, so that a key does not hold somebody's home; what lies there is identified by
    its content (``outside`` of a stage).
    """
    if isinstance(section, BaseModel):
        return {name: dump_section(getattr(section, name)) for name in type(section).model_fields}
    if isinstance(section, Mapping):
        return {str(key): dump_section(value) for key, value in section.items()}
    if isinstance(section, (tuple, list)):
        return [dump_section(item) for item in section]
    if isinstance(section, Path):
        return section.name
    return section


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, with the documentation of every key."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "ftdeploy recipe"}
