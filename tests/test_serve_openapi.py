"""The description at /docs.json is consistent with itself and with what is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiny import write_source

from ftdeploy.serve.app import create_app
from ftdeploy.serve.limits import Limits
from ftdeploy.serve.openapi import describe, with_keys
from ftdeploy.signature import Signature


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_every_reference_leads_somewhere_and_every_route_is_described(tmp_path: Path) -> None:
    """No dangling $ref; the paths and methods are those of the application."""
    import asyncio

    import orjson

    write_source(tmp_path / "src", serve={"max_texts": 5})

    async def read() -> tuple[dict[str, Any], dict[str, set[str]]]:
        app = create_app(tmp_path / "src")
        reply = await app._routes["/docs.json"][1]["GET"]({}, None)  # type: ignore[arg-type]  # it reads nothing
        served = {path: set(handlers) - {"HEAD"} for path, (_, handlers) in app._routes.items()}
        return orjson.loads(reply.body), served

    document, served = asyncio.run(read())
    assert document["openapi"].startswith("3.1")
    for reference in set(_references(document)):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    described = {path: {method.upper() for method in item} for path, item in document["paths"].items()}
    assert described == served
    question = document["components"]["schemas"]["Question"]["properties"]["inputs"]["anyOf"][1]
    assert question["maxItems"] == 5


def test_where_keys_are_on_the_description_says_which_scope_opens_what() -> None:
    """Security and both refusals on the paths that want a key, nothing on the others; the open one is unchanged."""
    signature = Signature(name="m", task="text-classification", labels=("a", "b"), max_length=8)
    plain = describe(signature, Limits(), digest="d" * 64, version="1")
    document = with_keys(plain, {"/predict": "predict", "/metrics": "admin", "/livez": None})
    for path, method, scope in (("/predict", "post", "predict"), ("/metrics", "get", "admin")):
        operation = document["paths"][path][method]
        assert operation["security"] == [{"key": [scope]}]
        assert {"200", "401", "403"} <= set(operation["responses"])
    for path in ("/livez", "/"):
        assert document["paths"][path] == plain["paths"][path]
    for status in ("401", "403"):
        assert "WWW-Authenticate" in document["components"]["responses"][status]["headers"]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert plain == describe(signature, Limits(), digest="d" * 64, version="1")
    for reference in set(_references(document)):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_a_fallback_is_described_where_it_can_be_answered() -> None:
    """As a label of answers, which are then longer by one; never as a true label of feedback."""
    signature = Signature(name="m", task="text-classification", labels=("a", "b"), max_length=8)
    unsure = signature.model_copy(update={"fallback": "other", "thresholds": {"a": 0.8}})
    for model, labels in ((signature, ["a", "b"]), (unsure, ["a", "b", "other"])):
        found = describe(model, Limits(), digest="d" * 64, version="1")["components"]["schemas"]
        assert found["Score"]["properties"]["label"] == {"enum": labels}
        assert found["Answer"]["maxItems"] == len(labels)
        assert ("'other'" in found["Answer"]["description"]) is (len(labels) == 3)
        assert found["Labels"]["anyOf"][0]["properties"]["label"]["enum"] == ["a", "b"]
        assert ("fallback" in found["Model"]["properties"]["parameters"]["required"]) is (len(labels) == 3)
    own = signature.model_copy(update={"fallback": "b", "thresholds": {"a": 0.8}})
    found = describe(own, Limits(), digest="d" * 64, version="1")["components"]["schemas"]
    assert found["Score"]["properties"]["label"] == {"enum": ["a", "b"]}
