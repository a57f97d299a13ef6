"""The one noun that travels through the program: a sealed folder with a manifest.

A folder becomes an artifact when ``artifact.json`` appears in it, which is written last and moved into place by
one rename. The manifest lists every file with its sha256, so that an artifact changed afterwards is noticed the
next time anybody opens it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ftdeploy.errors import ArtifactError, StageContractError, did_you_mean

Kind = Literal["dataset", "checkpoint", "onnx", "compressed", "report", "bundle"]
Fact = float | int | bool | str

MANIFEST = "artifact.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of one kind of artifact, as patterns relative to its folder.

    ``*`` in a pattern also crosses ``/``, so ``src/*`` is everything below ``src``.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


_MODEL_FOLDER = ("model.onnx", "tokenizer.json", "signature.json")

#: What an artifact of each kind holds on disk. The stage wrapper checks it; nobody else joins these names.
LAYOUT: dict[Kind, Layout] = {
    "dataset": Layout(
        required=("train.parquet", "validation.parquet", "test.parquet", "profile.json"),
        optional=("rejected.parquet", "suspects.csv", "unlabelled.parquet"),
    ),
    "checkpoint": Layout(
        required=("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "history.json"),
        optional=(
            "history.jsonl",
            "special_tokens_map.json",
            "vocab.txt",
            "merges.txt",
            "vocab.json",
            "added_tokens.json",
            "chat_template.jinja",
            "*.model",
        ),
    ),
    "onnx": Layout(required=(*_MODEL_FOLDER, "parity.json"), optional=("model.onnx.data",)),
    "compressed": Layout(
        required=(*_MODEL_FOLDER, "candidates.json", "candidates.html"), optional=("model.onnx.data",)
    ),
    "report": Layout(required=("report.json", "report.html", "summary.md", "junit.xml", "flips.csv")),
    "bundle": Layout(
        required=(
            "bento.yaml",
            "src/service.py",
            "src/model/model.onnx",
            "src/model/tokenizer.json",
            "src/model/signature.json",
            "src/model/drift_reference.npz",
            "src/model/report.json",
            "src/model/model_card.md",
            "src/model/sbom.json",
            "env/python/requirements.txt",
        ),
        optional=("*",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A sealed folder: what it is, where it stands, and how it was made.

    Attributes:
        kind: one of ``Kind``.
        path: the folder.
        digest: sha256 over the sorted (relative path, sha256) of its files. No clock and no absolute path goes
            into it, so the same content has the same digest on every machine.
        made_by: stage and version, as ``train@1``.
        made_from: digests of the artifacts that were read, so that lineage is a walk.
        key: sha256 over everything that decides the content (see ``stage.py``); equal key, nothing to do.
        settings: the recipe sections that were read, defaults filled in.
        facts: what the stage measured or chose.
        files: relative path -> sha256.
    """

    kind: Kind
    path: Path
    digest: str
    made_by: str
    made_from: tuple[str, ...] = ()
    key: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Fact] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def file(self, name: str) -> Path:
        """The path of one of the artifact's files.

        Raises:
            ArtifactError: there is no such file in the manifest.
        """
        if name not in self.files:
            raise ArtifactError(
                f"{self.path} has no file {name!r}",
                cause="it was made by another version of ftdeploy, or the name is wrong",
                fix=did_you_mean(name, self.files) or "make the artifact again",
            )
        return self.path / name


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, read in pieces, as a hexadecimal string."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def walk_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every regular file below ``folder`` but the manifest, as (relative posix path, path), sorted.

    Python's ``__pycache__`` does not count: serving a bundle writes it beside the service's source.

    Raises:
        ArtifactError: there is a symbolic link, or a name that is not UTF-8.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if "__pycache__" in name.split("/"):
            continue
        if not name.isprintable():
            raise ArtifactError(
                f"{folder} holds a file with an unprintable name, {name!a}",
                cause="it is not UTF-8 or holds control characters; ftdeploy makes no such file",
                fix="remove or rename it",
            )
        if path.is_symlink():
            raise ArtifactError(
                f"{path} is a symbolic link",
                cause="an artifact must hold its own content, or its digest would mean nothing",
                fix="replace the link by the file it points to",
            )
        if path.is_file() and path != folder / MANIFEST:
            yield name, path


