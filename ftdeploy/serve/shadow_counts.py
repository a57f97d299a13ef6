"""How two models' answers to the same texts compare, as numbers: no text and no request is in them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ftdeploy.serve.exposition import Snapshot, sample
from ftdeploy.serve.metrics import LABELS, OTHER

#: Upper bounds of differences between two confidences.
DIFFERENCES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: Characters of a digest by which a bundle is told.
DIGITS = 12

#: A text's best label and its score.
Best = tuple[str, float]


class Pair:
    """The answers of one champion beside those of the challenger.

    Attributes:
        texts: compared.
        flips: (champion's label, challenger's label) -> texts, where they differ.
        differences: texts by how far the two confidences are apart, up to each of `DIFFERENCES`.
        apart: sum of these distances.
        confidence: sums of the confidences, the champion's and the challenger's.
    """

    def __init__(self) -> None:
        self.texts = 0
        self.flips: Counter[tuple[str, str]] = Counter()
        self.differences = [0] * len(DIFFERENCES)
        self.apart = 0.0
        self.confidence = [0.0, 0.0]

    def note(self, champion: Best, challenger: Best) -> None:
        """Compare the answers to one text."""
        self.texts += 1
        if champion[0] != challenger[0]:
            self.flips[champion[0], challenger[0]] += 1
        apart = min(1.0, abs(champion[1] - challenger[1]))
        self.differences[bisect_left(DIFFERENCES, apart)] += 1
        self.apart += apart
        self.confidence[0] += champion[1]
        self.confidence[1] += challenger[1]

    def as_dict(self) -> dict[str, Any]:
        """As numbers that can be added up; flips in order of their frequency."""
        flips = [
            {"champion": before, "challenger": after, "texts": texts}
            for (before, after), texts in self.flips.most_common()
        ]
        return {
            "texts": self.texts,
            "agreed": self.texts - self.flips.total(),
            "flips": flips,
            "confidence": {"champion": self.confidence[0], "challenger": self.confidence[1], "apart": self.apart},
            "differences": [list(pair) for pair in zip(DIFFERENCES, self.differences, strict=True)],
        }


class Comparisons:
    """What a challenger has shown beside each champion that it met.

    Args:
        challenger: its bundle's digest.

    Attributes:
        pairs: champion's digest, in short -> the comparison.
        failed: texts that the challenger could not answer.
    """

    def __init__(self, challenger: str) -> None:
        self.challenger = challenger[:DIGITS]
        self.pairs: dict[str, Pair] = {}
        self.failed = 0

    def note(self, champion: str, given: Sequence[Best], found: Sequence[Best]) -> None:
        """Compare the answers to some texts."""
        pair = self.pairs.setdefault(champion[:DIGITS], Pair())
        for one, other in zip(given, found, strict=True):
            pair.note(one, other)

    def snapshot(self) -> Snapshot:
        """For `/metrics`."""
        found: Snapshot = {
            sample("ftdeploy_shadow_ready", challenger=self.challenger): 1,
            "ftdeploy_shadow_failures_total": self.failed,
        }
        for champion, pair in self.pairs.items():
            who = {"champion": champion, "challenger": self.challenger}
            found[sample("ftdeploy_shadow_texts_total", **who)] = pair.texts
            found[sample("ftdeploy_shadow_agreements_total", **who)] = pair.texts - pair.flips.total()
            for number, ((before, after), texts) in enumerate(pair.flips.most_common()):
                # "from" is the champion's label; the rarest pairs of many labels are counted together
                flip = {"from": before, "to": after} if number < LABELS else {"from": OTHER, "to": OTHER}
                key = sample("ftdeploy_shadow_flips_total", **who, **flip)
                found[key] = found.get(key, 0) + texts
            for role, total in zip(("champion", "challenger"), pair.confidence, strict=True):
                found[sample("ftdeploy_shadow_confidence_total", **who, of=role)] = total
            count = 0
            for bound, here in zip((*map(str, DIFFERENCES[:-1]), "+Inf"), pair.differences, strict=True):
                count += here
                found[sample("ftdeploy_shadow_difference_ratio_bucket", **who, le=bound)] = count
            found[sample("ftdeploy_shadow_difference_ratio_sum", **who)] = pair.apart
            found[sample("ftdeploy_shadow_difference_ratio_count", **who)] = count
        return found
