"""What schemathesis has to know that no schema says: of media types that are not JSON, how a value is written, and how
an answer is read; and that objects in a list are rows of one table.

A row of CSV is an object with a text, an item of JSON lines a line, as the description at ``/docs.json`` has it. A
value that cannot be written as its type is sent as JSON, which is then a body of another form.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import schemathesis

_LINES = ("application/x-ndjson", "application/jsonlines")


@schemathesis.serializer("text/csv")
def write_csv(_: Any, value: Any) -> bytes:
    """One column under its name, or two."""
    names = sorted(value[0]) if isinstance(value, list) and value and isinstance(value[0], dict) else []
    if names not in (["text"], ["text", "text_pair"]) or any(
        not isinstance(row, dict) or sorted(row) != names or not all(isinstance(row[name], str) for name in names)
        for row in value
    ):
        return json.dumps(value).encode()
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in value)
    return sink.getvalue().encode()


@schemathesis.serializer(*_LINES)
def write_lines(_: Any, value: Any) -> bytes:
    """An item a line; what is no list, behind an empty line, which there must not be."""
    if not isinstance(value, list):
        return b"\n" + json.dumps(value).encode()
    return b"".join(json.dumps(item).encode() + b"\n" for item in value)


@schemathesis.deserializer("text/csv")
def read_csv(_: Any, response: Any) -> Any:
    """The rows, with their scores as numbers; or vectors, whose columns are numbered."""
    rows = list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))
    return [row | {"score": float(row["score"])} if "score" in row else [*map(float, row.values())] for row in rows]


@schemathesis.deserializer(*_LINES)
def read_lines(_: Any, response: Any) -> Any:
    """The lines."""
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def filter_body(_: Any, body: Any) -> bool:
    """Leaves out tables whose rows, objects of one key, have different ones: they are refused."""
    tables = [value for value in body.values() if isinstance(value, list)] if isinstance(body, dict) else []
    return all(
        len({key for row in table if isinstance(row, dict) and len(row) == 1 for key in row}) <= 1 for table in tables
    )
