"""Drift as a bet: no alarm while nothing changes, a soon one when something does, whatever the direction."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny import WORDS, write_model_folder

from ftdeploy.drift import compute_reference, write_reference
from ftdeploy.predictor import Predictor
from ftdeploy.serve import detectors
from ftdeploy.serve.detectors import ALARM, HOLD, DriftDetector, open_detector
from ftdeploy.serve.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 6


def draw(rows: int, seed: int, *, scale: float = 1.0, shift: float = 0.0) -> NDArray[np.float32]:
    """Rows of a skewed distribution with correlated directions."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(SIZE, SIZE))
    rows_ = (random.exponential(size=(rows, SIZE)) - 1) * scale
    rows_[:, 0] += shift
    return (rows_ @ mixing).astype(np.float32)


def reference(seed: int = 1) -> dict[str, NDArray[Any]]:
    rows = draw(2000, seed)
    covariance = np.cov(rows, rowvar=False)
    return {"mean": rows.mean(axis=0), "covariance": covariance, "sample": rows[:1000].astype(np.float16)}


def test_no_alarm_while_nothing_changes() -> None:
    """At a bound a hundred times lower, too, false alarms keep to it: at most one in so many texts on average."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "ALARM", ALARM / 100)
        patch.setattr(detectors, "HOLD", 0)
        alarms = 0
        for seed in range(10):
            detector = DriftDetector(reference(seed))
            detector.update(draw(1000, 100 + seed))
            alarms += detector.alarms
    assert alarms <= 10 * 1000 / (ALARM / 100)


@pytest.mark.parametrize("change", [{"shift": 1.0}, {"shift": -1.0}, {"scale": 2.0}, {"scale": 0.4}])
def test_a_change_in_place_or_in_width_is_an_alarm(change: dict[str, float], caplog: pytest.LogCaptureFixture) -> None:
    """After a few hundred texts as before; said once, and for as long as it goes on."""
    detector = DriftDetector(reference())
    detector.update(draw(300, 2))
    assert detector.state() == "none"
    with caplog.at_level(logging.WARNING):
        detector.update(draw(300, 3, **change))
        assert detector.state() == "alarm"
        detector.update(draw(HOLD, 4, **change))
    assert detector.state() == "alarm"
    assert detector.alarms == len(caplog.records) == 1


def test_an_alarm_ends_when_the_traffic_is_as_before() -> None:
    """And a later change is a new one."""
    detector = DriftDetector(reference())
    detector.update(draw(200, 2, shift=2.0))
    assert detector.state() == "alarm"
    detector.update(draw(HOLD + 200, 3))
    assert detector.state() == "none"
    detector.update(draw(200, 4, shift=2.0))
    assert (detector.state(), detector.alarms) == ("alarm", 2)


def test_it_does_not_matter_how_texts_come_together() -> None:
    """One by one or in batches, the evidence is the same."""
    rows = draw(60, 5, shift=0.5)
    one, other = DriftDetector(reference()), DriftDetector(reference())
    one.update(rows)
    for row in rows:
        other.update(row[None])
    assert one.evidence == pytest.approx(other.evidence)
    assert one.evidence > 0


def test_a_bundle_without_a_usable_reference_is_not_measured(tmp_path: Path) -> None:
    """None, no sample, too few rows, or rows that are all the same: nothing is claimed."""
    path = tmp_path / "reference.npz"
    assert open_detector(path) is None
    np.savez(path, rows=np.zeros(1))
    assert open_detector(path) is None
    good = reference()
    np.savez(path, **good)
    assert open_detector(path) is not None
    for change in ({"sample": good["sample"][:10]}, {"covariance": np.zeros((SIZE, SIZE))}):
        np.savez(path, **(good | change))
        assert open_detector(path) is None


def test_a_service_says_what_its_traffic_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the reference in a bundle to /about and the metrics, by way of the thread that records."""
    source = tmp_path / "src"
    write_model_folder(source / "model")
    random = np.random.default_rng(3)
    texts = [" ".join(random.choice([*WORDS, "the", "film"], 6)) for _ in range(400)]
    predictor = Predictor(source / "model")
    write_reference(
        source / "model" / "drift_reference.npz", compute_reference(predictor, predictor.task, texts, seed=1)
    )
    monkeypatch.setenv("FTDEPLOY_TRAFFIC", str(tmp_path / "traffic"))

    async def scene() -> list[str]:
        engine = Engine(source)
        await engine.start()
        await engine.loaded()
        told: list[str] = []
        for asked in (texts[:100], ["worst film worst"] * 100):
            for text in asked:
                await engine.ask([text], "r")
            while engine.snapshot()["ftdeploy_traffic_rows_total"] < 100 * (len(told) + 1):  # noqa: ASYNC110  # threads set no event
                await asyncio.sleep(0.02)
            told.append(engine.drift)
        assert engine.snapshot()["ftdeploy_drift_alarm"] == engine.snapshot()["ftdeploy_drift_alarms_total"] == 1
        await engine.stop()
        return told

    assert asyncio.run(scene()) == ["none", "alarm"]
