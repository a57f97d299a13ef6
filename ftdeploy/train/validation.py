"""The validation rows while training: in which batches, and the metrics of what the network answers to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ftdeploy.batching import by_length
from ftdeploy.metrics import METRICS, score
from ftdeploy.metrics.entities import tag_scores
from ftdeploy.metrics.label_sets import set_scores
from ftdeploy.metrics.numbers import number_scores
from ftdeploy.tasks.token_classification import IGNORED
from ftdeploy.train.tokens import ArrowRows, Row, row_lengths
from ftdeploy.windows import Pooling, pool

if TYPE_CHECKING:
    from ftdeploy.recipe import TrainSettings
    from ftdeploy.tasks import Task

#: Padded tokens in a batch of an evaluation.
EVALUATION_TOKENS = 4096

Pool = Callable[[Any, Any], tuple[Any, Any]]


def evaluated_batches(rows: Sequence[Row]) -> list[list[int]]:
    """The batches of an evaluation, as indices of rows."""
    return list(by_length(row_lengths(rows), tokens=EVALUATION_TOKENS, rows=256))


def pool_of(rows: Sequence[Row], pooling: Pooling | None) -> Pool | None:
    """What makes logits and targets of texts out of those of their windows, which come in the order evaluated."""
    if pooling is None or not isinstance(rows, ArrowRows) or rows.owners is None:
        return None
    order = [index for batch in evaluated_batches(rows) for index in batch]
    owners, tokens = [rows.owners[index] for index in order], [rows.lengths[index] for index in order]
    _, firsts = np.unique(owners, return_index=True)
    return lambda logits, targets: (pool(logits, owners, tokens, pooling), targets[firsts])


def watched_metric(task: Task, settings: TrainSettings) -> str:
    """The key in the log by which the best weights are chosen: early stopping's metric, or the task's first."""
    stopping = settings.early_stopping
    return f"eval_{stopping.metric if stopping and stopping.metric else task.metrics[0]}"


def validation_metrics(task: Task, followed: str, *, labels: Sequence[str],
                       whole: Pool | None = None) -> Callable[[Any], dict[str, float]]:  # fmt: skip
    """From all logits and targets of an evaluation: the task's metrics, the one that is followed, and ``loss``, the
    mean cross-entropy over the rows (or words), or of numbers the mean squared error.

    Args:
        task: whose metrics they are.
        followed: as `watched_metric` gives it.
        labels: by class id.
        whole: of logits and targets of windows, those of their texts; None where a row is a text.
    """
    names = dict.fromkeys((*task.metrics, followed.removeprefix("eval_")))

    def compute(found: Any) -> dict[str, float]:
        answers, known = found.predictions, found.label_ids
        if whole is not None:
            answers, known = whole(answers, known)
        if task.number:
            numbers, truths = answers[:, 0].astype(np.float64), known.astype(np.float64)
            of_numbers = number_scores(truths, numbers)
            return of_numbers | {"loss": of_numbers["mse"]}
        if task.multi_label:
            said, truth = (answers > 0).astype(np.float64), known.astype(np.float64)
            losses = np.logaddexp(0, answers.astype(np.float64)) - answers * truth
            return set_scores(truth, said) | {"loss": float(losses.mean())}
        guesses = answers.argmax(axis=-1)
        logits, targets = torch.from_numpy(answers), torch.from_numpy(known)
        loss = float(torch.nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=IGNORED))
        if task.per_token:
            return tag_scores(known, guesses, labels) | {"loss": loss}
        scores = {n: score(METRICS[n], known, guesses, len(labels)) for n in names if n != "loss"}
        return scores | {"loss": loss}

    return compute
