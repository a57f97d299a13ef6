"""What can go wrong, one class per kind, each with an exit code that a script can tell apart.

Every error has three parts: what happened, the likely cause, and what to do. The command line prints them
and exits with ``exit_code``; the library only raises them.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

#: Most characters of what somebody sent that a message repeats.
LINE = 60
#: repr() would write out all of a large value to show its beginning, and would fail on a deeply nested one.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = LINE


class FtdeployError(Exception):
    """Base of every error that ftdeploy raises on purpose.

    Args:
        what: what happened, with the concrete name, path or number.
        cause: the likely cause.
        fix: what to do about it.
    """

    exit_code: ClassVar[int] = 1
    title: ClassVar[str] = "Error"

    def __init__(self, what: str, *, cause: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.fix = fix

    def as_dict(self) -> dict[str, object]:
        """The error as plain data, for ``--json``."""
        return {
            "error_type": type(self).__name__,
            "exit_code": self.exit_code,
            "what": self.what,
            "cause": self.cause,
            "fix": self.fix,
        }


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing wrong with a recipe or a suite: where (dotted path and line), what, and a suggestion."""

    path: str
    message: str
    line: int | None = None
    hint: str = ""

    @property
    def where(self) -> str:
        """Line and path, as they stand before the message."""
        return (f"line {self.line}: " if self.line is not None else "") + f"{self.path}: "

    def __str__(self) -> str:
        return f"{self.where}{self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(FtdeployError):
    """A recipe or a suite is wrong. Carries every problem at once, not only the first."""

    exit_code = 3
    title = "The configuration is not valid"

    def __init__(self, what: str, *, cause: str, fix: str, problems: Iterable[Problem] = ()) -> None:
        super().__init__(what, cause=cause, fix=fix)
        self.problems = tuple(problems)

    def as_dict(self) -> dict[str, object]:
        """The error as plain data, with every problem."""
        listed = [{"path": p.path, "line": p.line, "message": p.message, "hint": p.hint} for p in self.problems]
        return super().as_dict() | {"problems": listed}


class SourceError(FtdeployError):
    """Data or a checkpoint cannot be had: no such file, no network, a sha256 that does not match."""

    exit_code = 4
    title = "A source cannot be read"


class DataError(FtdeployError):
    """The rows are not fit for the task: a wrong column, one class only, text that is not in the encoding."""

    exit_code = 5
    title = "The data is not fit for the task"


class ModelError(FtdeployError):
    """The checkpoint is refused or unsuitable: no tokenizer, pickle weights, code of its own."""

    exit_code = 6
    title = "The checkpoint cannot be used"


class TrainingError(FtdeployError):
    """Training went wrong: a loss that is not a number, or divergence."""

    exit_code = 7
    title = "Training failed"


class ParityError(FtdeployError):
    """The exported model does not answer as the torch model does."""

    exit_code = 8
    title = "The export differs from the trained model"


class CompressionError(FtdeployError):
    """No candidate, not even the uncompressed model, could be measured."""

    exit_code = 9
    title = "Compression failed"


class GateFailed(FtdeployError):  # noqa: N818  # a verdict, and no fault of the program
    """A gate of the evaluation suite said no. The report is kept; no bundle is made."""

    exit_code = 10
    title = "A gate failed"


class GateInconclusive(FtdeployError):  # noqa: N818  # likewise
    """The sample is too small for a gate to tell. The report is kept; no bundle is made."""

    exit_code = 11
    title = "A gate could not decide"


class ArtifactError(FtdeployError):
    """An artifact is incomplete, was changed after it was sealed, or is of the wrong kind."""

    exit_code = 12
    title = "An artifact is not what its manifest says"


class LockedError(FtdeployError):
    """Another run is working in the same output folder."""

    exit_code = 13
    title = "The output folder is in use"


class StorageError(FtdeployError):
    """The disk is full or refuses to write."""

    exit_code = 14
    title = "The disk refused to write"


class StageContractError(FtdeployError):
    """A stage broke its promise: a missing or unexpected output, a parameter nobody can supply."""

    exit_code = 15
    title = "A stage broke its contract"


class DependencyError(FtdeployError):
    """A library is missing, too old, or failed without saying so."""

    exit_code = 16
    title = "A dependency is missing or failed"


class ServeError(FtdeployError):
    """A bundle cannot be served (the port is taken, the service never became ready), or a running service does not
    answer as it should."""

    exit_code = 17
    title = "The service does not start or does not answer"


class DeviceError(FtdeployError):
    """A device or an execution provider was forced that this machine does not have."""

    exit_code = 18
    title = "The device is not available"


class DriftFound(FtdeployError):  # noqa: N818  # a verdict, and no fault of the program
    """The traffic differs from what the bundle was made of. The report is kept."""

    exit_code = 19
    title = "The traffic has drifted"


def short(value: object) -> str:
    """A value that somebody sent as it may stand in a message: quoted, and never longer than a line."""
    text = _REPR.repr(value)
    return text if len(text) <= LINE else f"{text[:LINE]}..."


def first_of(names: Sequence[str], most: int) -> str:
    """The first names, as many as a message has room for, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` when a known word is close, else the list of what there is."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names)}" if names else ""


def refuse_unknown(stated: Iterable[str], known: Iterable[str], *, what: str, error: type[FtdeployError],
                   who: str = "this service") -> None:  # fmt: skip
    """Refuse a name in a bundle's signature that nobody here knows.

    Args:
        stated: names in one of its sections.
        known: those that there are.
        what: one of them is called, article included.
        error: class to raise.
        who: does not know it.

    Raises:
        FtdeployError: of that class.
    """
    names = tuple(known)
    unknown = sorted(set(stated) - set(names))
    if unknown:
        raise error(
            f"signature.json states {what} {unknown[0]!r} that {who} does not know",
            cause="the bundle was made by another version of ftdeploy, or edited by hand",
            fix=did_you_mean(unknown[0], names) or "make the bundle again",
        )


#: Every class with its documented exit code, in order. ``ftdeploy --help`` and the README print from it.
EXIT_CODES: dict[int, type[FtdeployError]] = {
    cls.exit_code: cls
    for cls in (
        ConfigError, SourceError, DataError, ModelError, TrainingError, ParityError, CompressionError, GateFailed,
        GateInconclusive, ArtifactError, LockedError, StorageError, StageContractError, DependencyError, ServeError,
        DeviceError, DriftFound,
    )
}  # fmt: skip
