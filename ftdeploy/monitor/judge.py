"""The tests of a window against a drift reference, all at one level, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.monitor.effects import (
    binned,
    compare_counts,
    kolmogorov,
    sizes_of_numbers,
    sizes_of_shares,
    total_variation,
)
from ftdeploy.monitor.options import MonitorOptions
from ftdeploy.monitor.result import State, TestResult
from ftdeploy.monitor.two_sample import Classified, Measured, classifier_test, mmd
from ftdeploy.statistics import holm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ftdeploy.drift import Features
    from ftdeploy.metrics import Ids

MMD = "embedding (MMD)"
_METHODS = {
    MMD: "maximum mean discrepancy, permutation test",
    "embedding (classifier)": "classifier two-sample test, 2 AUC - 1",
    "predicted labels": "total variation",
    "confidence": "Kolmogorov distance",
    "length": "Kolmogorov distance",
    "unknown tokens": "Kolmogorov distance",
    "cut texts": "difference of shares",
}


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What the tests found.

    Attributes:
        tests: in the order of `_METHODS`; those that the reference has no numbers for are missing.
        classified: the classifier, for its scores and as the magnitude of the shift.
    """

    tests: tuple[TestResult, ...]
    classified: Classified

    @property
    def drifted(self) -> tuple[TestResult, ...]:
        """The tests that say drift."""
        return tuple(test for test in self.tests if test.state == "drift")


def judge_window(reference: Mapping[str, NDArray[Any]], window: Features, options: MonitorOptions, *,
                seed: int) -> Tested:  # fmt: skip
    """Hold a window against a reference.

    A test says drift when its p-value after Holm's correction is at most the level, and its effect is at least the
    smallest one that matters. The first alone would be an alarm for any trifle in many rows, the second alone for any
    luck in few.

    Args:
        reference: of `ftdeploy.drift`.
        window: rows of the traffic, at least ``options.min_rows``.
        options: level and smallest effect.
        seed: of permutations, deals and halves.
    """
    there = reference["sample"].astype(np.float32)
    # Ends hold for all tests together, as the p-values do.
    confidence = 1 - options.level / len(_METHODS)
    classified = classifier_test(there, window.embedding, seed=seed, confidence=confidence)
    found: dict[str, Measured] = {
        MMD: mmd(there, window.embedding, seed=seed, confidence=confidence),
        "embedding (classifier)": classified,
    }
    histograms = _histograms(reference, window)
    for name, (before, now) in histograms.items():
        distance = kolmogorov if _METHODS[name].startswith("Kolmogorov") else total_variation
        found[name] = compare_counts(before, now, distance, seed=seed, confidence=confidence)
    adjusted = holm([one.p for one in found.values()])
    sizes = _sizes(reference, histograms)
    judged = zip(found.items(), adjusted, strict=True)
    tests = [_result(name, one, p, options, sizes.get(name, {})) for (name, one), p in judged]
    return Tested(tests=tuple(tests), classified=classified)


def _histograms(reference: Mapping[str, NDArray[Any]], window: Features) -> dict[str, tuple[Ids, Ids]]:
    """Name -> rows in each bin, in the reference and in the window."""
    found: dict[str, tuple[Ids, Ids]] = {}
    if "label_counts" in reference:  # vectors have neither labels nor confidence
        labels = reference["label_counts"]
        found["predicted labels"] = (labels, np.bincount(window.labels, minlength=len(labels)).astype(np.int64))
    for name, key, values in (
        ("confidence", "confidence", window.confidence),
        ("length", "length", window.tokens),
        ("unknown tokens", "unknown", window.unknown),
    ):
        if f"{key}_counts" not in reference:
            continue
        found[name] = (reference[f"{key}_counts"], binned(values, reference[f"{key}_edges"]))
    if "truncated_counts" in reference:  # since format 2
        cut = int(window.truncated.sum())
        found["cut texts"] = (reference["truncated_counts"], np.array([len(window) - cut, cut], dtype=np.int64))
    return found


def _sizes(reference: Mapping[str, NDArray[Any]],
           histograms: Mapping[str, tuple[Ids, Ids]]) -> dict[str, dict[str, float]]:  # fmt: skip
    """Name of a test of one feature -> effect sizes by name."""
    edges = {"confidence": "confidence_edges", "length": "length_edges", "unknown tokens": "unknown_edges"}
    return {
        name: sizes_of_numbers(before, now, reference[edges[name]]) if name in edges else sizes_of_shares(before, now)
        for name, (before, now) in histograms.items()
    }


def _result(name: str, found: Measured, adjusted: float, options: MonitorOptions,
            sizes: Mapping[str, float]) -> TestResult:  # fmt: skip
    shown = adjusted <= options.level
    least = options.min_mmd if name == MMD else options.min_effect
    state: State = (
        ("drift" if found.effect >= least else "small") if shown
        else "same" if found.upper < least else "open"
    )  # fmt: skip
    shown_p = "p < 0.001" if adjusted < 0.001 else f"p = {adjusted:.3f}"  # noqa: PLR2004  # as p-values are written
    interval = f"{found.effect:.3f} ({found.lower:.3f} to {found.upper:.3f}), {shown_p} for all tests together"
    words = {
        "drift": f"differs: {interval}",
        "small": f"differs by less than the {least:g} that matters: {interval}",
        "same": f"differs by less than {least:g}, if at all: {interval}",
        "open": f"no difference is shown, and {least:g} is not ruled out: {interval}",
    }
    return TestResult(name=name, method=_METHODS[name], p=found.p, adjusted=adjusted, effect=found.effect,
                      lower=found.lower, upper=found.upper, least=least, sizes=sizes, state=state,
                      explanation=words[state])  # fmt: skip
