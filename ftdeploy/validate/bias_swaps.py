"""Counterfactuals: the same text with one identity term in the place of another. What changes in the answers is what
the model made of the term (Garg et al. 2019, "Counterfactual fairness in text classification through robustness")."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ndtri

from ftdeploy.metrics import Floats
from ftdeploy.pairs import each
from ftdeploy.suite import Suite, Swap
from ftdeploy.validate.answers import Answers, Subject, chances
from ftdeploy.validate.bias import Share, wilson
from ftdeploy.verdict import Scored, SwapChange, SwapResult


def swapper(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """A function that puts every term of a text in the place of its counterpart, both ways at once.

    Terms are found as whole words, whatever their case; the counterpart takes on the case (she, She, SHE). A term that
    stands in two pairs goes to the first.
    """
    other: dict[str, str] = {}
    for one, two in pairs:
        other.setdefault(one.casefold(), two)
        other.setdefault(two.casefold(), one)
    listed = "|".join(re.escape(term) for term in sorted(other, key=lambda term: (-len(term), term)))
    pattern = re.compile(rf"(?<!\w)(?:{listed})(?!\w)", re.IGNORECASE)

    def swap(text: str) -> str:
        return pattern.sub(lambda found: _cased(other.get(found[0].casefold(), found[0]), found[0]), text)

    return swap


def _cased(term: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return term.upper()
    return term[0].upper() + term[1:] if like[0].isupper() else term


def counterfactuals(suite: Suite, answers: Answers, baseline: Subject, candidate: Subject) -> list[SwapResult]:
    """What both models answer when the suite's terms are swapped, over the rows that hold one.

    Args:
        suite: names the pairs.
        answers: holds the texts.
        baseline, candidate: the models.
    """
    return [_one(swap, suite, answers, (baseline, candidate)) for swap in suite.swaps]


def _one(swap: Swap, suite: Suite, answers: Answers, models: tuple[Subject, Subject]) -> SwapResult:
    change = swapper(swap.pairs)
    pairs = [(text, changed) for text in answers.texts if (changed := each(text, change)) != text]
    before, after = (_change(model, pairs, suite.confidence) for model in models)
    return SwapResult(name=swap.name, rows=len(pairs), baseline=before, candidate=after)


def _change(model: Subject, pairs: Sequence[tuple[str, str]], confidence: float) -> SwapChange:
    if not pairs:
        nothing = Scored(value=0.0, lower=0.0, upper=1.0)
        return SwapChange(changed=nothing, score=nothing)
    z = float(ndtri(confidence))
    was, now = (chances(model.said([pair[side] for pair in pairs])).astype(np.float64) for side in (0, 1))
    label = was.argmax(axis=1)
    flipped = Share(hits=int((now.argmax(axis=1) != label).sum()), of=len(pairs))
    rows = np.arange(len(pairs))
    low, high = wilson(flipped, z)
    return SwapChange(
        changed=Scored(value=flipped.value, lower=low, upper=high),
        score=_mean(np.abs(now[rows, label] - was[rows, label]), z),
    )


def _mean(values: Floats, z: float) -> Scored:
    """The mean with the ends of its interval, by the normal approximation."""
    mean = float(values.mean())
    half = z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 1.0
    return Scored(value=mean, lower=max(0.0, mean - half), upper=min(1.0, mean + half))
