"""A run's folder, for those who only look at it: without the stages, whose import takes a second."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ftdeploy.artifact import LAYOUT, MANIFEST, Artifact, Kind, no_artifact, open_artifact
from ftdeploy.errors import ArtifactError


def read_run(out: Path) -> dict[Kind, Artifact]:
    """The artifacts that stand in a run's folder, contents checked, in the order of the stages.

    Args:
        out: the folder.

    Raises:
        ArtifactError: there are none, or some are not as they were sealed; names each.
    """
    kinds = kinds_in(out)
    found: dict[Kind, Artifact] = {}
    damaged: list[ArtifactError] = []
    for kind in kinds:
        try:
            found[kind] = open_artifact(out / kind, kind=kind)
        except ArtifactError as error:
            damaged.append(error)
    if len(damaged) == 1:
        raise damaged[0]
    if damaged:
        raise ArtifactError(
            f"{len(damaged)} of {len(kinds)} artifacts in {out} are not as they were sealed:\n"
            + "\n".join(f"  {error.what}" for error in damaged),
            cause="they were edited by hand, only partly copied, or the disk is at fault",
            fix="restore them, or remove these folders and run again to make them anew",
        )
    if not out.exists():
        raise no_artifact(out)
    if not found:
        raise ArtifactError(
            f"{out} holds no artifacts",
            cause="it is not a folder of `ftdeploy run`, or the run failed in its first stage",
            fix="name the folder that was given with --out (by default runs/NAME)",
        )
    return found


def kinds_in(out: Path) -> list[Kind]:
    """The artifacts that stand in a run's folder, in the order in which they are made."""
    return [kind for kind in LAYOUT if (out / kind / MANIFEST).is_file()]


def lineage(artifact: Artifact, parts: Iterable[Artifact]) -> set[str]:
    """Digests of an artifact and of all that it was made of, by whatever way.

    Args:
        artifact: where it begins.
        parts: artifacts of its run; where one in between is missing, what only that was made of is not found.
    """
    made_from = {part.digest: part.made_from for part in (*parts, artifact)}
    found: set[str] = set()
    todo = [artifact.digest]
    while todo:
        digest = todo.pop()
        if digest not in found:
            found.add(digest)
            todo += made_from.get(digest, ())
    return found
