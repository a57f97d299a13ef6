"""What a challenger showed is read from the files that its processes leave, however many there were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftdeploy.registry.shadow_report import read_shadow
from ftdeploy.serve.shadow_counts import Pair


def write(version: Path, name: str, champion: str, pair: Pair, since: float) -> None:
    """As `ftdeploy.serve.shadow` does."""
    document = {"format": 1, "champion": champion, "challenger": "b", "since": since, "until": since + 60}
    (version / "shadow").mkdir(exist_ok=True)
    (version / "shadow" / f"{champion}-{name}.json").write_text(json.dumps(document | pair.as_dict()), encoding="utf-8")


def pair(agreed: int, flipped: int, after: str = "bad") -> Pair:
    found = Pair()
    for _ in range(agreed):
        found.note(("good", 0.8), ("good", 0.7))
    for _ in range(flipped):
        found.note(("good", 0.8), (after, 0.6))
    return found


def test_files_of_one_champion_are_added_up(tmp_path: Path) -> None:
    """Texts, flips by pair, means and times; the agreement has its interval."""
    write(tmp_path, "one", "a", pair(90, 10), 1000.0)
    write(tmp_path, "two", "a", pair(80, 0), 5000.0)
    write(tmp_path, "three", "a", pair(0, 20, "fair"), 3000.0)
    (found,) = read_shadow(tmp_path)
    assert (found.texts, found.agreed, found.agreement) == (200, 170, 0.85)
    assert found.flips == (("good", "fair", 20), ("good", "bad", 10))
    assert found.confidence == pytest.approx((0.8, (170 * 0.7 + 30 * 0.6) / 200))
    assert found.apart == pytest.approx((170 * 0.1 + 30 * 0.2) / 200)
    assert (found.since.timestamp(), found.until.timestamp()) == (1000.0, 5060.0)
    assert found.lower == pytest.approx(0.7928, abs=5e-4)  # R: binom.test(170, 200)
    assert found.upper == pytest.approx(0.8965, abs=5e-4)


def test_champions_are_told_apart_the_latest_last(tmp_path: Path) -> None:
    """What it showed beside one says little about the next."""
    write(tmp_path, "one", "z", pair(1, 0), 1000.0)
    write(tmp_path, "two", "a", pair(0, 1), 5000.0)
    assert [(one.champion, one.agreement) for one in read_shadow(tmp_path)] == [("z", 1.0), ("a", 0.0)]
    (one, _) = read_shadow(tmp_path)
    assert one.lower == pytest.approx(0.025)
    assert one.upper == 1.0


def test_where_there_is_nothing_there_is_no_comparison(tmp_path: Path) -> None:
    """Nor where a file is damaged, of another format, or counts nothing."""
    assert read_shadow(tmp_path) == ()
    write(tmp_path, "one", "a", pair(0, 0), 1.0)
    (tmp_path / "shadow" / "a-two.json").write_text("{", encoding="utf-8")
    (tmp_path / "shadow" / "a-three.json").write_text('{"format": 2, "texts": 1}', encoding="utf-8")
    assert read_shadow(tmp_path) == ()
