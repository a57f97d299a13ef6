"""The contract of a stage, kept by the framework and not by the author.

A stage is one public function. Its positional parameters are the artifacts that it reads, its keyword-only
parameters are the recipe sections that it reads, and ``out`` (and ``work``, where it can resume) are the folders
that it writes::

    @stage(writes="onnx", version=1, libraries=("torch", "optimum"))
    def export(checkpoint: Artifact, dataset: Artifact, *, export: ExportSettings, out: Path) -> Facts: ...

`run_stage` checks the inputs, writes into ``<target>.partial``, holds the result against the layout, and makes the
artifact real with one rename. Equal key, nothing to do. A crash leaves the whole artifact or none.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast, get_args

from ftdeploy.artifact import Artifact, Fact, Kind, open_artifact, recover, seal, verify
from ftdeploy.errors import ArtifactError, FtdeployError, StageContractError, StorageError
from ftdeploy.recipe import Recipe, dump_section

Facts = Mapping[str, Fact]
Body = Callable[..., Facts]

_FOLDERS = frozenset({"out", "work"})
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_NO_ROOM = 64 * 1024  # bytes


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage as the framework sees it.

    Attributes:
        name: the function's name.
        writes: the kind of the artifact that it makes.
        version: raised when the same inputs would give another result.
        reads: kinds of the artifacts that it reads, in order.
        sections: recipe sections that it reads.
        resumes: it takes ``work``, a folder that survives a crash as long as the key stays the same.
        libraries: distributions whose version belongs to the key.
        outside: what lies outside recipe and artifacts but decides the result (a file's sha256, the device).
        body: the function.
        before: asked when there is work to do, before it begins: raises what is known beforehand to fail, also in
            later stages whose sections must not be in this stage's key.
    """

    name: str
    writes: Kind
    version: int
    reads: tuple[Kind, ...]
    sections: tuple[str, ...]
    resumes: bool
    libraries: tuple[str, ...]
    outside: Callable[[Recipe], Mapping[str, str]] | None
    body: Body
    before: Callable[[Recipe], None] | None = None

    @property
    def made_by(self) -> str:
        """Name and version, as it stands in the manifest."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `run_stage` did: the artifact, and whether it was there already."""

    artifact: Artifact
    skipped: bool


def stage(*, writes: Kind, version: int, libraries: tuple[str, ...] = (),
          outside: Callable[[Recipe], Mapping[str, str]] | None = None,
          before: Callable[[Recipe], None] | None = None) -> Callable[[Body], Stage]:  # fmt: skip
    """Declare a stage from a function; its parameters say what it reads.

    Raises:
        StageContractError: a parameter is neither a kind of artifact, a recipe section, ``out`` nor ``work``.
    """

    def declare(body: Body) -> Stage:
        parameters = inspect.signature(body).parameters.values()
        reads = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        keywords = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        sections = [name for name in keywords if name not in _FOLDERS]
        unknown = [name for name in reads if name not in get_args(Kind)]
        unknown += [name for name in sections if name not in Recipe.model_fields]
        if unknown or "out" not in keywords:
            wrong = f"nobody can supply {', '.join(unknown)}" if unknown else "it has no `out`"
            raise StageContractError(
                f"stage {body.__name__}: {wrong}",
                cause="positional parameters are kinds of artifacts, keyword-only ones are recipe sections, out, work",
                fix="rename the parameter; ftdeploy/stage.py says the rules",
            )
        return Stage(
            name=body.__name__,
            writes=writes,
            version=version,
            reads=cast("tuple[Kind, ...]", tuple(reads)),
            sections=tuple(sections),
            resumes="work" in keywords,
            libraries=libraries,
            outside=outside,
            body=body,
            before=before,
        )

    return declare


