"""Drift as bets: no alarm while nothing changes, a soon one when something does, by the detector that looks at it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny import WORDS, write_model_folder

from ftdeploy.drift import Features, compute_reference, reference_of, write_reference
from ftdeploy.predictor import Predictor
from ftdeploy.serve import detectors
from ftdeploy.serve.about import DETECTORS
from ftdeploy.serve.detectors import ALARM, HOLD, DriftDetector, drift_of, open_detector
from ftdeploy.serve.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 6
LABELS = ("bad", "good", "mixed")


def draw(rows: int, seed: int, *, scale: float = 1.0, shift: float = 0.0, good: float = 0.4, sure: float = 5.0,
         words: float = 20.0, unknown: float = 0.05) -> Features:  # fmt: skip
    """Rows of a skewed distribution with correlated directions, and of the numbers beside them."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(SIZE, SIZE))
    embedding = (random.exponential(size=(rows, SIZE)) - 1) * scale
    embedding[:, 0] += shift
    return Features(
        labels=random.choice(3, size=rows, p=[0.8 - good, good, 0.2]),
        confidence=random.beta(sure, 1, size=rows),
        tokens=np.ceil(random.gamma(3, words / 3, size=rows)),
        unknown=np.where(random.random(rows) < unknown, 0.1, 0.0),
        truncated=np.zeros(rows, dtype=bool),
        embedding=(embedding @ mixing).astype(np.float32),
    )


def reference(seed: int = 1) -> dict[str, NDArray[Any]]:
    return reference_of(draw(2000, seed), np.zeros((SIZE, SIZE), dtype=np.float32), classes=3, seed=seed)


def look(detector: DriftDetector, rows: Features, *, at_once: int = 50) -> None:
    """Have a detector see rows, some at once."""
    columns = {"labels": rows.labels, "confidence": rows.confidence, "length": rows.tokens,
               "unknown_tokens": rows.unknown}  # fmt: skip
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        detector.update(rows.embedding[part], {name: values[part] for name, values in columns.items()})


def alarmed(detector: DriftDetector) -> set[str]:
    return {name for name, state in detector.states().items() if state == "alarm"}


def test_no_alarm_while_nothing_changes() -> None:
    """At a bound a hundred times lower, too, false alarms of all detectors together keep to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "ALARM", ALARM / 100)
        patch.setattr(detectors, "HOLD", 0)
        alarms = 0
        for seed in range(10):
            detector = DriftDetector(reference(seed), LABELS)
            look(detector, draw(1000, 100 + seed))
            alarms += sum(detector.alarms().values())
    assert alarms <= 10 * 1000 / (ALARM / 100)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("embedding", {"shift": 1.0}),
        ("embedding", {"shift": -1.0}),
        ("embedding", {"scale": 2.0}),
        ("embedding", {"scale": 0.4}),
        ("labels", {"good": 0.75}),
        ("labels", {"good": 0.05}),
        ("confidence", {"sure": 1.5}),
        ("confidence", {"sure": 40.0}),
        ("length", {"words": 60.0}),
        ("length", {"words": 6.0}),
        ("unknown_tokens", {"unknown": 0.4}),
    ],
)
def test_a_change_is_an_alarm_of_whoever_looks_at_it(name: str, change: dict[str, float]) -> None:
    """After a few hundred texts as before, whichever way it goes; counted once, and for as long as it goes on."""
    detector = DriftDetector(reference(), LABELS)
    look(detector, draw(300, 2))
    assert drift_of(detector) == {"state": "none", "detectors": dict.fromkeys(DETECTORS, "none")}
    look(detector, draw(300, 3, **change))
    assert alarmed(detector) == {name}
    look(detector, draw(HOLD, 4, **change))
    assert alarmed(detector) == {name}
    assert detector.alarms() == dict.fromkeys(DETECTORS, 0) | {name: 1}


def test_an_alarm_ends_when_the_traffic_is_as_before() -> None:
    """And a later change is a new one."""
    detector = DriftDetector(reference(), LABELS)
    look(detector, draw(200, 2, shift=2.0))
    assert alarmed(detector) == {"embedding"}
    look(detector, draw(HOLD + 200, 3))
    assert alarmed(detector) == set()
    look(detector, draw(200, 4, shift=2.0))
    assert (alarmed(detector), detector.alarms()["embedding"]) == ({"embedding"}, 2)


def test_an_alarm_in_the_middle_of_a_batch_is_that_of_its_text() -> None:
    """One by one, in batches, or all at once: the same alarms, and the same evidence after them."""
    rows = draw(90, 5, shift=1.5, good=0.7)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "ALARM", 100.0)
        patch.setattr(detectors, "HOLD", 5)
        for at_once in (1, 7, 90):
            detector = DriftDetector(reference(), LABELS)
            look(detector, rows, at_once=at_once)
            found.append((detector.alarms(), detector.evidence()))
    assert found[0][0]["embedding"] > 1
    for alarms, evidence in found[1:]:
        assert alarms == found[0][0]
        assert evidence == pytest.approx(found[0][1], rel=1e-3)


def test_memory_does_not_grow() -> None:
    """What a detector keeps is as large after thousands of texts as after a few."""

    def kept(detector: DriftDetector) -> int:
        arrays = [*vars(detector).values(), *vars(detector._directions).values(), *detector._tables.values()]
        return sum(one.nbytes for one in arrays if isinstance(one, np.ndarray))

    detector = DriftDetector(reference(), LABELS)
    look(detector, draw(20, 2))
    before = kept(detector)
    look(detector, draw(3000, 3))
    assert kept(detector) == before < 200_000


def test_a_bundle_without_a_usable_reference_is_not_measured(tmp_path: Path) -> None:
    """None, no sample, too few rows, or rows that are all the same: nothing is claimed. One without histograms has its
    embedding looked at."""
    path = tmp_path / "reference.npz"
    assert open_detector(path, LABELS) is None
    assert drift_of(None) == {"state": "not measured", "detectors": {}}
    np.savez(path, rows=np.zeros(1))
    assert open_detector(path, LABELS) is None
    good = reference()
    write_reference(path, good)
    found = open_detector(path, LABELS)
    assert found is not None
    assert found.names == DETECTORS
    for change in ({"sample": good["sample"][:10]}, {"covariance": np.zeros((SIZE, SIZE))}):
        write_reference(path, good | change)
        assert open_detector(path, LABELS) is None
    write_reference(path, {name: good[name] for name in ("mean", "covariance", "sample")})
    found = open_detector(path, LABELS)
    assert found is not None
    assert found.names == ("embedding",)


def test_a_service_says_what_its_traffic_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                              caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """From the reference in a bundle to /about, the metrics and an alert, by way of the thread that records."""
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
            told.append(engine.drift["state"])
        assert engine.drift["detectors"]["embedding"] == "alarm"
        shown = engine.snapshot()
        for metric in ("alarm", "alarms_total"):
            assert shown[f'ftdeploy_drift_{metric}{{detector="embedding"}}'] == 1
            assert shown[f'ftdeploy_drift_{metric}{{detector="unknown_tokens"}}'] == 0
        while not any(record.name == "ftdeploy.serve.alert_hooks" for record in caplog.records):  # noqa: ASYNC110  # threads set no event
            await asyncio.sleep(0.02)
        assert engine.snapshot()['ftdeploy_alerts_total{hook="log",outcome="sent"}'] == 1
        await engine.stop()
        return told

    assert asyncio.run(scene()) == ["none", "alarm"]
