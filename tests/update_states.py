"""Steps of an update as they show on the disk, and what has to hold at each: for tests that kill it there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ftdeploy.artifact import open_artifact
from ftdeploy.registry import Registry


def states(home: Path, first: str) -> Mapping[str, Callable[[], bool]]:
    """Step -> whether it shows, in the order in which they come.

    Args:
        home: the folder REGISTRY/NAME; what is in ``updates`` is of one update.
        first: the champion's version before.
    """

    def there(*patterns: str) -> Callable[[], bool]:
        return lambda: any(next(home.glob(pattern), None) is not None for pattern in patterns)

    def new(below: str) -> Callable[[], bool]:
        return lambda: any(
            path.parts[len(home.parts) + 1] != first for path in home.glob(f"versions/{'[0-9a-f]' * 12}{below}")
        )

    return {
        "rows are read": there("updates/.reading/*"),
        "begun": there("updates/*/begun.json"),
        "prepared": there("updates/*/dataset/artifact.json"),
        "in training": there("updates/*/checkpoint.work/*.arrow"),
        "between checkpoints": there("updates/*/checkpoint.work/checkpoint-*"),
        "trained": there("updates/*/checkpoint/artifact.json"),
        "exported": there("updates/*/onnx/artifact.json"),
        "compressed": there("updates/*/compressed/artifact.json"),
        "validated": there("updates/*/report/artifact.json"),
        "packaged": there("updates/*/bundle/artifact.json"),
        "being entered": there("versions/*.partial"),
        "entered": new("/bundle"),
        "report being written": new("/update.partial"),
        "judged": new("/update/report.json"),
        "noted": new("/update/rows.npy"),
        "finished": there("updates/*/outcome.json"),
        "about to be promoted": lambda: _promoted_last(home, first),
        "promoted": lambda: (home / "champion").resolve().name != first,
    }


def check_champion(home: Path) -> str:
    """The champion's version, after checking that the pointer leads to a whole one, file by file."""
    found = Registry(home).champion()
    assert found is not None
    for kind in ("bundle", "dataset", "checkpoint"):
        open_artifact(found / kind)
    return found.name


def _promoted_last(home: Path, first: str) -> bool:
    """Whether the history ends with the promotion of another version."""
    events = Registry(home).history()
    return bool(events) and events[-1].action == "promote" and events[-1].digest != first
