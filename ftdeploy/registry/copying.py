"""A run's folder, copied into a registry: of one piece, on the disk, and as it was sealed."""

from __future__ import annotations

import shutil
from pathlib import Path

from ftdeploy.artifact import Kind, fsync, open_artifact
from ftdeploy.errors import ArtifactError
from ftdeploy.run_folder import kinds_in, lineage

#: The page of a run.
_PAGE = "index.html"


def copy_run(run: Path, target: Path) -> None:
    """Copy a bundle and what it was made of, as far as it is there, and hold each copy against its manifest.

    Args:
        run: a finished run's folder.
        target: an empty folder.

    Raises:
        ArtifactError: an artifact is not as it was sealed, or the bundle was not made of it.
        OSError: the disk refuses.
    """
    for kind in _of_one_piece(run):
        _copy(run / kind, target / kind)
        open_artifact(target / kind, kind=kind)
    if (run / _PAGE).is_file():
        _copy_file(run / _PAGE, target / _PAGE)


def _of_one_piece(run: Path) -> list[Kind]:
    """The kinds of artifacts in a run, each of which the bundle was made of, by whatever way.

    Raises:
        ArtifactError: one is of another run than the bundle.
    """
    parts = {kind: open_artifact(run / kind, kind=kind, check_content=False) for kind in kinds_in(run)}
    whole = lineage(parts["bundle"], parts.values())
    odd = [kind for kind, part in parts.items() if part.digest not in whole]
    if odd:
        raise ArtifactError(
            f"the bundle in {run} was not made of the {' and the '.join(odd)} beside it",
            cause="the run went on after the bundle was made, and did not end",
            fix="run the recipe to its end, and enter it then",
        )
    return list(parts)


def _copy(source: Path, target: Path) -> None:
    """Copy an artifact, on the disk when this returns; Python's caches are no part of it."""
    shutil.copytree(source, target, copy_function=_copy_file, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        fsync(folder)


def _copy_file(source: str | Path, target: str | Path) -> None:
    # A copy and no hard link: what is changed in the run's folder by hand must not change here.
    shutil.copyfile(source, target)
    fsync(Path(target))
