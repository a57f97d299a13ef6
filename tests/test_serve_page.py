"""The page: self-contained, allowed to do only what it needs, and shown by a real browser where there is one."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from tiny import ROOT

from ftdeploy.errors import ArtifactError
from ftdeploy.serve.page import page_reply
from ftdeploy.signature import Signature

PAGE = ROOT / "bentos" / "page.html"


def _signature(**changes: object) -> Signature:
    facts = {"name": "tiny", "task": "text-classification", "labels": ("a", "b"), "max_length": 32} | changes
    return Signature.model_validate(facts)


def test_the_policy_allows_the_inline_blocks_by_hash_and_nothing_else() -> None:
    """No other script, no other origin, no frame around it; the hashes fit what is sent."""
    reply = page_reply(PAGE, _signature(), digest="d" * 64)
    policy = dict(reply.headers)[b"content-security-policy"].decode()
    text = reply.body.decode()
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        expected = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{name} 'sha256-{expected}';" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_nothing_is_loaded_from_anywhere() -> None:
    """No address of another host, no inline handler or style attribute (the policy would block it)."""
    text = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"<[^>]+\s(?:on\w+|style)=", text)


def test_a_label_cannot_end_the_data_block() -> None:
    """Whatever a model's labels are called, they stay data."""
    reply = page_reply(PAGE, _signature(labels=("</script><script>alert(1)</script>", "b")), digest="d")
    assert reply.body.count(b"<script") == 2
    assert rb"\u003c/script>" in reply.body


def test_a_missing_page_is_an_error_in_words(tmp_path: Path) -> None:
    """The bundle is not complete."""
    with pytest.raises(ArtifactError, match=r"page\.html"):
        page_reply(tmp_path / "page.html", _signature(), digest="d")
