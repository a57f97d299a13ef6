"""Reading a YAML document into a frozen model, with every error at once, each with its path and line."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ftdeploy.errors import ConfigError, Problem, did_you_mean

#: Where each key stands; None for one that `--set` gave.
Lines = dict[tuple[str | int, ...], int | None]
M = TypeVar("M", bound="Section")

#: More keys than this are no recipe: aliases of aliases multiply.
_MOST_KEYS = 20_000
#: What PyYAML raises beside its own errors: for dates and numbers that are none (2020-99-99, `!!int x`), and for
#: thousands of open brackets.
_YAML_FAULTS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError)

#: A part of a dotted path: the place in a list, or a key.
_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class Section(BaseModel):
    """Base of every part of a recipe or a suite: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)


class MisfitError(ValueError):
    """Raised in a validator that compares several keys, with a problem for each; paths start where the validator is."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class NestedError(ValueError):
    """Raised in a validator when a document that a document names is wrong: its problems stand beside the others."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__(error.what)
        self.problems = error.problems


def read_yaml(path: Path, *, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], Lines]:
    """Parse a YAML file into plain data and the line of every key.

    Args:
        path: the file.
        overrides: ``a.b=value`` settings laid over the file; the value is read as YAML.

    Raises:
        ConfigError: no such file, not UTF-8, not YAML, a key that stands twice, or an override that is not
            ``a.b=value``.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read: {_unread(error)}",
            cause="the path is wrong, or the file is not a text file",
            fix="give the path of a YAML file; `ftdeploy init` writes one to start from",
        ) from error
    lines: Lines = {}
    problems: list[Problem] = []
    try:
        # The loader in Python: the one in C ends the whole process when brackets are nested deeply.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _collect_lines(node, (), lines, problems)
        data = yaml.safe_load(text)
    except _YAML_FAULTS as error:
        raise ConfigError(
            f"{path} is not valid YAML{_fault(error)}",
            cause="indentation, a missing colon, or a quote that is not closed",
            fix="look at that line; text with a colon or a # in it wants quotes",
        ) from error
    if not isinstance(data, dict):
        problems.append(Problem(path="(document)", message="a mapping of sections is expected", line=1))
        data = {}
    for setting in overrides:
        problems += _override(data, setting, lines)
    if problems:
        raise _config_error(path, problems)
    return data, lines


def parse(model: type[M], data: Mapping[str, Any], *, path: Path, lines: Lines, context: Any = None) -> M:
    """Validate plain data into ``model``.

    Args:
        model: a `Section`.
        data: what `read_yaml` returned.
        path: the file, for messages and for paths relative to it (validation context ``{"folder": ...}``).
        lines: line of each key.
        context: further validation context.

    Raises:
        ConfigError: every problem at once.
    """
    try:
        return model.model_validate(data, context={"folder": path.parent} | (context or {}))
    except ValidationError as error:
        found = [problem for item in error.errors() for problem in _problems(model, item, lines)]
        raise _config_error(path, found) from error


def refuse_misfits(problems: Sequence[Problem], *, path: Path, lines: Lines) -> None:
    """Refuse a document for what its models do not know to be wrong.

    Args:
        problems: with the document's paths, and without lines.
        path, lines: as for `parse`.

    Raises:
        ConfigError: there is any.
    """
    if problems:
        raise _config_error(path, [_placed(problem, (), lines) for problem in problems])


def _fault(error: Exception) -> str:
    """Where PyYAML stopped, why, and what it was in the middle of."""
    mark, start = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
    context = f", {getattr(error, 'context', None)} that begins on line {start.line + 1}" if start else ""
    return f"{where}: {reason}{context}"


def _unread(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return f"it is not UTF-8 text (line {line}, byte {error.start + 1})"
    return getattr(error, "strerror", None) or str(error)


def _config_error(path: Path, problems: Sequence[Problem]) -> ConfigError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return ConfigError(
        f"{path}: {count}",
        cause="keys or values that ftdeploy does not know or cannot use",
        fix="correct them; `ftdeploy schema` prints every key with its meaning",
        problems=sorted(problems, key=lambda p: (p.line or 0, p.path)),
    )


def _collect_lines(node: yaml.Node, path: tuple[str | int, ...], lines: Lines, problems: list[Problem]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if len(lines) > _MOST_KEYS:
        raise ValueError(f"more than {_MOST_KEYS} keys, or aliases that multiply")
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            here = (*path, str(key_node.value))
            line = key_node.start_mark.line + 1
            if here in lines:
                problems.append(
                    Problem(path=_dotted(here), message=f"stands twice, first on line {lines[here]}", line=line)
                )
            lines[here] = line
            _collect_lines(value, here, lines, problems)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _collect_lines(item, (*path, index), lines, problems)


def _override(data: dict[str, Any], setting: str, lines: Lines) -> list[Problem]:
    name, separator, value = setting.partition("=")
    if not separator or not name.strip():
        return [Problem(path=setting, message="--set wants section.key=value")]
    *parents, last = name.strip().split(".")
    here: Any = data
    for depth, parent in enumerate(parents):
        lines.setdefault(tuple(parents[: depth + 1]), None)
        if here.get(parent) is None:
            here[parent] = {}
        here = here[parent]
        if not isinstance(here, dict):
            return [Problem(path=name, message=f"--set goes through {parent!r}, which is not a section")]
    try:
        here[last] = yaml.safe_load(value)
        _forget_lines(lines, (*parents, last), value)
    except _YAML_FAULTS:
        return [Problem(path=name, message=f"--set value {value!r} is not valid YAML", hint="quote it")]
    return []


def _forget_lines(lines: Lines, path: tuple[str, ...], value: str) -> None:
    """What `--set` gave stands on no line of the file."""
    for inside in [place for place in lines if place[: len(path)] == path]:
        del lines[inside]
    given: Lines = {}
    node = yaml.compose(value, Loader=yaml.SafeLoader)
    if node is not None:
        _collect_lines(node, path, given, [])
    lines.update(dict.fromkeys((path, *given)))


def _dotted(location: Iterable[str | int]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _problems(model: type[BaseModel], item: Any, lines: Lines) -> list[Problem]:
    """One problem; or several, when a validator found them or the fault is a document that this one names."""
    nested = item.get("ctx", {}).get("error")
    if isinstance(nested, MisfitError):
        return [_placed(problem, _without_tags(item["loc"], lines), lines) for problem in nested.problems]
    problem = _problem(model, item, lines)
    if not isinstance(nested, NestedError) or not nested.problems:
        return [problem]
    file = str(nested).partition(":")[0]
    return [
        Problem(path=problem.path, line=problem.line, message=f"{file}: {inner.where}{inner.message}", hint=inner.hint)
        for inner in nested.problems
    ]


def _problem(model: type[BaseModel], item: Any, lines: Lines) -> Problem:
    stated = _without_tags(item["loc"], lines)
    location = stated
    # pydantic puts the names of validators and union members into the location; the file has no such keys.
    while location and location not in lines and location[:-1] in lines and item["type"] != "missing":
        location = location[:-1]
    line = _line(location, lines)
    hint = ""
    if item["type"] == "extra_forbidden":
        message = "unknown key"
        location = stated
        owners = _models_at(model, location[:-1])
        hint = did_you_mean(str(location[-1]), [key for owner in owners for key in _keys(owner)])
    elif item["type"] == "missing":
        location, message = stated, "is required"
    elif item["type"] == "union_tag_invalid":
        message = f"{item['ctx']['tag']!r} is not one of {item['ctx']['expected_tags']}"
        hint = did_you_mean(item["ctx"]["tag"], [tag.strip(" '") for tag in item["ctx"]["expected_tags"].split(",")])
    elif item["type"] == "literal_error":
        message = f"{reprlib.repr(item['input'])} is not one of {item['ctx']['expected']}"
        known = [part.strip(" '") for part in item["ctx"]["expected"].replace(" or ", ", ").split(",")]
        hint = did_you_mean(str(item["input"]), known) if isinstance(item["input"], str) else ""
    else:
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] != "value_error" and not isinstance(item["input"], Mapping):
            message += f", not {reprlib.repr(item['input'])}"
        last = item["loc"][-1] if item["loc"] else ""  # the whole document has no key
        given, listed = item["input"], isinstance(last, int) or last == "[key]"
        # Where a key has no value, null is no word that somebody meant.
        if item["type"] == "string_type" and (isinstance(given, (bool, int, float)) or (given is None and listed)):
            hint = "YAML reads yes, no, on, off, null, and digits, as no text: put it in quotes"
    if location in lines and lines[location] is None:
        message += " (given with --set)"
    return Problem(path=_dotted(location) or "(document)", message=message, line=line, hint=hint)


def _placed(problem: Problem, below: Sequence[str | int], lines: Lines) -> Problem:
    """A problem of the section at ``below``, with the document's path and its line."""
    inside = [int(index) if index else key for index, key in _PART.findall(problem.path)]
    location = (*below, *inside)
    line = _line(location, lines)
    given = " (given with --set)" if lines.get(location, 0) is None else ""
    return replace(problem, path=_dotted(location) or "(document)", message=problem.message + given, line=line)


