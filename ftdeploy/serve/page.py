"""The page at ``/``: one file, filled in once with what it shows of the model, under a strict content policy."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import orjson

from ftdeploy.errors import ArtifactError
from ftdeploy.serve.wire import Reply
from ftdeploy.signature import Signature
from ftdeploy.tasks import TASKS

_MODEL = "__MODEL__"


def page_reply(path: Path, signature: Signature, *, digest: str) -> Reply:
    """The page as an answer, ready to send.

    Its inline script and style are allowed by their hashes, and nothing else is: no other script, no other origin, no
    framing. That the page shows a model's labels can then never make it run them.

    Raises:
        ArtifactError: the page is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read: {error.strerror}",
            cause="the bundle is not complete",
            fix="make the bundle again",
        ) from error
    shown = {
        "name": signature.name,
        "task": signature.task,
        "view": TASKS[signature.task].view,
        "labels": signature.labels,
        "max_length": signature.max_length,
        "digest": digest,
    }
    # `<` is the only character that could end the data block early.
    filled = text.replace(_MODEL, orjson.dumps(shown).decode().replace("<", "\\u003c"), 1)
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashes(filled, 'script')}",
            f"style-src {_hashes(filled, 'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-cache"),
    )
    return Reply(filled.encode(), content_type=b"text/html; charset=utf-8", headers=headers)


def _hashes(text: str, tag: str) -> str:
    """The sources that allow each inline block of ``<tag>`` (data blocks have attributes and do not count)."""
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
