"""What is recorded of the traffic: from the bundle's signature, as the recipe's ``monitor.traffic`` says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

from ftdeploy.errors import ServeError, did_you_mean, refuse_unknown
from ftdeploy.serve.segments import Fsync


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """What is recorded (the recipe's ``monitor.traffic``).

    Attributes:
        enabled: record at all.
        sample: share of the requests that is recorded.
        segment_rows: a segment is sealed after so many rows...
        segment_seconds: ...or when it is so old.
        max_bytes: the oldest sealed segments go when all together are larger.
        max_days: sealed segments that were begun so long ago go.
        text: keep the texts.
        redact: mask the identifiers of people in them first.
        fsync: when to wait for the disk: ``never``, at the ``seal`` of a segment, or ``always``.
    """

    enabled: bool = True
    sample: float = 1.0
    segment_rows: int = 10_000
    segment_seconds: float = 3600.0
    max_bytes: int = 200_000_000
    max_days: float = 30.0
    text: bool = False
    redact: bool = False
    fsync: Fsync = "seal"


def read_options(stated: Mapping[str, float | bool | str]) -> TrafficOptions:
    """Options from ``signature.traffic``.

    Raises:
        ServeError: a name that is not an option, or a policy that is none.
    """
    known: dict[str, type[bool | int | float | str]] = {
        name: type(value) for name, value in asdict(TrafficOptions()).items()
    }
    refuse_unknown(stated, known, what="a traffic option", error=ServeError)
    if (policy := stated.get("fsync", "seal")) not in get_args(Fsync):
        raise ServeError(
            f"signature.json states the traffic option fsync as {policy!r}",
            cause="the bundle was made by another version of ftdeploy, or edited by hand",
            fix=did_you_mean(str(policy), get_args(Fsync)),
        )
    return TrafficOptions(**{name: known[name](value) for name, value in stated.items()})  # type: ignore[arg-type]  # each of its option's kind


def traffic_folder(source: Path) -> Path | None:
    """Where segments go: `FTDEPLOY_TRAFFIC` (``off`` is nowhere), else ``traffic`` beside the bundle.

    Args:
        source: the bundle's ``src`` folder.
    """
    named = os.environ.get("FTDEPLOY_TRAFFIC", "").strip()
    if named.lower() == "off":
        return None
    return Path(named).expanduser() if named else source.resolve().parent.parent / "traffic"
