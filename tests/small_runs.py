"""Runs that are sealed as they should be and hold nothing that works: for tests of what moves them about."""

from __future__ import annotations

import json
from pathlib import Path

from ftdeploy.artifact import LAYOUT, Artifact, Kind, seal

CHAIN: tuple[Kind, ...] = ("dataset", "checkpoint", "compressed", "report", "bundle")


def write_run(folder: Path, mark: str, kinds: tuple[Kind, ...] = ("bundle",)) -> Path:
    """A run with artifacts of some kinds, each made of the one before.

    Args:
        folder: of the run.
        mark: stands in every file; another one gives other digests.
        kinds: in the order in which they are made.
    """
    last: tuple[str, ...] = ()
    for kind in kinds:
        last = (write_artifact(folder, kind, mark, last).digest,)
    return folder


def write_artifact(run: Path, kind: Kind, mark: str, made_from: tuple[str, ...],
                   signature: object = None) -> Artifact:  # fmt: skip
    """An artifact of a run, in the place of an earlier one; a bundle states a signature where one is given."""
    made = run / f"{kind}.made"
    for name in LAYOUT[kind].required:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(f"{name} {mark}\n", encoding="utf-8")
    if signature is not None:
        (made / "src" / "model" / "signature.json").write_text(json.dumps(signature), encoding="utf-8")
    return seal(made, target=run / kind, kind=kind, made_by=f"{kind}@1", made_from=made_from, key="", settings={},
                facts={})  # fmt: skip
