"""``POST /invocations``: what SageMaker and MLflow send, in JSON, CSV or JSON lines.

====================  =================================================  =============================================
Content-Type          body                                               answer
====================  =================================================  =============================================
application/json      ``dataframe_split``, ``dataframe_records``,        ``{"predictions": [...]}``: for each text its
                      ``instances``, or a list of ``inputs`` (MLflow)    label and score
application/json      ``inputs`` a text, or with ``parameters`` beside   as `/predict`
                      it (SageMaker's container for Hugging Face)
text/csv              one column                                         CSV, columns ``label`` and ``score``
application/          a text, or an object with one key, a line          a line for each: label and score
jsonlines
====================  =================================================  =============================================

A model that reads two texts takes them as two columns, `text` and `text_pair` or as the training rows call them: lists
of two, objects of two keys, two cells.

``Accept`` may ask for another of the three. With ``top_k`` among ``params`` each text has a list of labels; CSV has
them as rows, with the place of the text in a column ``row``. Whether a CSV begins with a header is said by the media
type (``text/csv; header=present`` or ``absent``, RFC 4180); where it says nothing, the first line has to be one of
`HEADERS`, so that no text is ever taken for a header, and no header for a text.

Sources: MLflow, "Deploy MLflow Model as a Local Inference Server" and mlflow/pyfunc/scoring_server; TensorFlow Serving,
"RESTful API" (``instances`` and ``inputs``); SageMaker, "Use Your Own Inference Code with Hosting Services" and its
Hugging Face inference toolkit.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ftdeploy.errors import short
from ftdeploy.pairs import TEXT, TEXT_PAIR
from ftdeploy.serve.answers import Answers, Asked
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import (
    CHOICE,
    Choice,
    Names,
    check_keys,
    check_object,
    check_texts,
    flat_column,
    invalid,
    is_one_pair,
    kind_of,
    paired_rows,
    parse_json,
    read_choice,
    read_question,
)
from ftdeploy.serve.wire import Refusal, Reply, Scope, header, media_type
from ftdeploy.tasks import TASKS

JSON, CSV, LINES = "application/json", "text/csv", "application/jsonlines"
#: What a body may be, under the names that it goes by.
TYPES = {
    JSON: JSON,
    CSV: CSV,
    LINES: LINES,
    "application/jsonl": LINES,
    "application/x-jsonlines": LINES,
    "application/x-ndjson": LINES,
}
#: First lines of a CSV that are headers where the media type does not say.
HEADERS = ("text", "inputs")
_KINDS = frozenset(TYPES.values())
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_BEST = Choice(top_k=1)
_HF_KEYS = frozenset({"inputs", "parameters"})
_SPLIT_KEYS = ("columns", "data", "index")
_LINE_OF = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class Invocation:
    """Texts to answer with a record each.

    Attributes:
        texts: at least one.
        kind: of the answer, a value of `TYPES`.
        choice: of labels and scores.
        listed: ``top_k`` was asked for: a list of records for each text, which are rows in CSV.
        whole: never.
    """

    texts: list[str]
    kind: str
    choice: Choice = _BEST
    listed: bool = False
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """The answer in its media type."""
        task = TASKS[answers.signature.task]
        whole = not (task.one_label or task.number)  # there is no best one
        choice = replace(self.choice, top_k=None) if whole and not self.listed else self.choice
        labels = choice.of(answers)
        records: list[Any] = labels if self.listed or whole else [one[0] for one in labels]
        if self.kind == CSV:
            written = _vector_rows if task.vectors else _entity_rows if task.per_token else _label_rows
            written = _several_rows if task.multi_label or (self.listed and task.one_label) else written
            rows = written(labels)
            return Reply(_csv(rows), content_type=b"text/csv; charset=utf-8; header=present")
        if self.kind == LINES:
            body = b"".join(orjson.dumps(one, option=_LINE_OF) for one in records)
            return Reply(body, content_type=LINES.encode())
        return Reply(orjson.dumps({"predictions": records}, option=orjson.OPT_SERIALIZE_NUMPY))


def parse_invocations(body: bytes | bytearray, scope: Scope, limits: Limits, *, pairs: Names = None) -> Asked:
    """Read the body of ``POST /invocations``.

    Args:
        body: of the request.
        scope: of the request.
        limits: of the service.
        pairs: how the data calls the two texts of a row; None where the model reads single ones.

    Raises:
        Refusal: 400 not what its media type says; 406 no media type that is accepted can be given; 415 an unknown media
            type; 422 a wrong key, type or value; 413 too many texts, or one too long.
    """
    kind, parameters = _body_kind(scope)
    accepted = _accepted(scope, kind)
    if kind == JSON:
        return _read_json(parse_json(body), accepted, limits, pairs)
    rows = _read_csv(body, parameters, limits, pairs) if kind == CSV else _read_lines(body, limits, pairs)
    return Invocation(texts=_checked(rows, limits, pairs, name="row"), kind=accepted[0])


def _checked(rows: list[Any], limits: Limits, pairs: Names, *, name: str) -> list[str]:
    """The texts of rows, held against the limits."""
    if pairs is not None:
        return paired_rows(rows, pairs, limits, name=name)
    check_texts(rows, limits, name=name)
    return rows


def _body_kind(scope: Scope) -> tuple[str, Mapping[str, str]]:
    """The body's kind and the parameters of its media type. JSON where nothing is said.

    Raises:
        Refusal: 415.
    """
    stated, parameters = media_type(scope)
    kind = TYPES.get(stated or JSON)
    if kind is None:
        raise Refusal(415, "validation", f"a body is {_listed(TYPES)}, not {short(stated)}")
    charset = parameters.get("charset", "utf-8")
    if charset not in _CHARSETS:
        raise Refusal(415, "validation", f"a body is UTF-8, not {short(charset)}")
    return kind, parameters


def _accepted(scope: Scope, kind: str) -> list[str]:
    """The kinds that an answer may be, the most wanted first: by their weights, then the body's own, then in the order
    in which they are named (RFC 9110, 12.5.1).

    Raises:
        Refusal: 406, none.
    """
    stated = header(scope, b"accept")
    if stated is None or not stated.strip():
        return list(dict.fromkeys((kind, *TYPES.values())))
    ranges: dict[str, float] = {}
    for part in stated.decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        name = TYPES.get(name, name)
        ranges[name] = max(_weight(parameters), ranges.get(name, 0.0))
    weights = {one: _weight_of(one, ranges) for one in dict.fromkeys((kind, *ranges, *TYPES.values())) if one in _KINDS}
    accepted = sorted(filter(weights.get, weights), key=lambda one: -weights[one])
    if not accepted:
        raise Refusal(406, "validation", f"answers are {_listed(TYPES)}; none of them is accepted")
    return accepted


def _weight(parameters: Sequence[str]) -> float:
    """How much a range of media types is wanted; one that is no weight says nothing."""
    stated = [one.removeprefix("q=") for one in parameters if one.startswith("q=")]
    return float(stated[0]) if stated and _WEIGHT.fullmatch(stated[0]) else 1.0


def _weight_of(kind: str, ranges: Mapping[str, float]) -> float:
    """What the narrowest range that covers a kind says of it."""
    covering = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((ranges[name] for name in covering if name in ranges), 0.0)


def _listed(names: Mapping[str, str]) -> str:
    return " or ".join(dict.fromkeys(names.values()))


def _read_json(asked: Any, accepted: Sequence[str], limits: Limits, pairs: Names) -> Asked:
    """MLflow's four forms, and that of the container for Hugging Face."""
    if not isinstance(asked, dict):
        raise invalid(f"an object is wanted, with one of {', '.join(_FORMS)}; not {kind_of(asked)}")
    forms = [key for key in asked if key in _FORMS]
    if len(forms) != 1:
        raise invalid(f"exactly one of {', '.join(_FORMS)} is wanted; {len(forms)} given")
    form = forms[0]
    if form == "inputs" and ("parameters" in asked or _alone(asked["inputs"], pairs)) and asked.keys() <= _HF_KEYS:
        if JSON not in accepted:
            raise Refusal(406, "validation", f"this question is answered in {JSON}")
        return read_question(asked, limits, pairs=pairs)
    check_keys(asked, (form, "params"), "key")
    params = {} if asked.get("params") is None else asked["params"]
    check_object(params, CHOICE, "params")
    choice = read_choice(params, "params")
    listed = "top_k" in params
    rows = _FORMS[form](asked[form]) if pairs is None else _PAIR_FORMS[form](asked[form], pairs)
    return Invocation(
        texts=_checked(rows, limits, pairs, name=form),
        kind=accepted[0],
        choice=choice if listed else replace(choice, top_k=1),
        listed=listed,
    )


