"""What the kinds of models share: batches, and whose labels hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ftdeploy.batching import Batching
from ftdeploy.encoded import Encoded
from ftdeploy.errors import ModelError
from ftdeploy.models.model import batched_logits, label_order, single_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Counting:
    """A text's logits are its length and the rows that it was computed with."""

    provider = "none"
    windows = None

    def __init__(self) -> None:
        self.batches: list[int] = []

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        return [Encoded(ids=[1] * len(text), length=len(text), unknown=0) for text in texts]

    def run(self, rows: Sequence[Sequence[int]]) -> object:
        return self.logits(rows)

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.batches.append(len(rows))
        return np.array([[len(row), len(rows)] for row in rows], dtype=np.float32)


def test_rows_come_back_in_their_order_from_batches_within_the_budget() -> None:
    """Two lanes, 3,000 texts of many lengths, more than are tokenised at a time."""
    texts = ["x" * (1 + index * 7 % 90) for index in range(3000)]
    runner, told = Counting(), [0.0]

    def advance(rows: float) -> None:
        told[0] += rows

    found = batched_logits(runner, texts, classes=2, batching=Batching(tokens=256, rows=16), lanes=2, advance=advance)
    assert found[:, 0].tolist() == [len(text) for text in texts]
    assert found.prod(axis=1).max() <= 256
    assert max(runner.batches) == 16
    assert told == [3000]


def test_alone_is_alone() -> None:
    """A pass for each text; none for none."""
    runner = Counting()
    assert single_logits(runner, ["a", "bcd"], classes=2).tolist() == [[1, 1], [3, 1]]
    assert single_logits(runner, [], classes=2).shape == (0, 2)
    assert runner.batches == [1, 1]


def test_a_failing_pass_ends_all() -> None:
    """Its error is raised, and passes that have not begun are left out."""

    class Failing(Counting):
        def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
            super().logits(rows)
            raise MemoryError

    runner = Failing()
    with pytest.raises(MemoryError):
        batched_logits(runner, ["x"] * 1000, classes=2, batching=Batching(rows=1), lanes=1, advance=lambda _rows: None)
    assert len(runner.batches) < 1000


def test_labels_are_the_models_unless_it_only_counts() -> None:
    """The model's order holds; LABEL_1 is the second of the wanted ones, whatever order they are stated in."""
    assert label_order(("b", "a"), None, name="m") == ("b", "a")
    assert label_order(("b", "a"), ("a", "b"), name="m") == ("b", "a")
    assert label_order(("LABEL_1", "LABEL_0"), ("no", "yes"), name="m") == ("yes", "no")
    assert label_order(("LABEL_0", "LABEL_1"), None, name="m") == ("LABEL_0", "LABEL_1")


@pytest.mark.parametrize(
    ("stated", "wanted", "told"),
    [
        (("neg", "pos"), ("negative", "positive"), "'negative' is not among them"),
        (("a", "b", "c"), ("a", "b"), "'c' is not wanted"),
        (("LABEL_0", "LABEL_1"), ("a", "b", "c"), "'a' is not among them"),
    ],
)
def test_other_labels_are_an_error(stated: Sequence[str], wanted: Sequence[str], told: str) -> None:
    """Missing, superfluous, or too few to count."""
    with pytest.raises(ModelError, match=told):
        label_order(stated, wanted, name="m")
