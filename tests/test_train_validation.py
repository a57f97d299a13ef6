"""Metrics on validation rows: of whole texts, where the network sees windows of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from checkpoints import write_tiny_checkpoint

from ftdeploy.tasks import TASKS
from ftdeploy.train.tokens import ArrowRows, encode_to_file
from ftdeploy.train.validation import evaluated_batches, pool_of, validation_metrics
from ftdeploy.windows import Windows

if TYPE_CHECKING:
    from pathlib import Path

TASK = TASKS["text-classification"]
LABELS = ("bad", "good")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ArrowRows:
    """1,500 texts, of one window or of several, one in three of weight 2."""
    import pyarrow as pa
    from transformers import AutoTokenizer

    folder: Path = tmp_path_factory.mktemp("validation")
    write_tiny_checkpoint(folder / "model")
    table = pa.table({
        "text": ["the film " * (1 + index % 20) for index in range(1500)],
        "label": [LABELS[index % 2] for index in range(1500)],
        "weight": pa.array([2.0 if index % 3 == 0 else 1.0 for index in range(1500)], pa.float32()),
    })  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    return encode_to_file(table, tokenizer, TASK, LABELS, max_length=16, file=folder / "rows.arrow",
                          windows=Windows(overlap=4))  # fmt: skip


def test_windows_have_label_and_share_of_their_text(rows: ArrowRows) -> None:
    """Over the borders of the file's chunks; weights of a text add up to its own."""
    assert rows.owners is not None
    assert len(rows) > 2500
    owners = np.array(rows.owners)
    assert sorted(set(rows.owners)) == list(range(1500))
    assert all(row["labels"] == row["text"] % 2 for row in rows)
    sums = np.bincount(owners, weights=[row["weight"] for row in rows])
    np.testing.assert_allclose(sums, [2.0 if index % 3 == 0 else 1.0 for index in range(1500)], rtol=1e-6)


def test_what_is_scored_are_whole_texts(rows: ArrowRows) -> None:
    """Logits that are right for the texts, and wrong for one window of each long one, score as right."""
    assert rows.owners is not None
    order = [index for batch in evaluated_batches(rows) for index in batch]
    first = {owner: index for index, owner in reversed(list(enumerate(rows.owners)))}
    targets = np.array([rows.owners[index] % 2 for index in order])
    logits = np.stack([-targets, targets], axis=1).astype(np.float32)
    counts = np.bincount(rows.owners)
    wrong = [
        at for at, index in enumerate(order) if counts[rows.owners[index]] > 2 and first[rows.owners[index]] == index
    ]
    logits[wrong] = -0.1 * logits[wrong]
    assert len(wrong) > 200
    found = SimpleNamespace(predictions=logits, label_ids=targets)
    whole = validation_metrics(TASK, "eval_accuracy", labels=LABELS, whole=pool_of(rows, "mean"))(found)
    single = validation_metrics(TASK, "eval_accuracy", labels=LABELS)(found)
    assert whole["accuracy"] == 1
    assert single["accuracy"] < 1