def _alone(inputs: Any, pairs: Names) -> bool:
    """Whether ``inputs`` is one text, or one pair where the model reads two; columns of several are lists."""
    if pairs is None or not is_one_pair(inputs):
        return isinstance(inputs, str)
    return isinstance(inputs, list) or not any(isinstance(value, list) for value in inputs.values())


def _split(given: Any) -> list[Any]:
    """pandas' ``to_dict(orient="split")`` of one column, with or without its index."""
    columns, data = _columns_and_data(given)
    if columns is not None and (not isinstance(columns, list) or len(columns) != 1):
        raise invalid(f"dataframe_split.columns wants a list of one column, not {short(columns)}")
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise invalid("dataframe_split.data wants a list of rows, each a list of one text")
    return flat_column(data, "dataframe_split.data")


def _columns_and_data(given: Any) -> tuple[Any, Any]:
    if not isinstance(given, dict):
        raise invalid(f"dataframe_split wants an object with `columns` and `data`, not {kind_of(given)}")
    check_keys(given, _SPLIT_KEYS, "key of dataframe_split")
    return given.get("columns"), given.get("data")


def _split_pairs(given: Any, pairs: tuple[str, str]) -> list[Any]:
    """`_split` of two columns, in any order where they are named."""
    columns, data = _columns_and_data(given)
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise invalid("dataframe_split.data wants a list of rows, each a list of two texts")
    if columns is None:
        return data
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise invalid(f"dataframe_split.columns wants a list of two columns, not {short(columns)}")
    return _in_order(columns, data, pairs, name="dataframe_split.columns")


