"""``profile.json``: what was read, changed, set aside, and what is in each split.

Keys: ``source``, ``licence`` and ``citation`` (in words) and ``encoding``; for a recipe with several sources instead
``sources``, a list of these with ``name``, ``weight``, ``role``, ``read`` and ``splits`` (rows by split). ``read``
(rows), ``kept`` (rows in the splits), ``changed`` and ``rejected`` (by rule: ``rows`` and up to three shortened
``examples``; ``after``, what they became, for rules that are not on by default), ``duplicates``, ``conflicts`` and
``sampled_out`` (rows), ``labels`` (in the order of their ids), ``splits`` (by name: ``rows``, ``labels`` with counts,
``groups``, ``chars`` with quantiles of the text length in characters (of pairs, of both together), ``slices`` with
counts by column and value).
Where rules of `data.clean` ask for it: ``reported`` (as ``rejected``, but the rows are kept), ``usual_length``
(``unit`` and ``bounds``, null where the rows do not tell) and ``boilerplate`` (different ``texts`` looked at;
``lines``, ``starts`` and ``ends`` that recur, each with the number of texts that have it, and under ``tells_label``
those that stand mostly beside certain labels, with the texts of each label).

Each only where there is something to say:

- ``near_duplicates``: ``threshold``, ``action``, ``pairs`` (some, of large clusters), ``clusters`` (texts so tied),
  ``rows`` in them, the ``largest``, those with ``mixed_labels``, rows ``dropped``, pairs that stand ``across_splits``,
  and up to three ``examples`` (``ids``, shortened ``texts``, ``similarity``).
- ``leakage``, where the splits were given: ``rows`` of train or validation that stand in a later split too,
  ``by_kind`` (exact, near, group; a row can be of several), ``by_split`` (where the rows stand), ``examples`` of pairs
  of ids by kind, the ``action`` and the rows ``dropped``.
- ``split_method``, other than by chance: ``by`` (column, role, time), ``column``; for time also ``periods`` (``first``
  and ``last`` time by split) and ``gap`` (rows left out).
- ``balance``, where a label has fewer than 20 rows in train or in test: ``shares`` by label over all splits,
  ``imbalance`` (the most frequent label's rows over the rarest's), ``rare`` (rows by label and split).
- ``pairs``, where rows have a second text: how the recipe calls the columns with the two.
- ``numbers``, where labels are numbers: by split their ``mean``, ``deviation`` (standard), ``least`` and ``greatest``.
- ``quality``: ``models`` (tfidf, tfidf + encoder, out_of_fold) and their out-of-fold ``accuracy`` on the training rows,
  ``splits`` (by name: rows ``judged``, ``suspects``, ``ambiguous``, ``outliers``), ``estimated_noise`` (by given label:
  about how many training rows truly have each other label), ``balance`` (training rows by label before anything was
  dropped, and the ``imbalance_ratio``), ``action`` and the rows ``acted_on``.
- ``bias``: ``columns`` (by column and group: training ``rows``, and the share of each of their ``labels``) and
  ``reweigh`` (``column``, and ``weights`` by group and label).
- ``unlabelled``, where the recipe has `data.unlabelled`: ``sources`` (as above, with ``name``, ``read`` and ``kept``),
  ``read`` and ``kept`` (texts), ``changed`` and ``rejected`` as above, ``duplicates`` (of another such text),
  ``in_splits`` (by split, texts that equal one of its rows), ``near_duplicates`` (of a row of validation or test),
  ``sampled_out``; with `data.privacy` also ``identifiers`` (findings by type in what cleaning left).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ftdeploy.prepare.clean import DEFAULT_RULES, Tally
from ftdeploy.prepare.cleaning.counts import beginning, difference
from ftdeploy.prepare.leakage import FIXED

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SLICE_VALUES = 100


def profile_numbers(values: NDArray[np.float64], where: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """The labels of each split, where these are numbers.

    Args:
        values: of all rows, shape (rows,).
        where: the split of each, likewise (`ftdeploy.prepare.split`).
    """
    found: dict[str, dict[str, float]] = {}
    for name, place in FIXED.items():
        some = values[where == place]
        if len(some):
            found[name] = {"mean": float(some.mean()), "deviation": float(some.std()),
                           "least": float(some.min()), "greatest": float(some.max())}  # fmt: skip
    return found


def one_part(label: str) -> tuple[str, ...]:
    """What a label counts as, where it is one name."""
    return (label,)


@dataclass(kw_only=True)
class SplitProfile:
    """Counts over one split, fed with record batches; a label counts as each of its parts."""

    slices: Sequence[str]
    parts: Callable[[str], Sequence[str]] = one_part
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    groups: int = 0
    values: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch."""
        import pyarrow.compute as pc

        self.rows += batch.num_rows
        for label, count in _counts(batch.column("label")).items():
            for name in self.parts(label):
                self.labels[name] += count
        self.lengths.update(_counts(pc.utf8_length(batch.column("text"))))
        for name in self.slices:
            self.values.setdefault(name, Counter()).update(_counts(batch.column(name)))

    def as_dict(self) -> dict[str, Any]:
        """Plain data; slices with their most common values only."""
        return {
            "rows": self.rows,
            "labels": dict(sorted(self.labels.items())),
            "groups": self.groups,
            "chars": quantiles(self.lengths),
            "slices": {name: dict(counts.most_common(_SLICE_VALUES)) for name, counts in self.values.items()},
        }


def tallies(counted: Mapping[str, Tally]) -> dict[str, Any]:
    """Counts and examples by rule, as plain data."""
    return {name: {"rows": tally.rows} | _examples(name, tally) for name, tally in sorted(counted.items())}


def _examples(name: str, tally: Tally) -> dict[str, list[str]]:
    if name in DEFAULT_RULES or all(after is None for _, after in tally.examples):
        return {"examples": [beginning(before) for before, _ in tally.examples]}
    pairs = [difference(before, after) for before, after in tally.examples]
    return {"examples": [before for before, _ in pairs], "after": [after or "" for _, after in pairs]}


def _counts(column: Any) -> dict[Any, int]:
    return {item["values"]: item["counts"] for item in column.value_counts().to_pylist() if item["values"] is not None}


def quantiles(lengths: Mapping[int, int]) -> dict[str, int]:
    """Quantiles of lengths, from rows by length; keys are the shares."""
    return {f"{share:g}": _quantile(lengths, share) for share in _QUANTILES}


def _quantile(lengths: Mapping[int, int], share: float) -> int:
    """The smallest length that at least this share of the rows do not exceed (the inverted distribution function)."""
    wanted = share * sum(lengths.values())
    seen = 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= wanted:
            return length
    return 0
