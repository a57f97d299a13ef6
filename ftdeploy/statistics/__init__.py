"""Statistics of an evaluation, with known error rates.

`compare` (non-inferiority), `equivalent` and `superior` judge a metric of two models on the same rows, by the paired
bootstrap; `compare_accuracy` judges shares by Tango's score interval. `slices_non_inferior` and `worst` judge many
parts of the rows at once, and `share` is a share with exact ends. tests/benchmarks/gate_error_rates.py prints how often
each of them errs.
"""

from ftdeploy.statistics.paired import compare, equivalent, estimate, superior
from ftdeploy.statistics.proportions import compare_accuracy, share
from ftdeploy.statistics.resampling import resample
from ftdeploy.statistics.result import Comparison, Estimate, Verdict
from ftdeploy.statistics.slices import (
    SliceComparison,
    SlicesResult,
    WorstSlice,
    holm,
    p_inferior,
    p_worse,
    slices_non_inferior,
    worst,
)  # fmt: skip

__all__ = [
    "Comparison", "Estimate", "SliceComparison", "SlicesResult", "Verdict", "WorstSlice", "compare", "compare_accuracy",
    "equivalent", "estimate", "holm", "p_inferior", "p_worse", "resample", "share", "slices_non_inferior", "superior",
    "worst",
]  # fmt: skip
