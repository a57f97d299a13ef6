"""What checkpoints are opened for: by what config.json says, and where it leaves that open, by what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftdeploy.errors import ModelError
from ftdeploy.models.checkpoint_task import outputs_of, task_of
from ftdeploy.spans import tags_of
from ftdeploy.tasks import TASKS

ONE, SETS, SPANS, NUMBERS, VECTORS = (
    TASKS[name]
    for name in (
        "text-classification",
        "multi-label-classification",
        "token-classification",
        "text-regression",
        "feature-extraction",
    )
)
HERE = Path("model")
SEQUENCE, TOKENS = ["BertForSequenceClassification"], ["BertForTokenClassification"]
TWO, THREE, SINGLE = ({str(index): f"LABEL_{index}" for index in range(count)} for count in (2, 3, 1))


@pytest.mark.parametrize(
    ("config", "fits"),
    [
        ({"architectures": SEQUENCE}, (ONE, SETS)),  # transformers has two labels where nothing is said
        ({"architectures": SEQUENCE, "id2label": THREE}, (ONE, SETS)),
        ({"architectures": SEQUENCE, "id2label": SINGLE}, (NUMBERS, SETS)),
        ({"architectures": SEQUENCE, "id2label": TWO, "problem_type": "multi_label_classification"}, (SETS,)),
        ({"architectures": SEQUENCE, "id2label": TWO, "problem_type": "single_label_classification"}, (ONE,)),
        ({"architectures": SEQUENCE, "id2label": SINGLE, "problem_type": "regression"}, (NUMBERS,)),
        ({"architectures": SEQUENCE, "id2label": TWO, "problem_type": "regression"}, ()),
        ({"architectures": TOKENS, "id2label": THREE}, (SPANS,)),
        ({"architectures": ["BertModel"], "id2label": THREE}, (ONE, SETS, SPANS)),  # its weights will tell
        ({"id2label": THREE}, (ONE, SETS, SPANS)),
    ],
)
def test_a_checkpoint_is_what_it_is_asked_for_unless_it_says_otherwise(config: Any, fits: Any) -> None:
    """Refused with three parts; and unasked it is the one thing that it can be, or a classifier."""
    for task in (ONE, SETS, SPANS, NUMBERS):
        if task in fits:
            assert task_of(HERE, config, task) is task
            continue
        with pytest.raises(ModelError, match=f"{task.name} is asked of it") as caught:
            task_of(HERE, config, task)
        assert caught.value.cause
        assert caught.value.fix
    if ONE in fits or len(fits) == 1:
        assert task_of(HERE, config, None) is (ONE if ONE in fits else fits[0])
    else:
        with pytest.raises(ModelError, match=f"{ONE.name} is asked of it"):
            task_of(HERE, config, None)


def test_what_the_artifact_says_is_believed() -> None:
    """Beside a config that leaves it open."""
    config = {"architectures": SEQUENCE, "id2label": TWO}
    assert task_of(HERE, config, None, SETS.name) is SETS
    with pytest.raises(ModelError, match="does multi-label-classification, and text-classification is asked"):
        task_of(HERE, config, ONE, SETS.name)


def test_vectors_are_asked_of_checkpoints_without_a_head() -> None:
    """Where that is said: by itself such a checkpoint may be anything. One with a head was fine-tuned for it."""
    for config in ({"architectures": ["BertModel"]}, {"architectures": ["BertForMaskedLM"]}, {}):
        assert task_of(HERE, config, VECTORS) is task_of(HERE, config, None, VECTORS.name) is VECTORS
        assert task_of(HERE, config, None) is ONE
    for heads in (SEQUENCE, TOKENS):
        with pytest.raises(ModelError, match=f"is a {heads[0]} .* and feature-extraction is asked of it"):
            task_of(HERE, {"architectures": heads}, VECTORS)
    assert outputs_of(VECTORS, {0: "LABEL_0", 1: "LABEL_1"}, None, name="m") == ()


def test_tokens_want_tags_that_are_read() -> None:
    """IOB2 in any order; other schemes, and names that nobody has given, are refused unless others are wanted."""
    named = dict(enumerate(("I-Drug", "O", "B-Drug")))
    assert outputs_of(SPANS, named, None, name="m") == ("I-Drug", "O", "B-Drug")
    for odd in ("S-Drug", "Drug"):
        with pytest.raises(ModelError, match="is no tag of IOB2"):
            outputs_of(SPANS, dict(enumerate(("O", odd))), None, name="m")
    counted = {index: f"LABEL_{index}" for index in range(3)}
    with pytest.raises(ModelError, match="'LABEL_0', which is no tag"):
        outputs_of(SPANS, counted, None, name="m")
    assert outputs_of(SPANS, counted, tags_of(("Drug",)), name="m") == tags_of(("Drug",))
    assert outputs_of(NUMBERS, {0: "LABEL_0"}, None, name="m") == ("score",)
