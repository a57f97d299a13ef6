"""Artifacts: sealed once, and noticed when anything about them is other than it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftdeploy.artifact import (
    LAYOUT,
    MANIFEST,
    Artifact,
    Fact,
    Kind,
    check_layout,
    digest_of,
    hash_folder,
    open_artifact,
    recover,
    seal,
    verify,
)
from ftdeploy.errors import ArtifactError, StageContractError

FILES = {name: name.encode() for name in LAYOUT["report"].required}


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def sealed(target: Path, files: dict[str, bytes] | None = None, **changed: Fact) -> Artifact:
    folder = fill(target.with_name(target.name + ".made"), FILES if files is None else files)
    return seal(
        folder,
        target=target,
        kind="report",
        made_by="validate@1",
        made_from=("ab",),
        key="k",
        settings={"a": {"b": 1}},
        facts={"rows": 3} | changed,
    )


def test_what_was_sealed_is_what_is_opened(tmp_path: Path) -> None:
    """Everything comes back, from wherever the folder is moved to."""
    made = sealed(tmp_path / "report", accuracy=0.875, name="é")
    assert open_artifact(tmp_path / "report", kind="report") == made
    assert made.facts == {"rows": 3, "accuracy": 0.875, "name": "é"}
    assert made.settings == {"a": {"b": 1}}
    shutil.move(tmp_path / "report", tmp_path / "elsewhere")
    assert open_artifact(tmp_path / "elsewhere").digest == made.digest


def test_the_digest_is_of_names_and_contents_only(tmp_path: Path) -> None:
    """Another place, time, order of writing, mode: the same digest. Another name or byte: another."""
    first, _ = hash_folder(fill(tmp_path / "a" / "b", FILES))
    second = fill(tmp_path / "c", dict(reversed(FILES.items())))
    os.utime(second / "report.json", (0, 0))
    (second / "report.json").chmod(0o600)
    assert hash_folder(second)[0] == first
    (second / "flips.csv").rename(second / "flips2.csv")
    assert hash_folder(second)[0] != first


@given(
    one=st.dictionaries(st.text(min_size=1, max_size=3), st.text("0123456789ab", max_size=2), max_size=3),
    two=st.dictionaries(st.text(min_size=1, max_size=3), st.text("0123456789ab", max_size=2), max_size=3),
)
@settings(max_examples=200)
def test_different_files_have_different_digests(one: dict[str, str], two: dict[str, str]) -> None:
    """No boundary between names and hashes can be shifted to the same bytes; order plays no part."""
    clean = [{name: sha for name, sha in files.items() if not set(name) & {"\0", "\n"}} for files in (one, two)]
    assert (digest_of(clean[0]) == digest_of(clean[1])) == (clean[0] == clean[1])
    assert digest_of(dict(reversed(clean[0].items()))) == digest_of(clean[0])


def test_pycache_does_not_count(tmp_path: Path) -> None:
    """Serving writes it beside the source; an artifact below a folder of that name is still checked whole."""
    made = sealed(tmp_path / "report")
    fill(made.path, {"__pycache__/x.pyc": b"x", "deep/__pycache__/y.pyc": b"y"})
    assert open_artifact(made.path) == made
    inside = tmp_path / "__pycache__" / "report"
    inside.parent.mkdir()
    other = sealed(inside)
    assert other.digest == made.digest
    (inside / "flips.csv").write_bytes(b"changed")
    with pytest.raises(ArtifactError, match=r"flips\.csv was changed"):
        open_artifact(inside)


def test_a_changed_a_missing_and_an_added_file_are_all_named(tmp_path: Path) -> None:
    """One error says everything that is wrong."""
    made = sealed(tmp_path / "report")
    (made.path / "report.json").write_bytes(b"other")
    (made.path / "flips.csv").unlink()
    fill(made.path, {"notes/mine.txt": b"x"})
    with pytest.raises(ArtifactError) as caught:
        open_artifact(made.path)
    assert caught.value.what.endswith(
        "is not as it was sealed: flips.csv is missing; notes/mine.txt was added; report.json was changed"
    )


@pytest.mark.parametrize("size", [0, 1, -1])
def test_a_truncated_file(tmp_path: Path, size: int) -> None:
    """Cut to nothing, to one byte, by one byte."""
    made = sealed(tmp_path / "report")
    content = (made.path / "report.html").read_bytes()
    (made.path / "report.html").write_bytes(content[:size])
    with pytest.raises(ArtifactError, match=r"report\.html was changed"):
        verify(made)


def test_every_single_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    """One bit flipped, one byte removed, one byte doubled, at every position: each is noticed."""
    made = sealed(tmp_path / "report")
    manifest = made.path / MANIFEST
    raw = manifest.read_bytes()
    for place in range(len(raw)):
        for changed in (
            raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :],
            raw[:place] + b" " + raw[place:],
            raw[:place] + raw[place + 1 :],
        ):
            manifest.write_bytes(changed)
            with pytest.raises(ArtifactError):
                open_artifact(made.path, check_content=False)
    manifest.write_bytes(raw)
    assert open_artifact(made.path) == made


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b"\xff\xfe", b'{"seal": 3}', b"[" * 100_000, b'"\\ud800"'])
def test_a_manifest_that_is_something_else(tmp_path: Path, raw: bytes) -> None:
    """Not JSON, not an object, no seal, brackets without end."""
    made = sealed(tmp_path / "report")
    (made.path / MANIFEST).write_bytes(raw)
    with pytest.raises(ArtifactError, match="changed or damaged"):
        open_artifact(made.path)


def link_to_file(folder: Path) -> None:
    (folder / "flips.csv").rename(folder.parent / "outside.csv")
    (folder / "flips.csv").symlink_to(folder.parent / "outside.csv")


def link_to_nothing(folder: Path) -> None:
    (folder / "more").symlink_to("nowhere")


def link_to_folder(folder: Path) -> None:
    (folder / "more").symlink_to(folder.parent)


@pytest.mark.parametrize("link", [link_to_file, link_to_nothing, link_to_folder])
def test_links_are_refused(tmp_path: Path, link: Callable[[Path], None]) -> None:
    """Even one to a file with the very same content: it may be another tomorrow."""
    made = sealed(tmp_path / "report")
    link(made.path)
    with pytest.raises(ArtifactError, match="is a symbolic link"):
        open_artifact(made.path)
    with pytest.raises(ArtifactError, match="is a symbolic link"):
        seal(
            made.path, target=tmp_path / "t", kind="report", made_by="x@1", made_from=(), key="", settings={}, facts={}
        )


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\nb"])
def test_a_name_that_cannot_be_printed_is_refused(tmp_path: Path, name: bytes) -> None:
    """Bytes that are not UTF-8, or a line break, would shift the records that the digest is made of."""
    made = sealed(tmp_path / "report")
    Path(os.fsdecode(os.fsencode(made.path) + b"/" + name)).touch()
    with pytest.raises(ArtifactError, match="unprintable name"):
        open_artifact(made.path)


def test_another_kind_or_no_artifact_at_all(tmp_path: Path) -> None:
    """The wrong folder is told by its kind; a folder without a manifest and a file are no artifacts."""
    made = sealed(tmp_path / "report")
    with pytest.raises(ArtifactError, match="is a report artifact, and a bundle is wanted"):
        open_artifact(made.path, kind="bundle")
    (made.path / MANIFEST).unlink()
    for path in (made.path, made.path / "flips.csv"):
        with pytest.raises(ArtifactError, match="is not an artifact: it has no"):
            open_artifact(path)


def test_a_wrong_path_and_the_folder_of_a_run_are_told_as_such(tmp_path: Path) -> None:
    """Nothing is there, or what is meant is one folder further down."""
    with pytest.raises(ArtifactError, match="missing does not exist"):
        open_artifact(tmp_path / "missing")
    made = sealed(tmp_path / "run" / "report")
    with pytest.raises(ArtifactError, match="run is not an artifact: it is the folder of a run") as caught:
        open_artifact(tmp_path / "run")
    assert caught.value.fix == f"name it, as {made.path}"


def test_a_manifest_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Intact, but of a format that this version does not read: said as such, not as damage."""
    made = sealed(tmp_path / "report")
    monkeypatch.setattr("ftdeploy.artifact.FORMAT", 2)
    with pytest.raises(ArtifactError, match="has format 1 and kind 'report'; this ftdeploy reads format 2"):
        open_artifact(made.path)


