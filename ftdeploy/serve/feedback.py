"""What `POST /feedback` is sent: true labels of texts that were answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ftdeploy.errors import did_you_mean
from ftdeploy.serve.question import invalid, parse_json, short, whole_number
from ftdeploy.serve.request_ids import IDENTITY
from ftdeploy.serve.traffic import Feedback
from ftdeploy.serve.wire import Refusal

#: Most labels in one request.
MOST = 1000
_KEYS = ("request_id", "label", "index")


def parse_feedback(body: bytes | bytearray, labels: Sequence[str], *, subject: str | None) -> list[Feedback]:
    """Read the body: one object, or a list of them.

    Args:
        body: as it was sent.
        labels: of the model.
        subject: whom the texts are about.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key, type, id, label or index, or an empty list; 413 too many.
    """
    asked = parse_json(body)
    listed = asked if isinstance(asked, list) else [asked]
    if not listed:
        raise Refusal(422, "empty", "the list is empty: at least one label is wanted")
    if len(listed) > MOST:
        raise Refusal(413, "too_large", f"{len(listed)} labels in one request; at most {MOST} are accepted")
    now = round(time.time(), 3)
    found = []
    for position, one in enumerate(listed):
        where = f"[{position}]." if isinstance(asked, list) else ""
        found.append(Feedback(*_read(one, where, labels), time=now, subject=subject))
    return found


def _read(one: Any, where: str, labels: Sequence[str]) -> tuple[str, int, str]:
    if not isinstance(one, dict):
        raise invalid(f'{where or "the body "}wants an object like {{"request_id": "...", "label": "..."}}')
    for key in one:
        if key not in _KEYS:
            raise invalid(f"unknown key {where}{short(key)}; {did_you_mean(key[:60], _KEYS)}")
    identity, label, index = one.get("request_id"), one.get("label"), one.get("index", 0)
    if not isinstance(identity, str) or not IDENTITY.fullmatch(identity):
        raise invalid(f"{where}request_id wants the X-Request-Id of an answer, not {short(identity)}")
    if not isinstance(label, str) or label not in labels:
        hint = did_you_mean(label[:60], labels) if isinstance(label, str) else ""
        raise invalid(f"{where}label {short(label)} is none of the model's; {hint[:300]}")
    place = whole_number(index)
    if place is None or place < 0:
        raise invalid(f"{where}index wants the place of the text in its request, counted from 0, not {short(index)}")
    return identity, place, label