def _in_order(columns: list[str], rows: list[Any], pairs: tuple[str, str], *, name: str) -> list[Any]:
    """Rows of two cells with the first text first.

    Raises:
        Refusal: 422 the columns are not those of two texts.
    """
    for names in ((TEXT, TEXT_PAIR), pairs):
        if columns == list(names):
            return rows
        if columns == list(reversed(names)):
            return [row[::-1] for row in rows]
    known = " or ".join(f"`{first}` and `{second}`" for first, second in dict.fromkeys([(TEXT, TEXT_PAIR), pairs]))
    raise invalid(f"{name} are {short(columns)}; this model reads two texts: {known}")


def _pair_list(name: str) -> Callable[[Any, tuple[str, str]], list[Any]]:
    """What reads a list of pairs, whatever each of them is."""

    def read(given: Any, _pairs: tuple[str, str]) -> list[Any]:
        if not isinstance(given, list):
            raise invalid(f"{name} wants a list of pairs, not {kind_of(given)}")
        return given

    return read


def _input_pairs(given: Any, pairs: tuple[str, str]) -> list[Any]:
    """TensorFlow Serving's column format of two columns, or a list of pairs."""
    if not isinstance(given, dict):
        return _pair_list("inputs")(given, pairs)
    columns = list(given.values())
    if len({len(column) for column in columns if isinstance(column, list)}) > 1 or not all(
        isinstance(column, list) for column in columns
    ):
        raise invalid("inputs wants two lists of as many texts each, `text` and `text_pair`")
    return _in_order(list(given), [list(row) for row in zip(*columns, strict=True)], pairs, name="inputs")


def _refuse_base64(column: str, where: str) -> None:
    """Refuse what TensorFlow Serving has for bytes, which would be classified as they are written."""
    if column == "b64":
        raise invalid(f"{where} has `b64`, which is base64 of bytes; texts are wanted as they are")


def _records(given: Any, name: str = "dataframe_records", *, table: bool = True) -> list[Any]:
    """The values of objects of one key, the same in all of a table."""
    if not isinstance(given, list):
        raise invalid(f"{name} wants a list of objects, not {kind_of(given)}")
    for index, row in enumerate(given):
        if not isinstance(row, dict) or len(row) != 1:
            raise invalid(f"{name}[{index}] wants an object with one key, the text's column")
        if table and row.keys() != given[0].keys():
            raise invalid(f"{name}[{index}] has the column {short(*row)}, and the first has {short(*given[0])}")
        _refuse_base64(next(iter(row)), f"{name}[{index}]")
    return [text for row in given for text in row.values()]


def _instances(given: Any) -> list[Any]:
    """TensorFlow Serving's row format: texts, lists of one text, or objects of one key."""
    if isinstance(given, list) and given and isinstance(given[0], dict):
        return _records(given, "instances")
    if not isinstance(given, list):
        raise invalid(f"instances wants a list of texts, not {kind_of(given)}")
    return flat_column(given, "instances")


