"""The page: put together from its parts, allowed only what it needs; end_to_end/test_service_page.py looks at it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from pathlib import Path

import pytest
from html_reader import Reader
from tiny import ROOT

from ftdeploy.errors import ArtifactError
from ftdeploy.serve.about import describe_bundle
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.page import page_reply
from ftdeploy.serve.wire import Reply
from ftdeploy.signature import Signature

PAGE = ROOT / "bentos" / "page"


def _reply(**changes: object) -> Reply:
    facts = {"name": "tiny", "task": "text-classification", "labels": ("a", "b"), "max_length": 32} | changes
    return page_reply(PAGE, describe_bundle(Signature.model_validate(facts), Limits(), digest="d" * 64, report=None))


def test_the_policy_allows_the_inline_blocks_by_hash_and_nothing_else() -> None:
    """No other script, no other origin, no frame around it, no markup out of strings; the hashes fit what is sent."""
    reply = _reply()
    policy = dict(reply.headers)[b"content-security-policy"].decode()
    text = reply.body.decode()
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        expected = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{name} 'sha256-{expected}';" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy


def test_every_part_is_in_the_page() -> None:
    """Each style and script of the folder, whole, and no mark is left."""
    text = _reply().body.decode()
    parts = [path for path in PAGE.iterdir() if path.suffix in (".css", ".js")]
    assert len(parts) > 2
    for path in parts:
        assert path.read_text(encoding="utf-8") in text, path
    assert "/*STYLE*/" not in text
    assert "/*SCRIPT*/" not in text
    assert "__MODEL__" not in text


def test_nothing_is_loaded_from_anywhere() -> None:
    """No address of another host, no inline handler or style attribute (the policy would block it)."""
    text = _reply().body.decode()
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"<[^>]+\s(?:on\w+|style|src)=", text)


def test_it_is_well_formed_and_its_references_lead_somewhere() -> None:
    """Tags close; no id stands twice; every label, description and link within the page names an element of it."""
    found = Reader(_reply().body.decode())
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [one for _, attributes in found.tags for key in ("for", "aria-labelledby", "aria-describedby")
             for one in attributes.get(key, "").split()]  # fmt: skip
    named += [attributes["href"][1:] for _, attributes in found.tags if attributes.get("href", "").startswith("#")]
    assert named
    assert set(named) <= set(ids)


def test_a_label_cannot_end_the_data_block() -> None:
    """Whatever a model's labels are called, they stay data."""
    reply = _reply(labels=("</script><script>alert(1)</script>", "b"))
    assert reply.body.count(b"<script") == 2
    assert rb"\u003c/script>" in reply.body


def test_the_page_may_ask_for_nothing_of_the_device() -> None:
    """No camera, no place; only to copy, which its button does."""
    policy = dict(_reply().headers)[b"permissions-policy"]
    assert b"camera=()" in policy
    assert b"geolocation=()" in policy
    assert b"clipboard-write=(self)" in policy


@pytest.mark.parametrize("name", ["page.html", "page.css", "views.js"])
def test_a_missing_part_is_an_error_in_words(tmp_path: Path, name: str) -> None:
    """The bundle is not complete."""
    shutil.copytree(PAGE, tmp_path / "page")
    (tmp_path / "page" / name).unlink()
    with pytest.raises(ArtifactError, match=re.escape(name)):
        page_reply(tmp_path / "page", {})
