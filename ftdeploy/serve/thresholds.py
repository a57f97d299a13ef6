"""The answer where the model is not sure enough: a fallback label before its own (classification with a reject option,
Chow 1970, "On Optimum Recognition Error and Reject Tradeoff").

A signature gives labels a least score. Where the likeliest label of a text has less than its own, the fallback stands
first and the model's labels follow it as they are: whoever takes the first of an answer gets what the service decided,
and whoever reads all of it misses nothing. What the service records, counts and watches are the model's own labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftdeploy.signature import Signature


def sure_enough(answer: Sequence[Mapping[str, Any]], signature: Signature) -> bool:
    """Whether the likeliest label of an answer has the score that it must have.

    Args:
        answer: labels with probabilities, best first.
        signature: of the model.
    """
    return bool(answer[0]["score"] >= signature.thresholds.get(answer[0]["label"], 0.0))


def decided(answer: list[dict[str, Any]], signature: Signature) -> list[dict[str, Any]]:
    """An answer with the fallback first where the likeliest label is not sure enough.

    Args:
        answer: all labels with probabilities, best first; not changed.
        signature: of the model.

    Returns:
        The answer, or another list. A fallback that the model knows keeps its probability; another one has that of the
        likeliest label being wrong.
    """
    fallback = signature.fallback
    if not fallback or sure_enough(answer, signature):
        return answer
    own = [item for item in answer if item["label"] == fallback]
    if own:
        return own + [item for item in answer if item["label"] != fallback]
    return [{"label": fallback, "score": 1 - answer[0]["score"]}, *answer]
