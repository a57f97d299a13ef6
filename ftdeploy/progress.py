"""How long work shows itself without the library printing anything.

A stage says ``with progress.task("train", total=900) as advance: ...``; whoever runs it (the command line, a
notebook, a test) decides what is shown by installing a `Reporter`. The default shows nothing.

Training also announces each of its evaluations (`evaluated`), so that whoever listens can watch the metrics, or end a
training that leads nowhere by raising an exception of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

Advance = Callable[[float], None]


class Reporter(Protocol):
    """Shows the progress of work that takes long."""

    def task(self, name: str, total: float | None) -> AbstractContextManager[Advance]:
        """Begin to show ``name``; the callable that is yielded adds the steps done."""

    def say(self, message: str) -> None:
        """Show one line about what was chosen or found."""


class _Silent:
    def task(self, name: str, total: float | None) -> AbstractContextManager[Advance]:  # noqa: ARG002  # shows nothing
        return nullcontext(lambda _steps: None)

    def say(self, message: str) -> None:  # noqa: ARG002  # likewise
        return None


_reporter: ContextVar[Reporter] = ContextVar("reporter", default=_Silent())  # noqa: B039  # it has no state


@contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Install ``reporter`` for the block."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def current() -> Reporter:
    """The reporter of this block: for one that passes on to another."""
    return _reporter.get()


def task(name: str, total: float | None = None) -> AbstractContextManager[Advance]:
    """Show ``name`` with ``total`` steps (None: unknown) while the block runs."""
    return _reporter.get().task(name, total)


def say(message: str) -> None:
    """Show one line: a choice and its reason, or a finding."""
    _reporter.get().say(message)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation on the validation rows, while training runs.

    Attributes:
        step: optimizer steps done.
        epoch: passes over the training rows done; a fraction in the middle of one.
        metrics: name -> value; ``loss`` is among them.
    """

    step: int
    epoch: float
    metrics: Mapping[str, float]


#: Told of each evaluation. What it raises ends the training and reaches whoever started it.
Listener = Callable[[Evaluation], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` told of each evaluation in the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def evaluated(*, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
    """Announce an evaluation on the validation rows.

    Args:
        step: optimizer steps done.
        epoch: passes over the training rows done.
        metrics: name -> value.
    """
    listener = _listener.get()
    if listener is not None:
        listener(Evaluation(step=step, epoch=epoch, metrics=metrics))
