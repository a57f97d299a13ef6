"""Where work that falls into parts is spread: the one seam for an engine that uses more than one machine.

Cross-validation trains a model for each fold and tuning one for each trial. Both hand a function and its items to
`run_all`, and nothing else in ftdeploy knows where they run. Here they run one after the other, because one training
already uses every processor. An engine for more machines (Ray, say) takes the place of this one function; what it may
rely on: the items and results can be pickled, an item's work goes into a folder of its own, an item whose work is
finished is cheap to repeat, and results are wanted in the order of the items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What ``function`` returns for each item, in the order of the items.

    Args:
        function: does one item's work.
        items: the work.

    Raises:
        Exception: the first that ``function`` raises; what was finished before stays.
    """
    return [function(item) for item in items]
