"""Texts without labels: nothing of validation or test comes back among them, and without them nothing changes."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from ftdeploy.artifact import Artifact
from ftdeploy.check import check_recipe
from ftdeploy.dataset import SPLITS, read_profile, read_split, read_unlabelled
from ftdeploy.errors import ConfigError, DataError, FtdeployError, SourceError
from ftdeploy.overview_data import data_parts
from ftdeploy.package import origins_in_words
from ftdeploy.prepare import prepare
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage, stage_key

FILLER = [f"{one}{other}" for one in ("red", "green", "blue", "grey") for other in ("fox", "hen", "owl", "elk", "bee")]


def phrases(count: int, *, start: int = 0) -> list[str]:
    """Different texts of ten words; none is a near duplicate of another."""
    return [
        " ".join(f"{FILLER[(n * 7 + place) % 20]}{n * 13 + place}" for place in range(10))
        for n in range(start, start + count)
    ]


def rows_file(path: Path, texts: Sequence[str]) -> Path:
    """JSON Lines with labels a and b in turn."""
    rows = ({"text": text, "label": "ab"[place % 2]} for place, text in enumerate(texts))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def texts_file(path: Path, texts: Sequence[str], *, column: str = "text") -> Path:
    """JSON Lines without labels."""
    path.write_text("".join(json.dumps({column: text}) + "\n" for text in texts), encoding="utf-8")
    return path


def recipe(folder: Path, *sources: Mapping[str, Any], texts: Sequence[str] | None = None, **data: Any) -> Recipe:
    """A recipe on 200 labelled rows (or ``texts``) and these sources of texts."""
    rows = rows_file(folder / "rows.jsonl", phrases(200) if texts is None else texts)
    section = {"source": {"path": str(rows)}} | data | ({"unlabelled": list(sources)} if sources else {})
    head = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    return Recipe.model_validate(head | {"data": section})


def made_of(folder: Path, *sources: Mapping[str, Any], **data: Any) -> Artifact:
    return run_stage(prepare, recipe(folder, *sources, **data), {}, folder / "out" / "dataset").artifact


def split_texts(made: Artifact) -> dict[str, list[str]]:
    return {name: read_split(made, name)["text"].to_pylist() for name in SPLITS}


@pytest.mark.parametrize("near", ["group", "ignore"])
def test_what_equals_a_row_of_a_split_never_appears(tmp_path: Path, near: str) -> None:
    """All labelled rows are offered again, in other case and spacing: none comes back; what is new does, once."""
    fresh = phrases(40, start=1000)
    offered = [f"  {text.upper()}\t" for text in phrases(200)] + fresh + fresh[:5]
    source = texts_file(tmp_path / "more.jsonl", offered)
    made = made_of(tmp_path, {"path": str(source)}, duplicates={"near": near})
    assert read_unlabelled(made) == fresh
    found, splits = read_profile(made)["unlabelled"], split_texts(made)
    assert found["in_splits"] == {name: len(texts) for name, texts in splits.items()}
    assert (found["read"], found["kept"], found["duplicates"]) == (245, 40, 5)
    assert made.facts["unlabelled"] == 40
    assert made.facts["rows"] == sum(len(texts) for texts in splits.values())


def test_near_duplicates_of_validation_and_test_are_left_out(tmp_path: Path) -> None:
    """Each labelled row is offered with one word more: those of train stay, those of validation and test go; where
    nobody looks for near duplicates all stay."""
    source = texts_file(tmp_path / "more.jsonl", [f"{text} indeed" for text in phrases(200)])
    # Nine of twelve word pairs are shared: 0.75, of which the estimate has a standard error of 0.04.
    made = made_of(tmp_path, {"path": str(source)}, duplicates={"threshold": 0.5})
    splits = split_texts(made)
    assert {text.removesuffix(" indeed") for text in read_unlabelled(made)} == set(splits["train"])
    assert read_profile(made)["unlabelled"]["near_duplicates"] == len(splits["validation"]) + len(splits["test"]) > 0
    (tmp_path / "other").mkdir()
    loose = made_of(tmp_path / "other", {"path": str(source)}, duplicates={"near": "ignore"})
    assert len(read_unlabelled(loose)) == 200


def test_texts_are_tidied_by_the_rules_of_the_rows(tmp_path: Path) -> None:
    """The same normal form and limits, counted apart; also what was learned of the rows only, as their usual length."""
    odd = ["A <b>fine</b>   picture of cafe\u0301 life", "no", "", "x" * 900]
    source = texts_file(tmp_path / "more.jsonl", [*odd, *phrases(3, start=1000)])
    clean = {"strip_html": True, "min_chars": 3, "max_chars": 800}
    made = made_of(tmp_path, {"path": str(source)}, clean=clean)
    assert read_unlabelled(made) == ["A fine picture of caf\u00e9 life", *phrases(3, start=1000)]
    profile = read_profile(made)
    rejected = {reason: one["rows"] for reason, one in profile["unlabelled"]["rejected"].items()}
    assert rejected == {"text is shorter than min_chars": 1, "text is empty": 1, "text is longer than max_chars": 1}
    assert profile["unlabelled"]["changed"]["html"]["rows"] == 1
    assert profile["rejected"] == profile["changed"] == {}
    assert pq.read_table(made.file("rejected.parquet")).num_rows == 0
    (tmp_path / "other").mkdir()
    outliers = {"length_outliers": {"unit": "words"}}
    usual = made_of(tmp_path / "other", {"path": str(source)}, clean=clean | outliers)
    alone = made_of(tmp_path / "other", clean=clean | outliers)
    assert read_profile(usual)["usual_length"] == read_profile(alone)["usual_length"]


def test_identifiers_do_not_pass(tmp_path: Path) -> None:
    """Redacted in what is written, dropped where the recipe says so, shown nowhere; counted beside those of the rows,
    not among them; `fail` tells the place without the value."""
    held = ["please write to jo.quill@example.org about the invoice", "his passport no. C01234567 was found"]
    source = texts_file(tmp_path / "more.jsonl", [*held, "jo.quill@example.org " + "x" * 500, *phrases(3, start=1000)])
    policy = {"policy": "redact", "policies": {"passport": "drop"}}
    made = made_of(tmp_path, {"path": str(source)}, privacy=policy, clean={"max_chars": 400})
    texts = read_unlabelled(made)
    assert texts == ["please write to [EMAIL] about the invoice", *phrases(3, start=1000)]
    profile = read_profile(made)
    assert profile["unlabelled"]["identifiers"] == {"email": 1}
    assert profile["unlabelled"]["rejected"]["holds an identifier of type passport"]["rows"] == 1
    assert profile["privacy"]["types"] == {}
    everything = b"".join(path.read_bytes() for path in made.path.iterdir()) + "".join(texts).encode()
    assert b"jo.quill" not in everything
    assert b"C01234567" not in everything
    with pytest.raises(DataError, match=r"^data\.unlabelled: the row at more:1 holds .* 'email'") as told:
        made_of(tmp_path, {"path": str(source)}, privacy={"policy": "fail"})
    assert "jo.quill" not in str(told.value)


def test_without_the_section_nothing_changes(tmp_path: Path) -> None:
    """The splits are the same bytes with it and without, and only with it is there more."""
    source = texts_file(tmp_path / "more.jsonl", phrases(30, start=1000))
    plain = made_of(tmp_path)
    (tmp_path / "other").mkdir()
    made = made_of(tmp_path / "other", {"path": str(source)})
    same = ("train.parquet", "validation.parquet", "test.parquet", "rejected.parquet")
    assert {name: made.files[name] for name in same} == {name: plain.files[name] for name in same}
    assert made.files.keys() - plain.files.keys() == {"unlabelled.parquet"}
    profiles = read_profile(made), read_profile(plain)
    assert {key: value for key, value in profiles[0].items() if key != "unlabelled"} == profiles[1]
    assert {key: value for key, value in made.facts.items() if key != "unlabelled"} == plain.facts
    assert read_unlabelled(plain) == []
    said, before = (next(data_parts(one)).text for one in (made, plain))
    assert said == f"{before} 30 of 30 texts without labels stand beside them."


def test_a_changed_file_of_texts_is_noticed(tmp_path: Path) -> None:
    """Its bytes are part of the stage's key; equal bytes give an equal artifact."""
    source = texts_file(tmp_path / "more.jsonl", phrases(30, start=1000))
    asked = recipe(tmp_path, {"path": str(source)})
    before = stage_key(prepare, asked, {})
    assert run_stage(prepare, asked, {}, tmp_path / "one").artifact.digest == (
        run_stage(prepare, asked, {}, tmp_path / "two").artifact.digest
    )
    texts_file(source, phrases(31, start=1000))
    assert stage_key(prepare, asked, {}) != before


