"""``POST /anomaly``: how unusual texts are beside the population of a label, where answers are vectors.

The bundle's recipe says so (``package.anomaly``). Whoever knows the label of a request's texts tells it; else they are
held against the rows of all labels (`ftdeploy.anomaly`).
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from ftdeploy.anomaly import Populations
from ftdeploy.errors import did_you_mean, short
from ftdeploy.serve.answers import Answers
from ftdeploy.serve.embed import texts_of
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.question import check_object, invalid, kind_of, parse_json
from ftdeploy.serve.wire import Reply, Scope
from ftdeploy.signature import Anomaly

PATH = "/anomaly"


@dataclass(frozen=True, slots=True)
class Unusual:
    """A request.

    Attributes:
        texts: at least one.
        known: the populations that they are held against.
        label: of all of them; None where it is not known.
        level: a text with at most this p-value counts as unusual.
        whole: never refuse a text that has to be cut.
    """

    texts: list[str]
    known: Populations
    label: str | None
    level: float
    whole: bool = False

    def render(self, answers: Answers) -> Reply:
        """For each text its p-value, whether it counts as unusual, and the label that it is nearest to."""
        values, nearest = self.known.p_values(answers.vectors(), self.label)
        rows = [
            {"p_value": value, "unusual": value <= self.level, "nearest": label}
            for value, label in zip(values.tolist(), nearest, strict=True)
        ]
        return Reply(orjson.dumps(rows))


def parse_anomaly(known: Populations, settings: Anomaly, body: bytes | bytearray, scope: Scope,  # noqa: ARG001  # as all protocols
                  limits: Limits) -> Unusual:  # fmt: skip
    """Read the body of ``POST /anomaly``.

    Args:
        known: the populations of the bundle.
        settings: of the signature.
        body: of the request.
        scope: of the request.
        limits: of the service.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key, type or label; 413 too many texts, or one too long.
    """
    asked = parse_json(body)
    check_object(asked, ("inputs", "label"), "the body")
    label = asked.get("label")
    if label is not None and not isinstance(label, str):
        raise invalid(f"label wants a text, not {kind_of(label)}")
    if label is not None and label not in known.labels:
        raise invalid(f"{short(label)} is no label that texts can be held against; {did_you_mean(label, known.labels)}")
    return Unusual(texts_of(asked, "inputs", limits), known, label, settings.level)