def _line(location: tuple[str | int, ...], lines: Lines) -> int | None:
    """Where the innermost part of a location that is written down stands."""
    return next((lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in lines), None)


def _keys(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _without_tags(location: Sequence[str | int], lines: Lines) -> tuple[str | int, ...]:
    """The location without the tags that pydantic puts in front of what is inside a member of a tagged union."""
    kept: list[str | int] = []
    for index, part in enumerate(location):
        inside = location[index + 1 : index + 2]
        tag = kept and inside and isinstance(part, str) and (*kept, part) not in lines
        if not (tag and (isinstance(kept[-1], int) or (*kept, *inside) in lines)):
            kept.append(part)
    return tuple(kept)


def fields_at(model: type[BaseModel], location: Sequence[str]) -> list[Any]:
    """The fields (pydantic's FieldInfo) that a key can stand for; several below a union, none for an unknown key.

    Args:
        model: the document's.
        location: the parts of the key. A key below a mapping with free keys stands for the mapping's field.
    """
    owners = _models_at(model, location[:-1])
    found = [info for one in owners for name, info in one.model_fields.items() if location[-1] in (name, info.alias)]
    if found or owners or len(location) == 1:
        return found
    return [info for info in fields_at(model, location[:-1]) if _is_mapping(info.annotation)]


def keys_at(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The keys that may stand in the section at ``location``, as they are written."""
    return [key for owner in _models_at(model, location) for key in _keys(owner)]


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    direct = isinstance(origin, type) and issubclass(origin, Mapping)
    return direct or any(_is_mapping(arg) for arg in get_args(annotation))


def _models_at(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """The models that may own the keys at ``location`` (several for a union), found by walking the annotations."""
    here = [model]
    for part in location:
        if isinstance(part, int):
            continue
        infos = [info for one in here for name, info in one.model_fields.items() if part in (name, info.alias)]
        here = [found for info in infos for found in _models_in(info.annotation)]
    return here


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for arg in get_args(annotation) for found in _models_in(arg)]