def test_members_of_archives_folders_loaders_and_columns(tmp_path: Path) -> None:
    """Read as the rows' sources are, label or not; ids are different across sources; `rows` and `limit` are samples."""
    texts = {name: phrases(20, start=start) for name, start in (("packed", 1000), ("folder", 2000), ("own", 3000))}
    inner = texts_file(tmp_path / "inner.jsonl", texts["packed"], column="body")
    with tarfile.open(tmp_path / "texts.tar.gz", "w:gz") as archive:
        archive.add(inner, "texts/inner.jsonl")
    (tmp_path / "folder").mkdir()
    for number, text in enumerate(texts["folder"]):
        (tmp_path / "folder" / f"{number:02}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "own.py").write_text(
        f"def texts(path):\n    for n, text in enumerate({texts['own']!r}):\n        yield {{'text': text, 'id': n}}\n",
        encoding="utf-8",
    )
    packed = {"path": str(tmp_path / "texts.tar.gz"), "member": "texts/inner.jsonl", "columns": {"text": "body"}}
    folder = {"path": str(tmp_path / "folder"), "format": "folder", "name": "folder"}
    own = {"path": str(inner), "loader": str(tmp_path / "own.py") + ":texts", "name": "own", "columns": {"id": "id"}}
    made = made_of(tmp_path, packed, folder, own)
    assert read_unlabelled(made) == [*texts["packed"], *texts["folder"], *texts["own"]]
    ids = pq.read_table(made.file("unlabelled.parquet"))["id"].to_pylist()
    assert (ids[0], ids[40], len(set(ids))) == ("inner:row-1", "own:0", 60)
    asked = recipe(tmp_path, packed, folder).data
    told = origins_in_words(asked, recipe(tmp_path).model)
    assert "texts inner: file texts.tar.gz, texts/inner.jsonl" in told
    few = made_of(tmp_path, packed | {"rows": 7}, folder)
    assert [one["kept"] for one in read_profile(few)["unlabelled"]["sources"]] == [7, 20]
    assert len(read_unlabelled(made_of(tmp_path, packed, folder, limit=12))) == 12


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weight": 2.0}, r"data\.unlabelled\.0\.weight"),
        ({"role": "train"}, r"data\.unlabelled\.0\.role"),
        ({"label": "a"}, r"data\.unlabelled\.0\.label"),
        ({"label_map": {"a": "b"}}, r"data\.unlabelled\.0\.label_map"),
        ({"columns": {"label": "label"}}, r"data\.unlabelled\.0\.columns\.label"),
    ],
)
def test_what_only_rows_can_have_is_refused(tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    """Weight, role and labels: each with its path."""
    with pytest.raises(ValidationError, match=words):
        recipe(tmp_path, {"path": "more.jsonl"} | settings)


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their ids could be equal."""
    with pytest.raises(ValidationError, match=r"data\.unlabelled\n.*two sources are named 'one'"):
        recipe(tmp_path, {"path": "a.jsonl", "name": "one"}, {"path": "b.jsonl", "name": "one"})


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"columns": {"text": "body"}}, DataError, "source more: there is no column 'body'; the columns are: text"),
        ({"format": "parquet"}, DataError, "more.jsonl cannot be read as parquet"),
        ({"path": "missing.jsonl"}, SourceError, "missing.jsonl does not exist"),
    ],
)
def test_faults_name_the_key_of_the_texts(
    tmp_path: Path, settings: dict[str, Any], kind: type[FtdeployError], words: str
) -> None:
    """Not the one of the rows; nothing half-made stays."""
    source = texts_file(tmp_path / "more.jsonl", phrases(5, start=1000))
    with pytest.raises(kind, match=rf"^data\.unlabelled: .*{words}") as told:
        made_of(tmp_path, {"path": str(source)} | settings)
    assert "data.columns" not in str(told.value)
    assert "data.source" not in str(told.value)
    assert not list((tmp_path / "out").glob("*"))


def test_check_tells_a_missing_file_of_texts(tmp_path: Path) -> None:
    """Before a run, beside the other faults."""
    with pytest.raises(ConfigError) as told:
        check_recipe(recipe(tmp_path, {"path": str(tmp_path / "missing.jsonl")}))
    assert {problem.path for problem in told.value.problems} == {"data.unlabelled", "model"}
