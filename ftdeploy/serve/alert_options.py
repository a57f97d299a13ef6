"""Whom a service tells of a drift: from the bundle's signature, each changeable by an environment variable."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftdeploy.errors import ServeError, refuse_unknown
from ftdeploy.web_origins import wrong_webhook

PREFIX = "FTDEPLOY_ALERT_"
#: Only of the environment: a bundle travels, and what is in it can be read.
TOKEN, TOKEN_FILE = f"{PREFIX}TOKEN", f"{PREFIX}TOKEN_FILE"


@dataclass(frozen=True, kw_only=True)
class AlertOptions:
    """What is done about a drift (the recipe's ``monitor.alerts``).

    Attributes:
        command: program and arguments that get the alert as JSON on standard input; empty runs none.
        webhook: URL that it is posted to; empty posts it nowhere. May be secret, and is never logged.
        log: whether it is a line of the log.
        cooldown_seconds: a detector's next alert comes so much later than its last one, at the earliest.
        clear_seconds: a drift is over when its detector had no alarm for so long.
        timeout_seconds: a hook that takes longer is given up, and the command's processes are killed.
        token: bearer key for the webhook, of `FTDEPLOY_ALERT_TOKEN` or the file of `FTDEPLOY_ALERT_TOKEN_FILE`.
    """

    command: tuple[str, ...] = ()
    webhook: str = field(default="", repr=False)
    log: bool = True
    cooldown_seconds: float = 3600.0
    clear_seconds: float = 600.0
    timeout_seconds: float = 10.0
    token: str = field(default="", repr=False)


_KINDS = {"command": "command", "webhook": "url", "log": "flag", "cooldown_seconds": "seconds",
          "clear_seconds": "seconds", "timeout_seconds": "seconds"}  # fmt: skip


def read_alert_options(stated: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> AlertOptions:
    """The options in force: defaults, then what the signature states, then `FTDEPLOY_ALERT_<NAME>`.

    Args:
        stated: ``signature.alerts``.
        environment: None takes ``os.environ``.

    Raises:
        ServeError: a name that is not an option, or a value that is none.
    """
    environment = os.environ if environment is None else environment
    refuse_unknown(stated, _KINDS, what="an alert option", error=ServeError)
    values: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        variable = PREFIX + name.upper()
        if environment.get(variable, "").strip():
            values[name] = _read(kind, environment[variable].strip(), variable)
        elif name in stated:
            values[name] = _read(kind, stated[name], f"monitor.alerts.{name}")
    return AlertOptions(**values, token=_token(environment))


def _read(kind: str, value: object, where: str) -> object:
    if kind == "command":
        return _command(value, where)
    if kind == "url":
        wrong = wrong_webhook(str(value)) if value else None
        if wrong:
            raise ServeError(f"{where} is no webhook", cause=wrong, fix="write the whole URL, or leave it out")
        return str(value)
    if kind == "flag":
        words = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
        found = words.get(str(value).lower())
        if found is None:
            raise ServeError(f"{where} is {value!r}", cause="on or off is wanted", fix="write on or off")
        return found
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:  # noqa: PLR2004  # some thirty years
        raise ServeError(f"{where} is {value!r}", cause="seconds are wanted, more than 0", fix="write a bare number")
    return seconds


def _command(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, str):
        return tuple(map(str, value)) if isinstance(value, Sequence) else (str(value),)
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ServeError(
            f"{where} cannot be split into words: {error}",
            cause="a quote is not closed",
            fix="quote as a shell would; none reads it",
        ) from error


def _token(environment: Mapping[str, str]) -> str:
    stated, named = environment.get(TOKEN, "").strip(), environment.get(TOKEN_FILE, "").strip()
    if stated and named:
        raise ServeError(
            f"{TOKEN} and {TOKEN_FILE} are both set", cause="one key is wanted", fix="take one of them out"
        )
    try:
        token = Path(named).expanduser().read_text(encoding="utf-8").strip() if named else stated
    except (OSError, ValueError) as error:
        raise ServeError(
            f"the file that {TOKEN_FILE} names cannot be read",
            cause=type(error).__name__,
            fix="name a readable file that holds the key alone",
        ) from error
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ServeError("the key of the webhook is none", cause="it has spaces or odd characters", fix="write it anew")
    return token
