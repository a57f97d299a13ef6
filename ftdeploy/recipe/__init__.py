"""The recipe: parsed once at the door into frozen models, every error at once.

Each class is a section of the YAML file; the docstring under a field is its documentation, and is what
``ftdeploy schema`` prints. Paths are relative to the recipe's own folder.

One module a group of sections; everything is imported from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator

from ftdeploy.document import Section, parse, read_yaml
from ftdeploy.errors import did_you_mean
from ftdeploy.recipe.bias import Bias, term_column
from ftdeploy.recipe.clean import Clean
from ftdeploy.recipe.compress import CandidateName, CompressSettings, Distillation, Goal, Shape, Sparsity
from ftdeploy.recipe.data import RESERVED_COLUMNS, Columns, DataSettings, SourceEntry, TextSource
from ftdeploy.recipe.deploy import (
    ExportSettings,
    MonitorSettings,
    PackageSettings,
    ServeSettings,
    ThresholdSettings,
    TrafficSettings,
    ValidateSettings,
)
from ftdeploy.recipe.duplicates import Duplicates
from ftdeploy.recipe.fit import fitted
from ftdeploy.recipe.quality import Quality
from ftdeploy.recipe.split import Split
from ftdeploy.recipe.train import EarlyStopping, ModelSettings, TrainSettings
from ftdeploy.recipe.tune import CrossValidationSettings, Range, TuneSettings, unmeasured, wrong_keys
from ftdeploy.recipe.update import UpdateSettings
from ftdeploy.tasks import TASKS, known_task

__all__ = [
    "RESERVED_COLUMNS",
    "Bias",
    "CandidateName",
    "Clean",
    "Columns",
    "CompressSettings",
    "CrossValidationSettings",
    "DataSettings",
    "Device",
    "Distillation",
    "Duplicates",
    "EarlyStopping",
    "ExportSettings",
    "Goal",
    "ModelSettings",
    "MonitorSettings",
    "PackageSettings",
    "Quality",
    "Range",
    "Recipe",
    "ServeSettings",
    "Shape",
    "SourceEntry",
    "Sparsity",
    "Split",
    "TextSource",
    "ThresholdSettings",
    "TrafficSettings",
    "TrainSettings",
    "TuneSettings",
    "UpdateSettings",
    "ValidateSettings",
    "as_text",
    "dump_section",
    "load_recipe",
    "recipe_schema",
    "term_column",
    "wanted_layers",
]

Device = Literal["auto", "cpu", "cuda"]


TaskName = Annotated[str, AfterValidator(known_task), Field(json_schema_extra={"enum": sorted(TASKS)})]


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
    compress: CompressSettings = Field(default=CompressSettings(), validate_default=True)
    """The measured choice among compressed candidates."""
    validate_: ValidateSettings = Field(
        default=ValidateSettings(), validate_default=True, alias="validate"
    )  # pydantic owns the bare name
    """The evaluation suite that decides whether there is a bundle."""
    package: PackageSettings = PackageSettings()
    """What the bundle says about itself."""
    serve: ServeSettings = ServeSettings()
    """Limits of the HTTP service."""
    monitor: MonitorSettings = MonitorSettings()
    """What the served bundle remembers."""
    cross_validation: CrossValidationSettings = CrossValidationSettings()
    """How `ftdeploy cross-validate` divides the rows."""
    tune: TuneSettings | None = None
    """What `ftdeploy tune` searches."""
    update: UpdateSettings = UpdateSettings()
    """How `ftdeploy update` makes a challenger, and what it must show."""

    @field_validator("package")
    @classmethod
    def _of_known_labels(cls, value: PackageSettings, info: ValidationInfo) -> PackageSettings:
        """Before anything is trained, where the recipe lists the labels; else they are known when it is packaged."""
        data = info.data.get("data")
        known = data.labels if data is not None else ()
        for label in value.thresholds.scores if value.thresholds is not None and known else ():
            if label not in known:
                raise ValueError(f"thresholds.scores: {label!r} is not in data.labels; {did_you_mean(label, known)}")
        answered = (*known, *([value.thresholds.fallback] if value.thresholds is not None else []))
        for label in value.review.critical if value.review is not None and known else ():
            if label not in answered:
                raise ValueError(f"review.critical: {label!r} is not in data.labels; {did_you_mean(label, answered)}")
        return value

    @field_validator("data", "model", "train", "export", "compress", "validate_", "package", "update")
    @classmethod
    def _fits_the_task(cls, value: Section, info: ValidationInfo) -> Section:
        task = TASKS.get(info.data.get("task", ""))
        name = str(info.field_name).rstrip("_")
        data = value if isinstance(value, DataSettings) else info.data.get("data")
        return value if task is None else fitted(name, value, task, pairs=data is not None and data.pairs is not None)

    @field_validator("tune")
    @classmethod
    def _space_of_fitting_keys(cls, value: TuneSettings | None, info: ValidationInfo) -> TuneSettings | None:
        if value is None:
            return None
        task = TASKS.get(info.data.get("task", ""))
        wrong = wrong_keys(cls, value) + (unmeasured(value, task) if task is not None else [])
        if wrong:
            raise ValueError("; ".join(wrong))
        return value


def wanted_layers(recipe: Recipe) -> dict[str, int]:
    """Key -> how many layers the checkpoint must have for it."""
    return {
        "export.embedding_layer": recipe.export.embedding_layer,
        "train.freeze.layers": recipe.train.freeze.layers if recipe.train.freeze is not None else 0,
        "train.reinitialize_layers": recipe.train.reinitialize_layers,
    }


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
    its content (``outside`` of a stage). Likewise a field that is declared with ``exclude`` is left out.
    """
    if isinstance(section, BaseModel):
        fields = type(section).model_fields
        return {name: dump_section(getattr(section, name)) for name in fields if not fields[name].exclude}
    if isinstance(section, Mapping):
        return {str(key): dump_section(value) for key, value in section.items()}
    if isinstance(section, (tuple, list)):
        return [dump_section(item) for item in section]
    if isinstance(section, Path):
        return section.name
    return section


def as_text(recipe: Recipe) -> str:
    """A recipe as YAML that says the same in any folder: overrides applied, the suite in it.

    Args:
        recipe: read from an absolute path, so that every path in it is absolute.
    """
    import yaml

    return yaml.safe_dump(_given(recipe), sort_keys=False, allow_unicode=True, width=120)


def _given(value: object) -> Any:
    """What was given of a section, as plain data; defaults are left out."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        given = [name for name in fields if name in value.model_fields_set]
        return {fields[name].alias or name: _given(getattr(value, name)) for name in given}
    if isinstance(value, Mapping):
        return {str(key): _given(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_given(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe, with the documentation of every key."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "ftdeploy recipe"}
