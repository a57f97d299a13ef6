"""A challenger that passed becomes the champion, once."""

from __future__ import annotations

from ftdeploy.registry import Registry
from ftdeploy.update.outcome import Outcome


def promote_once(registry: Registry, outcome: Outcome) -> bool:
    """Make a challenger the champion, unless that was done before: whoever rolled it back had a reason."""
    version = str(outcome.version)
    if was_promoted(registry, version):
        return False
    registry.promote(version, why=f"passed the gates of an update with {outcome.begun.rows:,} rows")
    return True


def was_promoted(registry: Registry, version: str) -> bool:
    """Whether a version has been the champion; a promotion that was cut off between history and pointer is none."""
    champion, events = registry.champion(), registry.history()
    if champion is not None and champion.name == version:
        return True
    for event, following in zip(events, (*events[1:], None), strict=True):
        undone = following is None or (following.action == "found" and following.digest != version)
        if event.action == "promote" and event.digest == version and not undone:
            return True
    return False
