"""The page at ``/``: put together once from its parts and what the bundle says of itself, under a strict policy."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from ftdeploy.errors import ArtifactError
from ftdeploy.serve.wire import Reply

#: Mark in ``page.html`` -> the files of its folder that take its place.
_PARTS = {
    "/*STYLE*/": ("page.css",),
    "/*SCRIPT*/": ("texts.js", "views.js", "bundle.js", "ask.js", "answers.js", "page.js"),
}
_MODEL = "__MODEL__"
#: What a script could ask a person for; "copy as curl" writes to the clipboard.
_NOTHING_BUT_THE_CLIPBOARD = (
    b"camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=(), clipboard-read=(), "
    b"clipboard-write=(self)"
)


def page_reply(folder: Path, about: Mapping[str, Any]) -> Reply:
    """The page as an answer, ready to send.

    Its inline script and style are allowed by their hashes, and nothing else is: no other script, no other origin, no
    framing, and no markup made of strings (Trusted Types). That the page shows a model's labels and somebody's texts
    can then never make it run them.

    Args:
        folder: ``page.html`` with its styles and scripts.
        about: what `ftdeploy.serve.about.describe_bundle` says.

    Raises:
        ArtifactError: a part of the page is missing.
    """
    text = _read(folder / "page.html")
    for mark, names in _PARTS.items():
        text = text.replace(mark, "".join(_read(folder / name) for name in names), 1)
    # `<` is the only character that could end the data block early.
    filled = text.replace(_MODEL, orjson.dumps(about).decode().replace("<", "\\u003c"), 1)
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
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    headers = (
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"permissions-policy", _NOTHING_BUT_THE_CLIPBOARD),
        (b"cache-control", b"no-cache"),
    )
    return Reply(filled.encode(), content_type=b"text/html; charset=utf-8", headers=headers)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read: {error.strerror}",
            cause="the bundle is not complete",
            fix="make the bundle again",
        ) from error


def _hashes(text: str, tag: str) -> str:
    """The sources that allow each inline block of ``<tag>`` (data blocks have attributes and do not count)."""
    blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
