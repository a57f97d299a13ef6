"""What `POST /feedback` is sent: true labels of texts that were answered.

A label is given as its task wants it (`ftdeploy.tasks`): a name, a list of names, of entities, a number. Where it holds
places in the text, the text may come with it: they are checked against it, and it is not kept.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ftdeploy.errors import LINE, did_you_mean, short
from ftdeploy.serve.question import invalid, kind_of, parse_json, whole_number
from ftdeploy.serve.request_ids import IDENTITY
from ftdeploy.serve.traffic import Feedback
from ftdeploy.serve.wire import Refusal
from ftdeploy.tasks import Task

#: Most labels in one request.
MOST = 1000
_KEYS = ("request_id", "label", "index")


def parse_feedback(body: bytes | bytearray, task: Task, labels: Sequence[str], *,
                   subject: str | None) -> list[Feedback]:  # fmt: skip
    """Read the body: one object, or a list of them.

    Args:
        body: as it was sent.
        task: of the model.
        labels: the network's outputs.
        subject: whom the texts are about.

    Raises:
        Refusal: 400 not JSON; 422 a wrong key, type, id, label, text or index, or an empty list; 413 too many.
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
        found.append(Feedback(*_read(one, where, task, labels), time=now, subject=subject))
    return found


def _read(one: Any, where: str, task: Task, labels: Sequence[str]) -> tuple[str, int, str]:
    if not isinstance(one, dict):
        raise invalid(f'{where or "the body "}wants an object like {{"request_id": "...", "label": "..."}}')
    known = (*_KEYS, "text") if task.per_token else _KEYS
    for key in one:
        if key not in known:
            raise invalid(f"unknown key {where}{short(key)}; {did_you_mean(key[:LINE], known)}")
    identity, index, text = one.get("request_id"), one.get("index", 0), one.get("text")
    if not isinstance(identity, str) or not IDENTITY.fullmatch(identity):
        raise invalid(f"{where}request_id wants the X-Request-Id of an answer, not {short(identity)}")
    place = whole_number(index)
    if place is None or place < 0:
        raise invalid(f"{where}index wants the place of the text in its request, counted from 0, not {short(index)}")
    if text is not None and not isinstance(text, str):
        raise invalid(f"{where}text wants the text that was asked, not {kind_of(text)}")
    try:
        return identity, place, task.true_label(one.get("label"), labels, text)
    except ValueError as error:
        raise invalid(f"{where}{error}") from None