def hash_folder(folder: Path) -> tuple[str, dict[str, str]]:
    """The digest of a folder and the sha256 of each file in it: ``(digest, {relative path: sha256})``."""
    files = {name: sha256_file(path) for name, path in walk_files(folder)}
    return digest_of(files), files


def digest_of(files: Mapping[str, str]) -> str:
    """One sha256 over sorted ``relative path, NUL, sha256, newline`` records."""
    joined = "".join(f"{name}\0{files[name]}\n" for name in sorted(files))
    return hashlib.sha256(joined.encode()).hexdigest()


def check_layout(kind: Kind, files: Mapping[str, Path], *, made_by: str) -> None:
    """Hold the files of a folder against the layout of its kind.

    Raises:
        StageContractError: a required file is missing or empty, or a file is not in the layout.
    """
    layout = LAYOUT[kind]
    wrong = [f"{name} is missing" for name in layout.required if name not in files]
    wrong += [f"{name} is empty" for name, path in files.items() if name in layout.required and not path.stat().st_size]
    allowed = (*layout.required, *layout.optional)
    wrong += [f"{name} is not part of the layout" for name in files if not any(fnmatch(name, p) for p in allowed)]
    if wrong:
        raise StageContractError(
            f"{made_by} did not write a {kind} artifact: {'; '.join(wrong)}",
            cause="the stage's code and LAYOUT in ftdeploy/artifact.py disagree",
            fix="report this as a bug of ftdeploy; nothing was kept of the stage's output",
        )


def _check_facts(facts: Mapping[str, Fact], *, made_by: str) -> None:
    odd = {name: value for name, value in facts.items() if not isinstance(value, (str, int, float))}
    odd |= {name: value for name, value in facts.items() if isinstance(value, float) and not math.isfinite(value)}
    if odd:
        raise StageContractError(
            f"{made_by} returned facts that no manifest can hold: {odd}",
            cause="facts are finite numbers, truth values and texts",
            fix="report this as a bug of ftdeploy; nothing was kept of the stage's output",
        )


