"""Suites by name: those that come with ftdeploy, and those in ./evaluation_suites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ftdeploy.document import parse, read_yaml, refuse_misfits
from ftdeploy.errors import ConfigError, FtdeployError, did_you_mean
from ftdeploy.suite import Suite, load_suite, suites_folder
from ftdeploy.suite_fit import misfits
from ftdeploy.tasks import TASKS

#: Where a user's own suites are looked for, from where the command runs.
OWN = Path("evaluation_suites")
_SUFFIXES = (".yaml", ".yml", ".py")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A suite that can be named.

    Attributes:
        name: what it is called by.
        path: its file.
        cases: what they are called.
        gates: how many it has.
        golden: how many golden rows it has.
        note: what it is, where it is no YAML suite; or what is wrong with it.
    """

    name: str
    path: Path
    cases: tuple[str, ...] = ()
    gates: int = 0
    golden: int = 0
    note: str = ""


def list_suites() -> list[Listed]:
    """Every suite that can be named, by name; the user's own stand before those that come with ftdeploy."""
    return [_look_at(path) for path in _files()]


def find_suite(name: str) -> Path:
    """The file of a suite.

    Args:
        name: a path, or the name of one of `list_suites`.

    Raises:
        ConfigError: there is no such file, and no suite of that name.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    files = list(_files())
    named = next((file for file in files if name in (file.stem, file.name)), None)
    if named is not None and path.parent == Path():
        return named
    siblings = [file.name for file in path.parent.iterdir() if file.suffix in _SUFFIXES] if path.parent.is_dir() else []
    known = sorted({file.stem for file in files} | (set(siblings) if path.suffix else set()))
    hint = did_you_mean(path.name, known)
    raise ConfigError(
        f"there is no suite {name}" + (": it is a folder" if path.is_dir() else ""),
        cause="it is neither a file nor the name of a suite in ./evaluation_suites or among those of ftdeploy",
        fix=hint or "`ftdeploy eval init DATA.csv` writes one; `ftdeploy eval --list` shows those there are",
    )


def read_suite(path: Path, *, overrides: Iterable[str] = ()) -> Suite:
    """Read a YAML suite that is to be run by itself.

    Args:
        path: the file.
        overrides: ``a.b=value`` settings laid over it.

    Raises:
        ConfigError: every problem at once.
    """
    data, lines = read_yaml(path, overrides=overrides)
    suite = parse(Suite, data, path=path, lines=lines)
    # Not a rule of the model: in a recipe, whose task counts, a suite need not say its own.
    refuse_misfits(misfits(suite, TASKS[suite.task]), path=path, lines=lines)
    return suite


def _files() -> Iterator[Path]:
    met: set[Path] = set()
    for folder in (OWN, suites_folder()):
        for path in sorted(folder.glob("*")):
            if path.suffix in _SUFFIXES and path.is_file() and path.resolve() not in met:
                met.add(path.resolve())
                yield path


def _look_at(path: Path) -> Listed:
    if path.suffix == ".py":
        return Listed(name=path.name, path=path, note="an evaluate.EvaluationSuite")
    try:
        suite = load_suite(path)
    except FtdeployError as error:  # one bad file hides no other
        return Listed(name=path.stem, path=path, note=f"not valid: {error.what}")
    return Listed(
        name=path.stem,
        path=path,
        cases=tuple(case.name for case in suite.cases),
        gates=len(suite.gates),
        golden=len(suite.golden),
    )
