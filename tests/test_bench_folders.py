"""Two models of ours side by side: only those that do the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny import MAX_LENGTH, NAME, write_bundle
from typer.testing import CliRunner

from ftdeploy.bench import bench_folders
from ftdeploy.cli import app
from ftdeploy.errors import ArtifactError, ModelError
from ftdeploy.pairs import Pairs
from ftdeploy.signature import Signature

CLASSES = {"task": "text-classification", "labels": ("negative", "positive")}


def _bundle(folder: Path, **states: Any) -> Path:
    """A sealed bundle whose signature states this."""
    signature = Signature(name=NAME, max_length=MAX_LENGTH, **(CLASSES | states))
    write_bundle(folder, replaced={"model/signature.json": signature.model_dump_json().encode()})
    return folder


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"task": "multi-label-classification"}, r"ours does text-classification, and .*other multi-label-classifica"),
        ({"labels": ("negative", "neutral", "positive")}, "other have other labels: only one has 'neutral'$"),
        ({"labels": tuple("abcdefg")}, "only one has 'a', 'b', 'c', 'd', 'e' and 4 more"),
        ({"pairs": Pairs()}, "ours reads one text, and .*other reads two texts"),
    ],
)
def test_models_that_do_not_do_the_same_are_refused(tmp_path: Path, other: dict[str, Any], words: str) -> None:
    """Before rows are read: there are none here. The one that does less would look like the faster one."""
    ours, theirs = _bundle(tmp_path / "ours"), _bundle(tmp_path / "other", **other)
    with pytest.raises(ModelError, match=words) as caught:
        bench_folders(ours, theirs, rounds=3, rows=32)
    assert "how much faster the same work is done" in caught.value.cause
    found = CliRunner().invoke(app, ["bench", str(ours), "--against", str(theirs)])
    assert isinstance(found.exception, ModelError)


def test_the_same_labels_in_another_order_are_no_hindrance(tmp_path: Path) -> None:
    """It gets as far as the rows."""
    ours = _bundle(tmp_path / "ours")
    theirs = _bundle(tmp_path / "other", labels=("positive", "negative"))
    with pytest.raises(ArtifactError, match="has no dataset artifact beside it"):
        bench_folders(ours, theirs, rounds=3, rows=32)
