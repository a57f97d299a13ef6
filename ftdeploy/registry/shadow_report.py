"""What a challenger showed beside the champions that it met: the files of its processes, added up."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Beside a bundle, where its processes write (`ftdeploy.serve.shadow`).
FOLDER = "shadow"


@dataclass(frozen=True, kw_only=True)
class Shadowed:
    """A challenger beside one champion.

    Attributes:
        champion: the beginning of its digest.
        texts: that both have answered.
        agreed: of them, with the same label.
        lower, upper: ends of the interval of the agreement, exact, each missing the truth at most 2.5% of the time.
        flips: (champion's label, challenger's label, texts), most frequent first.
        confidence: mean scores of the best label, the champion's and the challenger's.
        apart: mean distance of the two.
        since, until: first and last writing, UTC.
    """

    champion: str
    texts: int
    agreed: int
    lower: float
    upper: float
    flips: tuple[tuple[str, str, int], ...]
    confidence: tuple[float, float]
    apart: float
    since: datetime
    until: datetime

    @property
    def agreement(self) -> float:
        """Share of the texts with the same label."""
        return self.agreed / self.texts

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        times = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        return asdict(self) | {"agreement": self.agreement} | times


def read_shadow(version: Path) -> tuple[Shadowed, ...]:
    """The comparisons of a version, one for each champion, the latest last. A file that is none is passed over.

    Args:
        version: its folder.
    """
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((version / FOLDER).glob("*.json")):
        try:
            one = json.loads(path.read_bytes())
            if one["format"] == 1 and one["texts"]:
                found[one["champion"]].append(one)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return tuple(sorted((_added(champion, parts) for champion, parts in found.items()), key=lambda one: one.until))


def _added(champion: str, parts: list[dict[str, Any]]) -> Shadowed:
    from ftdeploy.statistics.proportions import share  # scipy

    texts, agreed = (sum(part[name] for part in parts) for name in ("texts", "agreed"))
    flips: Counter[tuple[str, str]] = Counter()
    for part in parts:
        for flip in part["flips"]:
            flips[flip["champion"], flip["challenger"]] += flip["texts"]
    sums = {name: sum(part["confidence"][name] for part in parts) for name in ("champion", "challenger", "apart")}
    interval = share(agreed, texts, confidence=0.975)
    return Shadowed(
        champion=champion,
        texts=texts,
        agreed=agreed,
        lower=interval.lower,
        upper=interval.upper,
        flips=tuple((before, after, count) for (before, after), count in flips.most_common()),
        confidence=(sums["champion"] / texts, sums["challenger"] / texts),
        apart=sums["apart"] / texts,
        since=datetime.fromtimestamp(min(part["since"] for part in parts), UTC),
        until=datetime.fromtimestamp(max(part["until"] for part in parts), UTC),
    )
