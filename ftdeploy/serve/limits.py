"""The limits of the HTTP service: from the bundle's signature, each changeable by an environment variable."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from ftdeploy.errors import ServeError, refuse_unknown
from ftdeploy.web_origins import wrong_origin

PREFIX = "FTDEPLOY_"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one worker process accepts, and how it uses the machine.

    Attributes:
        max_body_bytes: a larger request body is refused with 413.
        max_texts: more texts in one request are refused with 413.
        max_chars: a longer text is refused with 413.
        max_queue: texts that wait for the tokenizer or the model; more are refused with 429.
        max_wait_seconds: a request that would wait longer for the model, at the pace of late, is refused at once with
            429; what the lanes can begin at once is always taken.
        max_requests: requests in flight, an eighth of them larger than 64 KiB; more are refused with 429. There may be
            four times as many connections.
        max_bulk: requests of `/predict/bulk` that are open; more are refused with 429.
        timeout_seconds: a request that waits longer for tokenizer and model is answered with 503; a forward pass that
            takes longer turns readiness off until it comes back.
        body_seconds: a request whose headers, or whose body after them, are not there after so long is refused with
            408.
        drain_seconds: after SIGTERM, how long questions that were on their way are still taken.
        batch_tokens: budget of padded tokens in one forward pass.
        batch_rows: most rows in one forward pass.
        batch_call_tokens: what a forward pass costs beside its tokens, in tokens: the more, the more rows share one
            (`ftdeploy.batching.with_oldest`).
        threads: threads of ONNX Runtime over all lanes; 0 takes the processors this process may use.
        lanes: forward passes at the same time, on one copy of the weights; 0 takes one for each thread, on a GPU one.
        workers: processes that share the port, threads and lanes under ``ftdeploy serve``; 0 takes one for every eight
            threads, on a GPU one. Every other limit is of one process.
        hang_seconds: a worker that says nothing for so long, or whose forward pass hangs so long after a request would
            have been given up, is killed and replaced by ``ftdeploy serve``.
        cache_rows: answers that are kept for texts that come again; 0 keeps none.
        cors_origins: web pages of these origins may ask from a browser, ``*`` is all; none by default.
    """

    max_body_bytes: int = 2_000_000
    max_texts: int = 256
    max_chars: int = 100_000
    max_queue: int = 1024
    max_wait_seconds: float = 2.0
    max_requests: int = 512
    max_bulk: int = 4
    timeout_seconds: float = 30.0
    body_seconds: float = 10.0
    drain_seconds: float = 0.5
    batch_tokens: int = 2048
    batch_rows: int = 64
    batch_call_tokens: int = 8
    threads: int = 0
    lanes: int = 0
    workers: int = 0
    hang_seconds: float = 10.0
    cache_rows: int = 0
    cors_origins: tuple[str, ...] = ()


_MAY_BE_ZERO = frozenset({"max_bulk", "threads", "lanes", "workers", "drain_seconds", "cache_rows"})

#: Most of any limit: it is as good as none, and still a number that everything here can count with.
_MOST = 1_000_000_000
#: Most of those that threads, processes and the rows of a pass are made for: with more, a service never got ready.
_MOST_OF = {"threads": 1024, "lanes": 1024, "workers": 1024, "batch_rows": 4096}


def read_limits(stated: Mapping[str, float | Sequence[str]], environment: Mapping[str, str] | None = None) -> Limits:
    """The limits in force: defaults, then what the signature states, then `FTDEPLOY_<NAME>` of the environment.

    Args:
        stated: ``signature.serve``.
        environment: None takes ``os.environ``.

    Raises:
        ServeError: a name that is not a limit, a value that is not a number in its range, or an origin that is none.
    """
    environment = os.environ if environment is None else environment
    kinds: dict[str, type[Any]] = {field.name: type(field.default) for field in fields(Limits)}
    refuse_unknown(stated, kinds, what="a limit", error=ServeError)
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        variable = PREFIX + name.upper()
        read = _origins if kind is tuple else partial(_number, name, kind)
        if environment.get(variable, "").strip():
            values[name] = read(environment[variable], variable)
        elif name in stated:
            values[name] = read(stated[name], f"serve.{name} in signature.json")
    return Limits(**values)


def _origins(value: object, where: str) -> tuple[str, ...]:
    listed = value.replace(",", " ").split() if isinstance(value, str) else value
    origins = tuple(map(str, listed)) if isinstance(listed, list | tuple) else (str(listed),)
    for origin in origins:
        if wrong := wrong_origin(origin):
            raise ServeError(
                f"{where} has {origin!r}, which is no origin: {wrong}",
                cause="the address of a page was written, or a typing error",
                fix="write origins such as https://app.example.org, with commas between, or * for all",
            )
    return origins


def _number(name: str, kind: type[int | float], value: object, where: str) -> int | float:
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number is told below
    except (TypeError, ValueError):
        number = math.nan
    whole = kind is float or number.is_integer()
    most = _MOST_OF.get(name, _MOST)
    if not 0 <= number <= most or not whole or (number == 0 and name not in _MAY_BE_ZERO):
        wanted = "a whole number" if kind is int else "a number"
        least = "from 0" if name in _MAY_BE_ZERO else "above 0"
        raise ServeError(
            f"{where} is {value!r}, and {wanted} {least} up to {most} is wanted",
            cause="a typing error, or a unit was written beside the number",
            fix=f"write the bare number, or leave it out: the default is {getattr(Limits, name)}",
        )
    return kind(number)
