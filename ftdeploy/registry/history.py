"""The history of a registry: a file of lines that is only ever added to, and what it says of the champions."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from ftdeploy.artifact import fsync
from ftdeploy.errors import ArtifactError

Action = Literal["enter", "promote", "rollback", "shadow", "found", "remove"]


class RegistryError(ArtifactError):
    """A registry has no such version, no champion before this one, or is damaged."""

    title = "The registry cannot do that"


@dataclass(frozen=True, kw_only=True)
class Event:
    """A line of the history.

    Attributes:
        time: when, UTC.
        action: ``enter`` a version came; ``promote``, ``rollback`` another champion; ``shadow`` another challenger;
            ``found`` the champion was another one than was written down; ``remove`` a version's folder was deleted.
        digest: the version that it is about; empty for no challenger any more.
        before: the champion (or challenger) until then; None when there was none.
        why: in words.
    """

    time: datetime
    action: Action
    digest: str
    before: str | None
    why: str

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self) | {"time": self.time.isoformat()}


_EVENT = TypeAdapter(Event)


def read_history(path: Path) -> tuple[Event, ...]:
    """The events, oldest first; a line that a crash cut off is left out.

    Raises:
        RegistryError: the file is damaged.
    """
    found = []
    for number, line in enumerate(_whole_lines(path).splitlines(), 1):
        try:
            found.append(_EVENT.validate_json(line))
        except ValidationError as error:
            raise damaged(path, f"line {number} is none that was written there") from error
    return tuple(found)


def append(path: Path, action: Action, digest: str, *, before: str | None, why: str) -> None:
    """Add an event, on the disk when this returns. Whoever calls holds the registry's lock.

    Raises:
        OSError: the disk refuses.
    """
    event = Event(time=datetime.now(UTC).replace(microsecond=0), action=action, digest=digest, before=before, why=why)
    whole = len(_whole_lines(path))
    with path.open("ab") as handle:
        handle.truncate(whole)  # what a crash cut off would spoil this line, too
        handle.write(json.dumps(event.as_dict(), ensure_ascii=False).encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    fsync(path.parent)


def reigns(history: Sequence[Event]) -> tuple[str, ...]:
    """The champions that rollbacks go back through, the present one last.

    A promotion comes on top, a rollback takes the last one away. Where the pointer was found to be another than was
    written down, the step before is undone if it leads to what was before that, else somebody has set it by hand.
    """
    now: tuple[str, ...] = ()
    before = now
    for event in history:
        after = {
            "promote": (*now, event.digest),
            "rollback": now[:-1],
            "found": before if before[-1:] == (event.digest,) or not event.digest else (*now, event.digest),
        }.get(event.action)
        if after is not None:
            now, before = after, now
    return now


def damaged(path: Path, why: str) -> RegistryError:
    """The error of a file or a pointer that no step of ours has left like that."""
    return RegistryError(
        f"{path} is damaged: {why}",
        cause="it was changed by hand, or only partly copied",
        fix="take it from a backup; a pointer can be set anew: ln -s versions/VERSION next && mv -T next champion",
    )


def _whole_lines(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]