def stage_key(stage: Stage, recipe: Recipe, inputs: Mapping[Kind, Artifact]) -> str:
    """sha256 over everything that decides a stage's result: version, sections, inputs, libraries, the outside."""
    parts = {
        "stage": stage.made_by,
        "sections": _sections(stage, recipe),
        "inputs": {kind: inputs[kind].digest for kind in stage.reads},
        "libraries": {name: _version(name) for name in stage.libraries},
        "outside": dict(stage.outside(recipe)) if stage.outside else {},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def run_stage(stage: Stage, recipe: Recipe, inputs: Mapping[Kind, Artifact], target: Path) -> Outcome:
    """Run one stage, or find that nothing changed.

    Args:
        stage: the stage.
        recipe: the recipe; the stage is handed the sections that it names.
        inputs: an artifact for each kind that the stage reads.
        target: the folder that becomes the artifact.

    Raises:
        ArtifactError: an input or the artifact at ``target`` is not as it was sealed.
        StageContractError: the output does not fit the layout.
        StorageError: the disk refused to write.
        FtdeployError: whatever the stage itself raises.
    """
    recover(target)
    key = stage_key(stage, recipe, inputs)
    if target.exists():
        present = open_artifact(target, kind=stage.writes)
        if present.key == key:
            return Outcome(artifact=present, skipped=True)
    for kind in stage.reads:
        _check_input(stage, kind, inputs[kind])
    if stage.before:
        stage.before(recipe)

    partial = target.with_name(target.name + ".partial")
    work = target.with_name(target.name + ".work")
    try:
        _fresh_folder(partial)
        arguments: dict[str, Any] = {name: getattr(recipe, name) for name in stage.sections}
        arguments["out"] = partial
        if stage.resumes:
            arguments["work"] = _work_folder(work, key)
        facts = stage.body(**{str(kind): inputs[kind] for kind in stage.reads}, **arguments)
        artifact = seal(
            partial,
            target=target,
            kind=stage.writes,
            made_by=stage.made_by,
            made_from=tuple(inputs[kind].digest for kind in stage.reads),
            key=key,
            settings=_sections(stage, recipe),
            facts=facts,
        )
    except FtdeployError:
        raise
    except Exception as error:
        if not out_of_space(target.parent, error):
            raise
        raise StorageError(
            f"{stage.name} could not write below {target.parent}: {getattr(error, 'strerror', None) or error}",
            cause="the disk or the quota is full, or the file system is read-only",
            fix=f"free space (`df -h {target.parent}`) and run again; finished stages are kept",
        ) from error
    finally:
        # Only the success path has renamed it away; on any failure nothing half-made may stay.
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    return Outcome(artifact=artifact, skipped=False)


def out_of_space(folder: Path, error: BaseException | None = None) -> bool:
    """Whether a failure is the disk's: the error says so, or there is no room left.

    torch and safetensors raise classes of their own when the disk is full, some without saying why.

    Args:
        folder: an existing folder on that disk.
        error: what was raised, if anything was.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OUT_OF_SPACE:
            return True
        if any(os.strerror(number) in str(error) for number in _OUT_OF_SPACE[:3]):
            return True
        error = error.__cause__ or error.__context__
    return shutil.disk_usage(folder).free < _NO_ROOM


def _sections(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    return {name.removesuffix("_"): dump_section(getattr(recipe, name)) for name in stage.sections}


def _check_input(stage: Stage, kind: Kind, artifact: Artifact) -> None:
    if artifact.kind != kind:
        raise ArtifactError(
            f"{stage.name} reads a {kind} artifact and was given {artifact.path}, a {artifact.kind}",
            cause="the wrong folder was passed",
            fix=f"pass the {kind} of the same run",
        )
    verify(artifact)


def _fresh_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _work_folder(work: Path, key: str) -> Path:
    """The folder a crashed attempt left behind, if it was an attempt at this very key; else an empty one."""
    note = work / "key"
    if not (note.is_file() and note.read_text(encoding="utf-8") == key):
        _fresh_folder(work)
        note.write_text(key, encoding="utf-8")
    return work


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "absent"
