"""A run's folder, for those who only look at it: without the stages, whose import takes a second."""

from __future__ import annotations

from pathlib import Path

from ftdeploy.artifact import LAYOUT, MANIFEST, Artifact, Kind, no_artifact, open_artifact
from ftdeploy.errors import ArtifactError


def read_run(out: Path) -> dict[Kind, Artifact]:
    """The artifacts that stand in a run's folder, contents checked, in the order of the stages.

    Args:
        out: the folder.

    Raises:
        ArtifactError: there are none, or one is not as it was sealed.
    """
    kinds = [kind for kind in LAYOUT if (out / kind / MANIFEST).is_file()]
    found = {kind: open_artifact(out / kind, kind=kind) for kind in kinds}
    if not out.exists():
        raise no_artifact(out)
    if not found:
        raise ArtifactError(
            f"{out} holds no artifacts",
            cause="it is not a folder of `ftdeploy run`, or the run failed in its first stage",
            fix="name the folder that was given with --out (by default runs/NAME)",
        )
    return found
