"""Where a challenger is looked for; how it is started and ends is what `test_serve_shadow.py` shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import write_bundle

from ftdeploy.pairs import Pairs
from ftdeploy.serve.shadow_watch import SHADOW, ShadowWatch, challenger_of
from ftdeploy.signature import Signature


def test_a_registrys_pointer_names_the_challenger(tmp_path: Path) -> None:
    """Beside the pointer that is served; nothing is guessed for a folder that only has its name."""
    (tmp_path / "versions" / "one" / "bundle").mkdir(parents=True)
    (tmp_path / "champion").symlink_to("versions/one")
    assert challenger_of(tmp_path / "champion" / "bundle", {}) == tmp_path / "shadow" / "bundle"
    assert challenger_of(tmp_path / "versions" / "one" / "bundle", {}) is None
    assert challenger_of(tmp_path / "champion", {}) is None
    (tmp_path / "other" / "champion" / "bundle").mkdir(parents=True)
    assert challenger_of(tmp_path / "other" / "champion" / "bundle", {}) is None


@pytest.mark.parametrize(("named", "found"), [("/some/bundle", Path("/some/bundle")), ("off", None), ("OFF", None)])
def test_what_is_named_comes_first(tmp_path: Path, named: str, found: Path | None) -> None:
    """Or switched off."""
    (tmp_path / "champion").symlink_to(tmp_path)
    assert challenger_of(tmp_path / "champion" / "bundle", {SHADOW: named}) == found


def test_the_bundle_that_answers_is_no_challenger_to_itself(tmp_path: Path) -> None:
    """Nor is a path that leads nowhere: nothing is started, and nothing said."""
    (tmp_path / "bundle").mkdir()
    watch = ShadowWatch(tmp_path / "bundle", tmp_path, {})
    watch.look(tmp_path / "bundle")
    (tmp_path / "bundle").rmdir()
    watch.look(tmp_path)
    watch.finish()
    assert not list(tmp_path.iterdir())


def test_vectors_are_not_compared_by_their_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would show that all agree: it is not started, and what to do instead is said."""
    signature = Signature(name="tiny", task="feature-extraction", labels=(), max_length=8).model_dump_json().encode()
    write_bundle(tmp_path / "other", replaced={"model/signature.json": signature})
    watch = ShadowWatch(tmp_path / "other", tmp_path, {})
    watch.look(tmp_path)
    watch.finish()
    assert "ftdeploy eval" in caplog.text
    assert "starts as a challenger" not in caplog.text


@pytest.mark.parametrize("challenger_reads_two", [True, False])
def test_a_challenger_reads_what_the_champion_is_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, challenger_reads_two: bool
) -> None:
    """Pairs are nothing to a model of single texts, nor the other way round: it is not started, and why is said."""
    two, one = tmp_path / "two", tmp_path / "one"
    pairs = Signature(name="tiny", task="text-classification", labels=("a", "b"), max_length=8, pairs=Pairs())
    write_bundle(two, replaced={"model/signature.json": pairs.model_dump_json().encode()})
    write_bundle(one)
    challenger, champion = (two, one) if challenger_reads_two else (one, two)
    watch = ShadowWatch(challenger, tmp_path, {})
    watch.look(champion)
    watch.finish()
    reads = ("two texts", "one text") if challenger_reads_two else ("one text", "two texts")
    assert f"it reads {reads[0]} a row, and the bundle that answers {reads[1]}" in caplog.text
    assert "starts as a challenger" not in caplog.text