def test_a_file_by_name(tmp_path: Path) -> None:
    """A name that is not in the manifest is refused with the one that is meant."""
    made = sealed(tmp_path / "report")
    assert made.file("report.json").read_bytes() == b"report.json"
    with pytest.raises(ArtifactError) as caught:
        made.file("reprot.json")
    assert caught.value.fix == "did you mean 'report.json'?"


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("report", {"flips.csv": None}, "flips.csv is missing"),
        ("report", {"flips.csv": b""}, "flips.csv is empty"),
        ("report", {"more.csv": b"x"}, "more.csv is not part of the layout"),
        ("report", {"deep/flips.csv": b"x"}, "deep/flips.csv is not part of the layout"),
        ("report", {"flips.csv": None, "junit.xml": b""}, "flips.csv is missing; junit.xml is empty"),
    ],
)
def test_the_layout_is_kept(tmp_path: Path, kind: Kind, change: dict[str, bytes | None], words: str) -> None:
    """Missing, empty and unexpected files, all at once."""
    wanted = {**FILES, **change}
    fill(tmp_path, {name: content for name, content in wanted.items() if content is not None})
    paths = {name: tmp_path / name for name, content in wanted.items() if content is not None}
    with pytest.raises(StageContractError) as caught:
        check_layout(kind, paths, made_by="validate@1")
    assert words in caught.value.what


