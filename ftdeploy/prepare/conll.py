"""CoNLL files: a token and its tag on each line, a blank line between sentences (Tjong Kim Sang and De Meulder 2003).

Tags mark spans in one of three schemes (Ramshaw and Marcus 1995; Ratinov and Roth 2009). IOB1: ``I-X`` everywhere,
``B-X`` only where a span follows right after another of its kind. IOB2: every span begins with ``B-X``. BIOES, also
written BILOU: ``S-X`` (``U-X``) is a span of one token, ``E-X`` (``L-X``) ends a longer one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.prepare.text import open_text
from ftdeploy.spans import Scheme, TagError, is_tag, to_iob2

_DOCUMENT = "-DOCSTART-"


@dataclass(kw_only=True)
class _Sentence:
    document: int
    lines: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)


def read_conll(source: Source, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The sentences, each with the line of its first token: ``text`` (the tokens joined by spaces), ``tokens`` and
    ``tags`` (lists of one length; the tags as IOB2, whatever the file has), ``document`` (counted from 1 by the lines
    ``-DOCSTART-``; None in a file without any).

    Args:
        source: scheme, delimiter, encoding. The first column is the token, the last one the tag.
        path: the file.

    Raises:
        DataError: a line without a tag, a tag that is none, or a sequence that the scheme does not have.
    """
    scheme = find_scheme(source, path) if source.scheme == "auto" else source.scheme
    for sentence in _sentences(source, path):
        try:
            tags = to_iob2(sentence.tags, scheme)
        except TagError as error:
            raise _broken(path.name, sentence.lines[error.at], str(error)) from error
        yield (
            sentence.lines[0],
            {
                "text": " ".join(sentence.tokens),
                "tokens": sentence.tokens,
                "tags": tags,
                "document": sentence.document or None,
            },
        )


def find_scheme(source: Source, path: Path) -> Scheme:
    """The scheme of a file's tags, from one pass over it.

    Raises:
        DataError: it has what only IOB1 has and what only IOB2 has.
    """
    # A span that begins with I- is IOB1's; a B- that does not follow a span of its kind is IOB2's.
    begun_inside, begun_freely = 0, 0
    for sentence in _sentences(source, path):
        before = "O"
        for line, tag in zip(sentence.lines, sentence.tags, strict=True):
            prefix, kind = tag[0], tag[2:]
            if prefix in "ESLU":
                return "bioes"
            if prefix == "I" and before[2:] != kind:
                begun_inside = begun_inside or line
            if prefix == "B" and before[2:] != kind:
                begun_freely = begun_freely or line
            before = tag
    if begun_inside and begun_freely:
        raise DataError(
            f"{path.name} mixes two schemes: a span begins with I- on line {begun_inside} (IOB1) and with B- on line "
            f"{begun_freely} (IOB2)",
            cause="files were joined, or a B- or I- is wrong",
            fix="correct the tags; or name the `scheme`, and the first line that does not fit it is told",
        )
    return "iob1" if begun_inside else "iob2"


def _sentences(source: Source, path: Path) -> Iterator[_Sentence]:
    document = 0
    sentence = _Sentence(document=document)
    for number, line in enumerate(open_text(path, source.encoding), start=1):
        begins = line.startswith(_DOCUMENT)
        if begins or not line.strip():
            if sentence.tokens:
                yield sentence
            document += begins
            sentence = _Sentence(document=document)
            continue
        token, tag = _fields(source, line, path, number)
        sentence.lines.append(number)
        sentence.tokens.append(token)
        sentence.tags.append(tag)
    if sentence.tokens:
        yield sentence


def _fields(source: Source, line: str, path: Path, number: int) -> tuple[str, str]:
    delimiter = source.delimiter or ("\t" if "\t" in line else None)
    fields = line.strip("\r\n").split(delimiter)
    token, tag = fields[0].strip(), fields[-1].strip()
    if len(fields) < 2 or not token:  # noqa: PLR2004 - a token and a tag
        raise DataError(
            f"{path.name}, line {number} has no token and tag: {line.strip()[:60]!r}",
            cause="a line holds a token, a tab or spaces, and a tag; sentences are divided by an empty line",
            fix="correct that line, or set `delimiter` to what stands between the columns",
        )
    if not is_tag(tag):
        raise DataError(
            f"{path.name}, line {number}: {tag[:60]!r} is not a tag",
            cause="the last column holds something else; a tag is O, or B-, I-, E- or S- and the kind of the entity",
            fix="correct that line, or give a `loader` for a format of its own",
        )
    return token, tag


def _broken(name: str, line: int, why: str) -> DataError:
    return DataError(
        f"{name}, line {line}: {why}",
        cause="a tag was changed by hand, a line is missing, or the tags are in another scheme",
        fix="correct the tags, or set `scheme` to iob1, iob2 or bioes as the file has it",
    )
