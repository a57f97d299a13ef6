"""How a service is set up: by measuring, and only when something is clearly better."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import write_model_folder

from ftdeploy import tune_service as module
from ftdeploy.drift import LENGTH_EDGES, read_reference, write_reference
from ftdeploy.serve.limits import Limits
from ftdeploy.tune_service import Setup, remembered_lengths, tune_service

QUICK = {"rounds": 3, "seconds": 0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    write_model_folder(folder)
    counts = np.zeros(len(LENGTH_EDGES) - 1, dtype=np.int64)
    counts[2:6] = 40, 10, 30, 20
    write_reference(folder / "drift_reference.npz", {"length_counts": counts, "length_edges": LENGTH_EDGES})
    return folder


def test_lengths_are_those_of_the_reference(folder: Path) -> None:
    """Each in a bin that has rows, about as often as there, and the same ones in every call."""
    reference = read_reference(folder / "drift_reference.npz")
    counts, edges = reference["length_counts"], reference["length_edges"]
    lengths = remembered_lengths(folder, 5000)
    assert lengths == remembered_lengths(folder, 5000)
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        share = sum(low <= one < max(high, low + 1) for one in lengths) / 5000
        assert abs(share - count / counts.sum()) < 0.03


@pytest.mark.parametrize("fixed", [set(), {"lanes"}, {"lanes", "batch_call_tokens", "batch_tokens"}])
def test_what_is_fixed_is_not_tried(folder: Path, fixed: set[str]) -> None:
    """Everything else is, and what is there is measured in any case."""
    found = tune_service(folder, Limits(lanes=1), fixed=frozenset(fixed), **QUICK)  # type: ignore[arg-type]  # numbers
    tried = {name: {getattr(one, name) for one in found.measured} for name in vars(found.setup)}
    assert {name for name, values in tried.items() if len(values) == 1} == fixed
    assert found.measured[found.before] > 0
    assert not fixed & set(found.changed())


def scripted(monkeypatch: pytest.MonkeyPatch, speed: object) -> None:
    """Let setups be as fast as a function says."""

    async def rows_a_second(_self: object, setup: Setup) -> float:
        return float(speed(setup))  # type: ignore[operator]  # it is a function

    monkeypatch.setattr(module._Bench, "_rows_a_second", rows_a_second)


def test_the_fastest_is_found_one_limit_after_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its ratio to what was there."""
    scripted(monkeypatch, lambda one: 100 + 50 * (one.batch_call_tokens == 32) + 30 * (one.batch_tokens == 512))
    found = tune_service(folder, Limits(lanes=1), fixed=frozenset({"lanes"}))
    assert found.changed() == {"batch_call_tokens": 32, "batch_tokens": 512}
    assert found.ratio == pytest.approx(1.8)
    assert found.setup == replace(found.before, batch_call_tokens=32, batch_tokens=512)


def test_what_is_hardly_better_or_not_always_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4% more, or twice as much in two rounds of three."""
    scripted(monkeypatch, lambda one: 100 + 4 * (one.batch_tokens == 512))
    assert not tune_service(folder, Limits()).changed()
    calls: dict[Setup, int] = {}

    def moody(one: Setup) -> float:
        calls[one] = calls.get(one, 0) + 1
        return 200 if one.batch_call_tokens == 16 and calls[one] % 3 else 100 + (calls[one] % 3 == 0)

    scripted(monkeypatch, moody)
    assert not tune_service(folder, Limits(batch_call_tokens=8)).changed()


def test_what_was_only_luck_is_not_confirmed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of many is measured once more against what was there."""
    calls: dict[Setup, int] = {}

    def lucky(one: Setup) -> float:
        calls[one] = calls.get(one, 0) + 1
        return 200 if one.batch_call_tokens == 16 and calls[one] <= 3 else 100

    scripted(monkeypatch, lucky)
    found = tune_service(folder, Limits(), fixed=frozenset({"lanes", "batch_tokens"}))
    assert (found.changed(), found.ratio) == ({}, 1.0)
