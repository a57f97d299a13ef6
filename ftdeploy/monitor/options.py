"""When monitoring speaks of drift: what the recipe's ``monitor`` section says, as the bundle carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ftdeploy.errors import ArtifactError, refuse_unknown


@dataclass(frozen=True, kw_only=True)
class MonitorOptions:
    """See `ftdeploy.recipe.MonitorSettings`, which documents each.

    Attributes:
        level: probability of any false alarm in a report.
        min_effect: share of the traffic that must differ for an alarm.
        min_mmd: the same for the standardised MMD.
        min_rows: fewer rows make no verdict.
        accuracy_tolerance: error that a valid estimate of the accuracy may have.
        label_rows: rows in the queue.
    """

    level: float = 0.05
    min_effect: float = 0.1
    min_mmd: float = 0.05
    min_rows: int = 50
    accuracy_tolerance: float = 0.05
    label_rows: int = 100


def read_options(stated: Mapping[str, float]) -> MonitorOptions:
    """Options from ``signature.monitor``; a bundle without any has the defaults.

    Raises:
        ArtifactError: a name that is not an option.
    """
    known = {name: type(value) for name, value in asdict(MonitorOptions()).items()}
    refuse_unknown(stated, known, what="a monitor option", error=ArtifactError, who="this ftdeploy")
    return MonitorOptions(**{name: known[name](value) for name, value in stated.items()})
