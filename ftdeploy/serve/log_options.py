"""What the service logs: by environment variables, and which answered requests its access log takes."""

from __future__ import annotations

import logging
import math
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftdeploy.errors import ServeError, did_you_mean

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("auto", "json", "text")
ACCESS = ("off", "slow", "all")
#: Methods as they are written; a client may type anything.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAILED = 500

access = logging.getLogger("ftdeploy.access")


@dataclass(frozen=True, kw_only=True)
class LogOptions:
    """What is logged.

    Attributes:
        level: `FTDEPLOY_LOG_LEVEL`: debug, info, warning or error.
        format: `FTDEPLOY_LOG_FORMAT`: json, text, or auto, which is text on a terminal.
        share: of the answered requests in the access log, 0 to 1.
        slow: requests that took `slow_seconds`, or failed with 5xx, are in the access log whatever the share.
        slow_seconds: `FTDEPLOY_SLOW_SECONDS`.

    `FTDEPLOY_ACCESS_LOG` sets share and slow: ``off``, ``slow``, ``all``, or a share such as ``0.01``, which takes the
    slow ones as well.
    """

    level: str = "info"
    format: str = "auto"
    share: float = 0.0
    slow: bool = False
    slow_seconds: float = 1.0

    @property
    def number(self) -> int:
        """The level as `logging` counts."""
        return LEVELS[self.level]


def read_log_options(environment: Mapping[str, str] | None = None) -> LogOptions:
    """The options that the environment states.

    Args:
        environment: None takes ``os.environ``.

    Raises:
        ServeError: a value that is none of those there are.
    """
    environment = os.environ if environment is None else environment
    stated = {name: environment.get(f"FTDEPLOY_{name}", "").strip().lower() for name in
              ("LOG_LEVEL", "LOG_FORMAT", "ACCESS_LOG", "SLOW_SECONDS")}  # fmt: skip
    share, slow = _access(stated["ACCESS_LOG"] or "off")
    return LogOptions(
        level=_one_of("LOG_LEVEL", stated["LOG_LEVEL"] or LogOptions.level, tuple(LEVELS)),
        format=_one_of("LOG_FORMAT", stated["LOG_FORMAT"] or LogOptions.format, FORMATS),
        share=share,
        slow=slow,
        slow_seconds=_number("SLOW_SECONDS", stated["SLOW_SECONDS"] or str(LogOptions.slow_seconds), most=math.inf),
    )


class AccessLog:
    """Writes answered requests to the log, as far as the options want them.

    Args:
        options: which.
    """

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._chance = random.Random()  # noqa: S311  # which requests are sampled is no secret

    def note(self, route: str, method: str, status: int, seconds: float, request_id: str) -> None:
        """Take note of one answered request.

        Args:
            route: its fixed name, never what the client typed.
            method: as the client typed it.
            status: HTTP status.
            seconds: from the request's headers to the end of its answer.
            request_id: fit for a log; empty when it has none.
        """
        options = self._options
        slow = options.slow and (seconds >= options.slow_seconds or status >= _FAILED)
        if not slow and self._chance.random() >= options.share:
            return
        method = method if method in _METHODS else "OTHER"
        fields: dict[str, Any] = {"route": route, "method": method, "status": status, "seconds": round(seconds, 6)}
        if request_id:
            fields["request_id"] = request_id
        access.info("%s %s %d %.1f ms %s", method, route, status, seconds * 1000, request_id, extra=fields)


def _access(stated: str) -> tuple[float, bool]:
    if stated in ACCESS:
        return float(stated == "all"), stated == "slow"
    if not stated[0].isdigit() and stated[0] != ".":
        _one_of("ACCESS_LOG", stated, ACCESS)
    return _number("ACCESS_LOG", stated, most=1), True


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ServeError(
            f"FTDEPLOY_{name} is {value!r}; there are {', '.join(known)}",
            cause="a typing error",
            fix=did_you_mean(value, known) or f"write one of {', '.join(known)}, or leave it out",
        )
    return value


def _number(name: str, value: str, *, most: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number <= most or math.isinf(number):
        raise ServeError(
            f"FTDEPLOY_{name} is {value!r}, and a number of 0 {'or more' if math.isinf(most) else 'to 1'} is wanted",
            cause="a typing error, or a unit was written beside the number",
            fix="write the bare number, or leave it out",
        )
    return number