def _canonical(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def seal(folder: Path, *, target: Path, kind: Kind, made_by: str, made_from: tuple[str, ...], key: str,
         settings: Mapping[str, Any], facts: Mapping[str, Fact]) -> Artifact:  # fmt: skip
    """Turn a finished folder into the artifact ``target``: check, fsync, write the manifest last, rename.

    An older artifact at ``target`` is replaced; a crash between the two renames is mended by `recover`.

    Raises:
        StageContractError: the folder does not fit the layout of ``kind``, or a fact is not a plain value.
        OSError: the disk refused; ``target`` is then as it was before.
    """
    check_layout(kind, dict(walk_files(folder)), made_by=made_by)
    _check_facts(facts, made_by=made_by)
    digest, files = hash_folder(folder)
    for name in files:
        fsync(folder / name)
    for below in {folder / parent for name in files for parent in Path(name).parents}:
        fsync(below)
    body = {
        "format": FORMAT,
        "kind": kind,
        "digest": digest,
        "made_by": made_by,
        "made_from": list(made_from),
        "key": key,
        "settings": settings,
        "facts": dict(facts),
        "files": files,
    }
    sealed = body | {"seal": hashlib.sha256(_canonical(body)).hexdigest()}
    with (folder / MANIFEST).open("wb") as handle:
        handle.write(_canonical(sealed))
        handle.flush()
        os.fsync(handle.fileno())
    fsync(folder)
    if target.exists():
        if _old(target).exists():
            shutil.rmtree(_old(target))
        target.rename(_old(target))
    folder.rename(target)
    fsync(target.parent)
    shutil.rmtree(_old(target), ignore_errors=True)
    return open_artifact(target, kind=kind, check_content=False)


def recover(target: Path) -> None:
    """Undo a replacement that a crash cut in half: the old artifact goes back to its place."""
    old = _old(target)
    if not old.exists():
        return
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(target)


def _old(target: Path) -> Path:
    return target.with_name(target.name + ".old")


def fsync(path: Path) -> None:
    """Have a file or a folder on the disk before going on.

    Raises:
        OSError: the disk refused.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems (FUSE, a few network mounts) have no fsync for folders. A full or broken disk reports
        # itself here too, and that must not pass.
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def no_artifact(path: Path) -> ArtifactError:
    """The error for a path at which there is no manifest: nothing, a run's folder, or something else."""
    if not path.exists():
        return ArtifactError(
            f"{path} does not exist",
            cause="the path is wrong, or the run ended before it made this",
            fix="name a folder that `ftdeploy run` made, as runs/NAME/bundle",
        )
    inside = [kind for kind in LAYOUT if (path / kind / MANIFEST).is_file()]
    if inside:
        return ArtifactError(
            f"{path} is not an artifact: it is the folder of a run",
            cause=f"one of the artifacts in it is wanted: {', '.join(inside)}",
            fix=f"name it, as {path / inside[-1]}",
        )
    return ArtifactError(
        f"{path} is not an artifact: it has no {MANIFEST}",
        cause="the folder was not made by ftdeploy, or it was copied without its manifest",
        fix="name a folder that `ftdeploy run` made, or move this one away and run again",
    )


def open_artifact(path: Path, *, kind: Kind | None = None, check_content: bool = True) -> Artifact:
    """Read and check an artifact.

    Args:
        path: the artifact's folder.
        kind: the kind that is expected; None accepts every kind.
        check_content: hash every file and compare; without it only the manifest itself is checked.

    Raises:
        ArtifactError: no manifest, a manifest that was changed, a missing, changed or additional file, or
            another kind.
    """
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise no_artifact(path)
    body = _read_manifest(manifest)
    found = cast("Kind", body["kind"])
    if kind is not None and found != kind:
        raise ArtifactError(
            f"{path} is a {found} artifact, and a {kind} is wanted",
            cause="the wrong folder was named",
            fix=f"name the {kind} folder of the same run",
        )
    artifact = Artifact(
        kind=found,
        path=path,
        digest=body["digest"],
        made_by=body["made_by"],
        made_from=tuple(body["made_from"]),
        key=body["key"],
        settings=body["settings"],
        facts=body["facts"],
        files=body["files"],
    )
    if check_content:
        verify(artifact)
    return artifact


def _read_manifest(manifest: Path) -> dict[str, Any]:
    raw = manifest.read_bytes()
    try:
        body: dict[str, Any] = json.loads(raw)
        stated = body.pop("seal")
        intact = _canonical(body | {"seal": stated}) == raw
        intact = intact and hashlib.sha256(_canonical(body)).hexdigest() == stated
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise ArtifactError(
            f"{manifest} was changed or damaged after it was sealed",
            cause="an edit by hand, a merge, or a fault of the disk",
            fix=f"restore the file, or remove {manifest.parent} and run again to make it anew",
        )
    if body["format"] != FORMAT or body["kind"] not in get_args(Kind):
        raise ArtifactError(
            f"{manifest} has format {body['format']} and kind {body['kind']!r}; this ftdeploy reads format {FORMAT}",
            cause="it was made by another version of ftdeploy",
            fix=f"use that version, or remove {manifest.parent} and run again",
        )
    return body


def verify(artifact: Artifact) -> None:
    """Compare every file of an artifact with its manifest.

    Raises:
        ArtifactError: names each file that is missing, changed or additional.
    """
    _, now = hash_folder(artifact.path)
    wrong = [f"{name} is missing" for name in artifact.files if name not in now]
    wrong += [f"{name} was changed" for name, sha in now.items() if artifact.files.get(name, sha) != sha]
    wrong += [f"{name} was added" for name in now if name not in artifact.files]
    if not wrong and digest_of(now) != artifact.digest:
        wrong = ["the digest does not belong to the listed files"]
    if wrong:
        raise ArtifactError(
            f"{artifact.path} is not as it was sealed: {'; '.join(sorted(wrong))}",
            cause="it was edited by hand, only partly copied, or the disk is at fault",
            fix=f"restore it, or remove {artifact.path} and run again to make it anew",
        )
