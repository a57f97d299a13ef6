"""What the search makes of what it has seen."""

from __future__ import annotations

import pytest

from ftdeploy.compress.search import AUTO, _fitting


@pytest.mark.parametrize(
    ("best", "bits", "fitting"),
    [
        ("calibrated", 4, "calibrated-embeddings"),
        ("calibrated-rows", 4, "calibrated-rows-embeddings"),
        ("calibrated-embeddings", 4, "calibrated-embeddings"),
        ("calibrated-embeddings", 8, "calibrated"),
        ("calibrated", None, "calibrated"),
        ("inc-dynamic", 4, "inc-dynamic"),
    ],
)
def test_students_are_stored_with_embeddings_as_they_learned_with_them(
    best: str, bits: int | None, fitting: str
) -> None:
    """What is best for the fine-tuned model stays, but for the bits of embeddings: a student was taught with these."""
    assert _fitting(best, AUTO, bits) == fitting


def test_a_quantizer_that_may_not_be_tried_is_not_taken() -> None:
    """The recipe's `candidates` decide."""
    assert _fitting("calibrated", ("calibrated", "calibrated-rows-embeddings"), 4) == "calibrated"
