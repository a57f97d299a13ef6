"""CoNLL files: sentences, the three schemes of tags, and every fault with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftdeploy.errors import DataError
from ftdeploy.origin import Source
from ftdeploy.prepare import prepare
from ftdeploy.prepare.conll import find_scheme, read_conll
from ftdeploy.prepare.read import read_rows
from ftdeploy.recipe import Recipe
from ftdeploy.spans import Scheme, to_iob2
from ftdeploy.stage import run_stage


def source(path: Path, **settings: Any) -> Source:
    return Source.model_validate({"path": str(path), "format": "conll"} | settings)


def written(path: Path, *sentences: list[str]) -> Path:
    """A file with the tags of these sentences; the tokens are t0, t1, ..."""
    blocks = ["".join(f"t{place}\t{tag}\n" for place, tag in enumerate(tags)) for tags in sentences]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def read(path: Path, **settings: Any) -> list[dict[str, Any]]:
    return [dict(values) for _, values in read_conll(source(path, **settings), path)]


def test_every_sentence_of_the_real_corpus_is_read(mirror: Path) -> None:
    """BC5CDR as it is published: as many tokens, tags and sentences as the lines of the file say, in their order."""
    path = mirror / "bc5cdr-test.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    found = list(read_rows(source(path), path, wanted=("text", "tags")))
    assert find_scheme(source(path), path) == "iob2"
    tokens = [token for row in found for token in row.values["tokens"]]
    tags = [tag for row in found for tag in row.values["tags"]]
    assert [f"{token}\t{tag}" for token, tag in zip(tokens, tags, strict=True)] == [line for line in lines if line]
    begins = [number for number, line in enumerate(lines, start=1) if line and (number == 1 or not lines[number - 2])]
    assert [row.place for row in found] == begins
    assert all(row.values["text"] == " ".join(row.values["tokens"]) for row in found)


def test_documents_columns_and_spaces(tmp_path: Path) -> None:
    """The first column is the token and the last the tag, whatever stands between them; -DOCSTART- counts documents."""
    path = tmp_path / "a.conll"
    first = "-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\n"
    path.write_text(first + "-DOCSTART- -X- O O\r\n\r\nx y O\r\n")
    assert [(row["text"], row["tags"], row["document"]) for row in read(path)] == [
        ("EU rejects", ["B-ORG", "O"], 1),
        ("x", ["O"], 2),
    ]
    assert read(written(tmp_path / "b.iob", ["O"]))[0]["document"] is None


IOB2 = ["B-X", "I-X", "B-X", "O", "B-Y", "B-X"]


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("iob2", IOB2),
        ("iob1", ["I-X", "I-X", "B-X", "O", "I-Y", "I-X"]),
        ("bioes", ["B-X", "E-X", "S-X", "O", "S-Y", "S-X"]),
        ("bioes", ["B-X", "L-X", "U-X", "O", "U-Y", "U-X"]),
    ],
)
def test_one_sentence_in_three_schemes(tmp_path: Path, scheme: Scheme, tags: list[str]) -> None:
    """Named or detected, the rows have the same tags: IOB2."""
    path = written(tmp_path / "a.conll", ["O"], tags)
    assert find_scheme(source(path), path) == scheme
    for settings in ({}, {"scheme": scheme}):
        assert [row["tags"] for row in read(path, **settings)] == [["O"], IOB2]


SPANS = st.lists(st.tuples(st.sampled_from(["X", "Y", ""]), st.integers(min_value=1, max_value=3)), max_size=8)


@given(spans=SPANS)
def test_schemes_say_the_same_of_any_spans(spans: list[tuple[str, int]]) -> None:
    """Spans written as IOB1 or BIOES come out as if they had been written as IOB2."""
    made: dict[Scheme, list[str]] = {"iob1": [], "iob2": [], "bioes": []}
    before = ""
    for kind, length in spans:
        rest = range(1, length)
        if not kind:
            for tags in made.values():
                tags.extend("O" * length)
        else:
            made["iob2"] += [f"B-{kind}", *(f"I-{kind}" for _ in rest)]
            made["iob1"] += [f"{'B' if before == kind else 'I'}-{kind}", *(f"I-{kind}" for _ in rest)]
            made["bioes"] += (
                [f"S-{kind}"] if length == 1 else [f"B-{kind}", *(f"I-{kind}" for _ in rest[1:]), f"E-{kind}"]
            )
        before = kind
    for scheme, tags in made.items():
        assert to_iob2(tags, scheme) == made["iob2"]


@pytest.mark.parametrize(
    ("content", "settings", "words"),
    [
        ("a\tO\nb\tI-X\n", {"scheme": "iob2"}, "line 2: I-X continues a span of X that has not begun"),
        ("a\tB-X\nb\tI-Y\n", {"scheme": "iob2"}, "line 2: I-Y continues a span of Y"),
        ("a\tB-X\n\nb\tI-X\n", {"scheme": "iob2"}, "line 3: I-X continues"),
        ("a\tB-X\nb\tI-Y\n", {}, "mixes two schemes: a span begins with I- on line 2 .* and with B- on line 1"),
        ("a\tB-X\nb\tO\n", {"scheme": "bioes"}, "line 2: O follows B-X, whose span has not ended"),
        ("a\tO\nb\tB-X\n\nc\tO\n", {"scheme": "bioes"}, "line 2: the sentence ends inside a span of X"),
        ("a\tS-X\n", {"scheme": "iob2"}, "line 1: S-X is no tag of iob2"),
        ("a\tO\nlonely\n", {}, "line 2 has no token and tag: 'lonely'"),
        ("a\tO\nb\tgene\n", {}, "line 2: 'gene' is not a tag"),
        ("a\tB-\n", {}, "line 1: 'B-' is not a tag"),
        ("a\tO\nb\t\n", {}, "line 2: '' is not a tag"),
    ],
)
def test_faults_are_named_by_line(tmp_path: Path, content: str, settings: dict[str, Any], words: str) -> None:
    """A sequence that the scheme does not have is never repaired in silence."""
    path = tmp_path / "a.conll"
    path.write_text(content)
    with pytest.raises(DataError, match=words):
        read(path, **settings)


def test_tags_are_no_label_of_a_text(tmp_path: Path) -> None:
    """Text classification refuses the column, and says what it holds."""
    path = written(tmp_path / "a.conll", *([["O", "B-X"]] * 30))
    data = {"source": {"path": str(path)}, "columns": {"label": "tags"}}
    sections = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    with pytest.raises(DataError, match=r"no row of a\.conll is left .*label is a list, not text: 30"):
        run_stage(prepare, Recipe.model_validate(sections | {"data": data}), {}, tmp_path / "out")
