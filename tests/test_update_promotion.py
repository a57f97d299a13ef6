"""Which promotions of a challenger count: not those that a kill cut off."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import write_run

from ftdeploy.registry import Registry
from ftdeploy.update.outcome import Begun, Outcome
from ftdeploy.update.promotion import promote_once, was_promoted


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """With a champion and a version that challenges it."""
    found = Registry(tmp_path / "tiny")
    for mark in ("old", "new"):
        found.enter(write_run(tmp_path / mark, mark), "")
    found.promote(found.versions()[0], why="the first")
    return found


def outcome(registry: Registry) -> Outcome:
    old, new = registry.versions()
    begun = Begun(champion=old, settings="s", rows=300, digest="d")
    return Outcome(verdict="pass", begun=begun, version=new, splits={}, report="r", gates={})


def test_it_is_promoted_once(registry: Registry) -> None:
    """With the reason; a person's rollback stands."""
    old, new = registry.versions()
    assert promote_once(registry, outcome(registry))
    assert registry.history()[-1].why == "passed the gates of an update with 300 rows"
    assert not promote_once(registry, outcome(registry))
    registry.rollback(why="customers complained")
    assert was_promoted(registry, new)
    assert not promote_once(registry, outcome(registry))
    found = registry.champion()
    assert found is not None
    assert found.name == old


def test_a_promotion_that_was_cut_off_does_not_count(registry: Registry) -> None:
    """Found by the next step, or not yet."""
    old, new = registry.versions()
    registry._note("promote", new, before=old, why="a kill follows")
    assert not was_promoted(registry, new)
    registry.enter(registry.root.parent / "old", "")
    assert registry.history()[-1].action == "found"
    assert not was_promoted(registry, new)
    assert promote_once(registry, outcome(registry))
    assert was_promoted(registry, new)