def _inputs(given: Any) -> list[Any]:
    """TensorFlow Serving's column format: texts, lists of one text, or an object of one column."""
    if isinstance(given, dict) and len(given) == 1:
        _refuse_base64(next(iter(given)), "inputs")
        given = next(iter(given.values()))
    if not isinstance(given, list):
        raise invalid(f"inputs wants a text, a list of texts, or an object of one column, not {kind_of(given)}")
    return flat_column(given, "inputs")


#: MLflow's forms of a body in JSON, and what reads the texts of each.
_FORMS: Mapping[str, Callable[[Any], list[Any]]] = {
    "inputs": _inputs,
    "instances": _instances,
    "dataframe_split": _split,
    "dataframe_records": _records,
}


#: The same of a model that reads two texts.
_PAIR_FORMS: Mapping[str, Callable[[Any, tuple[str, str]], list[Any]]] = {
    "inputs": _input_pairs,
    "instances": _pair_list("instances"),
    "dataframe_split": _split_pairs,
    "dataframe_records": _pair_list("dataframe_records"),
}


def _read_csv(body: bytes | bytearray, parameters: Mapping[str, str], limits: Limits, pairs: Names) -> list[Any]:
    """The texts of a CSV of one column, or two; empty lines are none, an empty text is ``""``."""
    stated = parameters.get("header")
    if stated not in (None, "present", "absent"):
        raise Refusal(415, "validation", f"header of text/csv is present or absent, not {short(stated)}")
    csv.field_size_limit(max(limits.max_body_bytes, csv.field_size_limit()))  # our own limits are tighter
    try:
        text = body.decode("utf-8-sig")
        read = (row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row)
        rows = list(itertools.islice(read, limits.max_texts + 2))  # a header, and one too many
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refusal(400, "invalid_csv", f"the body is not CSV in UTF-8: {error}") from None
    width, wanted = (1, "one column is") if pairs is None else (2, "two columns are")
    for index, row in enumerate(rows):
        if len(row) != width:
            raise invalid(f"row {index} has {len(row)} cells; {wanted} wanted, with commas in quotes")
    if pairs is not None:
        return rows if stated == "absent" or not rows else _in_order(rows[0], rows[1:], pairs, name="the columns")
    texts = [row[0] for row in rows]
    if stated == "absent" or not texts:
        return texts
    if stated is None and texts[0].strip().lower() not in HEADERS:
        wanted = " or ".join(HEADERS)
        raise invalid(
            f"the first line is not {wanted}: name the column so, or say `text/csv; header=present` or `header=absent`"
        )
    return texts[1:]


def _read_lines(body: bytes | bytearray, limits: Limits, pairs: Names) -> list[Any]:
    """A text a line, or an object of one key; or a pair a line. The last line may end without a line break."""
    lines = bytes(body).removesuffix(b"\n").split(b"\n", limits.max_texts)
    if lines == [b""]:
        return []
    if len(lines) > limits.max_texts:
        raise Refusal(413, "too_large", f"more than {limits.max_texts} lines")
    rows: list[Any] = []
    for index, line in enumerate(lines):
        try:
            rows.append(parse_json(line))
        except Refusal as refusal:
            raise Refusal(400, "invalid_json", f"line {index}: {refusal.message}") from None
    return _records(rows, "line", table=False) if pairs is None and isinstance(rows[0], dict) else rows


def _label_rows(labels: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """A header, and the best label of each text."""
    yield "label", "score"
    for best, *_ in labels:
        yield best["label"], best["score"]


def _several_rows(labels: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """A header, and a row for each label of each text, with the place of the text among those that were asked."""
    yield "row", "label", "score"
    for row, scores in enumerate(labels):
        for one in scores:
            yield row, one["label"], one["score"]


def _entity_rows(labels: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """A header, and a row for each entity, with the place of its text among those that were asked."""
    parts = ("entity_group", "score", "word", "start", "end")
    yield "row", *parts
    for row, entities in enumerate(labels):
        for one in entities:
            yield row, *(one[part] for part in parts)


def _vector_rows(vectors: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """A header, ``0`` and so on, and a row for each text."""
    yield range(len(vectors[0]))
    for vector in vectors:
        yield [str(value) for value in vector]  # as short as float32 can be told


def _csv(rows: Iterator[Sequence[Any]]) -> bytes:
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows(rows)
    return sink.getvalue().encode()
