"""What a bundle says of itself to people: which model it is, what its report found, whether its traffic drifts.

The page at ``/`` is filled with it, and ``/about`` gives it beside the state of the moment.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ftdeploy import __version__
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.pdf import installed
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS

log = logging.getLogger(__name__)

#: ``none`` was seen; ``watching``: something moved, and more traffic has to tell; ``alarm``; or nothing compares it.
DriftState = Literal["none", "watching", "alarm", "not measured"]

#: What looks for a drift, each at something else (`ftdeploy.serve.detectors`).
DETECTORS = ("embedding", "labels", "confidence", "length", "unknown_tokens")

#: What the service keeps of a text that it answers.
Records = Literal["nothing", "features", "masked texts", "texts"]

#: The version of ``report.json`` that is read here (``schema`` in ``ftdeploy.verdict.Report``, which stays outside).
_REPORT = 2


def describe_bundle(signature: Signature, limits: Limits, *, digest: str, report: Mapping[str, Any] | None,
                    auth: bool = False, records: Records = "features") -> dict[str, Any]:  # fmt: skip
    """What does not change while the bundle is served.

    Args:
        signature: of the model.
        limits: in force.
        digest: of the bundle.
        report: what `report_summary` made of its report.
        auth: whether questions want a bearer key.
        records: what is kept of a text.
    """
    return {
        "name": signature.name,
        "task": signature.task,
        "view": TASKS[signature.task].view,
        "labels": signature.labels,
        "max_length": signature.max_length,
        "windows": signature.windows.model_dump() if signature.windows else None,
        "pairs": list(signature.pairs.columns) if signature.pairs else None,
        "fallback": signature.fallback or None,
        "thresholds": dict(signature.thresholds),
        "review": signature.review.model_dump() if signature.review else None,
        "pdf": bool(signature.review) and installed(),
        "digest": digest,
        "version": __version__,
        "limits": {
            "max_texts": limits.max_texts,
            "max_chars": limits.max_chars,
            "max_body_bytes": limits.max_body_bytes,
        },
        "auth": auth,
        "records": records,
        "report": report,
    }


def report_summary(path: Path) -> dict[str, Any] | None:
    """The verdict of ``report.json``, its metrics with their intervals, and its gates.

    Args:
        path: the file.

    Returns:
        ``verdict``, ``suite``, ``rows``, ``confidence`` (of each end of an interval), ``metrics`` (each with ``value``,
        ``lower``, ``upper`` and the ``baseline``'s value), ``gates`` (each with ``verdict`` and ``explanation``) and
        ``counts`` of the gates by verdict. None when there is no report, or one of another format: a service
        does not stop for that.
    """
    try:
        found = json.loads(path.read_bytes())
        if found["schema"] != _REPORT:
            log.warning("%s is a report of format %s, not %d; it is not shown", path, found["schema"], _REPORT)
            return None
        gates = [{key: gate[key] for key in ("name", "verdict", "explanation")} for gate in found["gates"]]
        return {
            "verdict": str(found["verdict"]),
            "suite": str(found["suite"]),
            "rows": int(found["rows"]),
            "confidence": float(found["confidence"]),
            "metrics": [_metric(one) for one in found["metrics"]],
            "gates": gates,
            "counts": {"pass": 0, "fail": 0, "inconclusive": 0} | Counter(gate["verdict"] for gate in gates),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s cannot be read as a report, and is not shown: %s", path, error)
        return None


def _metric(one: Mapping[str, Any]) -> dict[str, Any]:
    candidate = {end: float(one["candidate"][end]) for end in ("value", "lower", "upper")}
    return {"metric": str(one["metric"]), **candidate, "baseline": float(one["baseline"]["value"])}
