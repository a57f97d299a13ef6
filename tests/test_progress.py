"""How work tells of itself without printing: the evaluations that training announces."""

from __future__ import annotations

import pytest

from ftdeploy import progress


def test_a_listener_hears_the_evaluations_of_its_block() -> None:
    """Inside the block and not after it; with nobody listening nothing happens."""
    heard: list[progress.Evaluation] = []
    progress.evaluated(step=1, epoch=0.5, metrics={"loss": 0.7})
    with progress.listening(heard.append):
        progress.evaluated(step=2, epoch=1.0, metrics={"loss": 0.6})
    progress.evaluated(step=3, epoch=1.5, metrics={"loss": 0.5})
    assert heard == [progress.Evaluation(step=2, epoch=1.0, metrics={"loss": 0.6})]


def test_what_a_listener_raises_reaches_the_work() -> None:
    """That is how a training is ended early; the listener is gone afterwards."""

    def refuse(_evaluation: progress.Evaluation) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"), progress.listening(refuse):
        progress.evaluated(step=1, epoch=1.0, metrics={})
    progress.evaluated(step=2, epoch=2.0, metrics={})