@pytest.mark.parametrize("fact", [float("nan"), float("inf"), None, [1], b"x"])
def test_a_fact_that_no_manifest_holds(tmp_path: Path, fact: object) -> None:
    """NaN is no JSON, and lists have no place among facts."""
    with pytest.raises(StageContractError, match="'accuracy'"):
        sealed(tmp_path / "report", accuracy=fact)  # type: ignore[arg-type]  # that is the test
    assert not (tmp_path / "report").exists()


def test_sealing_replaces_what_stood_there(tmp_path: Path) -> None:
    """The new one stands whole in the place of the old, and nothing else is left."""
    old = sealed(tmp_path / "report")
    new = sealed(tmp_path / "report", FILES | {"flips.csv": b"new"})
    assert open_artifact(tmp_path / "report") == new
    assert new.digest != old.digest
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_crash_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    """The old artifact has gone aside and the new one is not there yet: the old one comes back."""
    old = sealed(tmp_path / "report")
    (tmp_path / "report").rename(tmp_path / "report.old")
    recover(tmp_path / "report")
    assert open_artifact(tmp_path / "report") == old
    assert not (tmp_path / "report.old").exists()


def test_a_crash_after_the_second_rename_is_mended(tmp_path: Path) -> None:
    """The new artifact stands and the old one was not removed yet: it goes."""
    sealed(tmp_path / "report")
    (tmp_path / "report").rename(tmp_path / "report.old")
    new = sealed(tmp_path / "report", FILES | {"flips.csv": b"new"})
    fill(tmp_path / "report.old", FILES)
    recover(tmp_path / "report")
    assert open_artifact(tmp_path / "report") == new
    assert not (tmp_path / "report.old").exists()


def test_recover_leaves_the_rest_alone(tmp_path: Path) -> None:
    """Without a crash there is nothing to mend."""
    made = sealed(tmp_path / "report")
    recover(tmp_path / "report")
    recover(tmp_path / "other")
    assert open_artifact(tmp_path / "report") == made
