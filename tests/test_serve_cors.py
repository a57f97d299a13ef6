"""Pages of other origins: nothing without a setting, exact origins, never with credentials."""

from __future__ import annotations

import pytest

from ftdeploy.serve.cors import Cors, refuse_elsewhere
from ftdeploy.serve.wire import Refusal, Scope

APP = b"https://app.example.org"


def scope(origin: bytes | None = None, **more: bytes) -> Scope:
    headers = [] if origin is None else [(b"origin", origin)]
    headers += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
    return {"type": "http", "method": "POST", "headers": headers}


def test_an_allowed_origin_reads_the_answer_and_its_headers() -> None:
    """The exact one is named, caches are told that it matters, and no cookie may come."""
    found = dict(Cors(["http://a", APP.decode()]).headers(scope(APP)))
    assert found[b"access-control-allow-origin"] == APP
    assert found[b"vary"] == b"origin"
    exposed = found[b"access-control-expose-headers"].split(b", ")
    assert {b"x-request-id", b"x-model-digest", b"x-truncated", b"retry-after"} <= set(exposed)
    assert b"inference-header-content-length" in exposed  # where the tensors of an answer begin
    assert b"access-control-allow-credentials" not in found


@pytest.mark.parametrize("origin", [None, b"null", b"https://app.example.org.evil", b"https://app.example", b"*", b""])
def test_any_other_origin_gets_no_leave_and_caches_are_still_told(origin: bytes | None) -> None:
    """The answer without leave must not be kept for the origin that has it."""
    assert Cors([APP.decode()]).headers(scope(origin)) == ((b"vary", b"origin"),)


def test_a_star_is_everybody_and_one_answer_for_all() -> None:
    """Then the answer does not depend on who asks; who is no page gets nothing more."""
    for origin in (APP, b"null"):
        found = dict(Cors(["*"]).headers(scope(origin)))
        assert found[b"access-control-allow-origin"] == b"*"
        assert b"vary" not in found
        assert b"access-control-allow-credentials" not in found
    assert Cors(["*"]).headers(scope()) == ()


def test_a_preflight_is_204_with_what_may_be_sent() -> None:
    """A bearer key, JSON, whom it is about and where tensors begin are among it, the methods are those of the path."""
    reply = Cors([APP.decode()]).preflight(scope(APP, access_control_request_method=b"POST"), ["POST"])
    assert reply is not None
    assert (reply.status, reply.body) == (204, b"")
    found = dict(reply.headers)
    assert found[b"access-control-allow-methods"] == b"POST"
    sent = set(found[b"access-control-allow-headers"].split(b", "))
    assert {b"authorization", b"content-type", b"x-subject-id", b"inference-header-content-length"} <= sent
    assert int(found[b"access-control-max-age"]) > 0


def test_what_is_no_preflight_or_not_allowed_is_not_answered_as_one() -> None:
    """OPTIONS stays what it was for everybody else."""
    cors = Cors([APP.decode()])
    assert cors.preflight(scope(APP), ["POST"]) is None
    assert cors.preflight(scope(b"https://evil", access_control_request_method=b"POST"), ["POST"]) is None
    assert cors.preflight(scope(access_control_request_method=b"POST"), ["POST"]) is None


@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
@pytest.mark.parametrize("cors", [None, Cors([APP.decode()])])
def test_what_a_browser_sends_for_a_page_that_may_not_ask_is_refused(cors: Cors | None, site: bytes) -> None:
    """Another site, and another port or name of ours; an opaque origin, too. The body is not read."""
    for origin in (None, b"null", b"https://evil.example"):
        with pytest.raises(Refusal) as caught:
            refuse_elsewhere(scope(origin, sec_fetch_site=site), cors)
        assert (caught.value.status, caught.value.error_type) == (403, "forbidden")
        assert caught.value.unread


def test_who_may_ask_or_is_no_page_is_not_refused() -> None:
    """The service's own page, what a person does by hand, a listed origin, everybody where all are; and programs, which
    do not say it."""
    for found in (scope(), scope(APP), scope(APP, sec_fetch_site=b"same-origin"), scope(sec_fetch_site=b"none")):
        refuse_elsewhere(found, None)
    for origins in ([APP.decode()], ["*"]):
        refuse_elsewhere(scope(APP, sec_fetch_site=b"cross-site"), Cors(origins))
