"""A recipe's file with other values in it, and everything else as it was: comments, order, quotes.

A value is replaced where it stands; a key that the file leaves out is added at the end of its section. This needs no
YAML library that keeps comments, only the places that PyYAML gives every value. What comes out is read again and
compared; where anchors or unusual layouts defeat it, the document is written anew, without its comments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from ftdeploy.tune.space import as_yaml


def rewrite(text: str, values: Sequence[tuple[str, Any]], expected: Any) -> tuple[str, bool]:
    """A YAML document with other values.

    Args:
        text: the document, a mapping of sections.
        values: (key as ``train.learning_rate``, value), in the order in which they are laid over the document.
        expected: the data that must come out.

    Returns:
        The new text, and whether comments and layout were kept.
    """
    changed = text
    for key, value in values:
        changed = _put(changed, key.split("."), value)
    try:
        if yaml.safe_load(changed) == expected:
            return changed, True
    except (yaml.YAMLError, ValueError):
        pass
    return yaml.safe_dump(expected, sort_keys=False, allow_unicode=True), False


def _put(text: str, key: Sequence[str], value: Any) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    here: Any = root
    for depth, part in enumerate(key):
        entry = _entry(here, part)
        if entry is None:
            return _add(text, here, part, _nested(key[depth + 1 :], value), below=depth > 0)
        if depth == len(key) - 1:
            return _replace(text, *entry, value)
        if not isinstance(entry[1], yaml.MappingNode):  # null: a section that is switched off
            return _replace(text, *entry, _nested(key[depth + 1 :], value))
        here = entry[1]
    return text


def _entry(node: yaml.CollectionNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((entry for entry in node.value if entry[0].value == name), None)


def _nested(rest: Sequence[str], value: Any) -> Any:
    for part in reversed(rest):
        value = {part: value}
    return value


def _replace(text: str, key: yaml.Node, old: yaml.Node, value: Any) -> str:
    shown = as_yaml(value)
    start, end = old.start_mark.index, old.end_mark.index
    if isinstance(old, yaml.CollectionNode) and not old.flow_style:
        # A block: the value moves up behind the key, and the lines of the block go.
        behind = text.index(":", key.end_mark.index) + 1
        first = text.rindex("\n", 0, start) if "\n" in text[behind:start] else start
        return f"{text[:behind]} {shown}{text[behind:first]}{text[_line_end(text, old) :]}"
    removed = text[start:end]
    kept = removed[len(removed.rstrip()) :]  # a folded text ends on the next line
    space = "" if text[start - 1].isspace() else " "
    return f"{text[:start]}{space}{shown}{kept}{text[end:]}"


def _add(text: str, section: yaml.CollectionNode, name: str, value: Any, *, below: bool) -> str:
    if section.flow_style:
        start = section.start_mark.index + 1
        comma = ", " if section.value else ""
        return f"{text[:start]}{as_yaml(name)}: {as_yaml(value)}{comma}{text[start:]}"
    indent = " " * (section.value[0][0].start_mark.column if below else 0)
    end = _line_end(text, section)
    return f"{text[:end]}\n{indent}{as_yaml(name)}: {as_yaml(value)}{text[end:] or chr(10)}"


def _line_end(text: str, node: yaml.Node) -> int:
    """Where the line ends on which the last value of a block stands."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    content = len(text[: node.end_mark.index].rstrip())
    end = text.find("\n", content)
    return len(text) if end < 0 else end
