"""Whether probabilities mean what they say, as data for a reliability diagram (Guo et al. 2017, "On Calibration of
Modern Neural Networks"): rows by the probability of their first label, and how many of them are right."""

from __future__ import annotations

import numpy as np

from ftdeploy.metrics import Ids
from ftdeploy.validate.answers import Answer, Answers
from ftdeploy.verdict import Reliability, ReliabilityBin

#: As in the paper, of equal width.
BINS = 15


def reliability(answers: Answers) -> Reliability | None:
    """The diagrams of both models; of vectors and numbers, which have no probability, none."""
    if not answers.task.probabilities:
        return None
    return Reliability(
        baseline=_bins(answers.baseline, answers.references), candidate=_bins(answers.candidate, answers.references)
    )


def _bins(answer: Answer, references: Ids) -> tuple[ReliabilityBin, ...]:
    """Bins that hold rows; each is open below and closed above, as in the paper, and the first holds 0."""
    scores = answer.scores.astype(np.float64)
    place = np.clip(np.ceil(scores * BINS).astype(np.int64) - 1, 0, BINS - 1)
    right = (answer.predictions == references).astype(np.float64)
    rows, confidence, accuracy = (
        np.bincount(place, weights=weights, minlength=BINS) for weights in (None, scores, right)
    )
    return tuple(
        ReliabilityBin(
            lower=index / BINS,
            upper=(index + 1) / BINS,
            rows=int(rows[index]),
            confidence=float(confidence[index] / rows[index]),
            accuracy=float(accuracy[index] / rows[index]),
        )
        for index in np.flatnonzero(rows).tolist()
    )
