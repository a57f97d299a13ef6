"""A JSON Schema as a Markdown reference: every key with its values, its default and its meaning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_REFERENCE = "#/$defs/"
_BOUNDS = (
    ("minimum", "at least {}"), ("exclusiveMinimum", "more than {}"), ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"), ("minLength", "at least {} characters"), ("minItems", "at least {}"),
)  # fmt: skip
_LONG = 60


def as_markdown(schema: Mapping[str, Any]) -> str:
    """The reference: the document's own keys first, then each section where it is first named.

    Args:
        schema: of a model whose fields all have a description.
    """
    lines = [f"# {schema['title']}", "", _flowing(schema.get("description", "")), "", *_table(schema, schema)]
    for name, path in _sections(schema).items():
        section = schema["$defs"][name]
        lines += ["", f"## `{path}`", "", _flowing(section.get("description", "")), "", *_table(section, schema)]
    return "\n".join(lines) + "\n"


def _sections(schema: Mapping[str, Any]) -> dict[str, str]:
    """Name -> path of every section that can be reached, parents before children; each where it is met first."""
    found: dict[str, str] = {}

    def walk(part: Mapping[str, Any], path: str) -> None:
        for key, body in part.get("properties", {}).items():
            for name, inner in _named(body, f"{path}{key}"):
                if name not in found:
                    found[name] = inner
                    walk(schema["$defs"][name], f"{inner}.")

    walk(schema, "")
    return found


def _named(body: Any, path: str) -> Iterator[tuple[str, str]]:
    """(section, path) of what a key may hold; [] and {} stand for the items of a list and of a mapping."""
    if "$ref" in body:
        yield body["$ref"].removeprefix(_REFERENCE), path
    for word in ("anyOf", "oneOf", "allOf"):
        for choice in body.get(word, ()):
            yield from _named(choice, path)
    if isinstance(body.get("items"), Mapping):
        yield from _named(body["items"], f"{path}[]")
    if isinstance(body.get("additionalProperties"), Mapping):
        yield from _named(body["additionalProperties"], f"{path}{{}}")


def _table(section: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    needed = section.get("required", ())
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for key, body in section.get("properties", {}).items():
        default = "wanted" if key in needed else _default(body)
        # Where a key and the section behind it have the same words, the schema says them once.
        behind = schema["$defs"].get(body.get("$ref", "").removeprefix(_REFERENCE), {})
        meaning = _flowing(body.get("description") or behind["description"]).replace("|", "\\|")
        lines.append(f"| `{key}` | {_values(body)} | {default} | {meaning} |")
    return lines


def _default(body: Mapping[str, Any]) -> str:
    value = body.get("default")
    if value in ((), [], {}, ""):
        return "none"
    shown = json.dumps(value, ensure_ascii=False).strip('"')
    if isinstance(value, Mapping) and len(shown) > _LONG:
        return "as below"
    return f"`{shown}`"


def _values(body: Mapping[str, Any]) -> str:
    if "$ref" in body:
        return "section"
    if "const" in body or "enum" in body:
        return ", ".join(f"`{value}`" for value in body.get("enum", [body.get("const")]))
    for word in ("anyOf", "oneOf", "allOf"):
        if word in body:
            return " or ".join(dict.fromkeys(_values(choice) for choice in body[word]))
    return _of_type(body)


def _of_type(body: Mapping[str, Any]) -> str:
    kind = str(body.get("type", "any"))
    if kind == "array":
        return f"list of {_values(body.get('items') or {})}"
    if kind == "object":
        inner = body.get("additionalProperties")
        return f"name: {_values(inner)}" if isinstance(inner, Mapping) else "mapping"
    bounds = ", ".join(words.format(body[bound]) for bound, words in _BOUNDS if bound in body)
    return f"{kind}, {bounds}" if bounds else kind


def _flowing(text: str) -> str:
    return " ".join(text.split())
