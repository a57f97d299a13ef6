"""What came of an update: written last, so that where it stands nothing is left to do but to promote."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from ftdeploy.document import Section
from ftdeploy.errors import ArtifactError
from ftdeploy.files import write_json
from ftdeploy.verdict import Overall, Report

M = TypeVar("M", bound=Section)
BEGUN, OUTCOME = "begun.json", "outcome.json"


class Begun(Section):
    """What an update is made of, as ``begun.json`` in its folder holds it."""

    format: Literal[1] = 1
    """Version of this format."""
    champion: str
    """The version that is to be beaten."""
    settings: str
    """sha256 over the champion's recipe, overrides applied."""
    rows: int = Field(ge=0)
    """New labelled rows."""
    digest: str
    """sha256 over their texts and labels."""


class Outcome(Section):
    """One update, as ``outcome.json`` in its folder holds it."""

    format: Literal[1] = 1
    """Version of this format."""
    verdict: Overall
    """Of the gates; anything but `pass` promotes nothing."""
    begun: Begun
    """What it was made of."""
    version: str | None
    """The challenger's; None where the gates of its own run did not pass, so that there is no bundle."""
    splits: Mapping[str, int]
    """New rows in each split of the challenger's dataset."""
    report: str
    """Folder of the report, relative to the registry's."""
    gates: Mapping[str, str]
    """Gate -> its verdict."""


def write_begun(folder: Path, begun: Begun) -> None:
    """Write ``begun.json``, whole or not at all."""
    write_json(folder / BEGUN, begun.model_dump(mode="json"))


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write ``outcome.json``, whole or not at all."""
    write_json(folder / OUTCOME, outcome.model_dump(mode="json"))


def read_begun(folder: Path) -> Begun | None:
    """What the update in a folder is made of; None where there is none.

    Raises:
        ArtifactError: the file is damaged.
    """
    return _read(Begun, folder / BEGUN)


def read_outcome(folder: Path) -> Outcome | None:
    """What came of the update in a folder; None while it is not finished.

    Raises:
        ArtifactError: the file is damaged.
    """
    return _read(Outcome, folder / OUTCOME)


def updates_below(folder: Path) -> Iterator[tuple[Path, Begun, Outcome | None]]:
    """Each update that was begun, with what came of it; None while it is not finished.

    Raises:
        ArtifactError: a file is damaged.
    """
    for path in sorted(folder.glob("*")):
        begun = read_begun(path)
        if begun is not None:
            yield path, begun, read_outcome(path)


def gate_verdicts(report: Report) -> dict[str, str]:
    """Gate -> its verdict, as people name it: with the case that it judged."""
    return {f"{gate.case}: {gate.name}" if gate.case else gate.name: gate.verdict for gate in report.gates}


def _read(model: type[M], path: Path) -> M | None:
    try:
        return model.model_validate(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, ValidationError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {str(error).splitlines()[0]}",
            cause="it was changed by hand, or made by another version of ftdeploy",
            fix=f"remove {path.parent}; the next update makes it again",
        ) from error
