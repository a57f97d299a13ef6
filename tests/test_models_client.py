"""The HTTP client by itself: URLs, logins, waiting."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tiny_service import Reply, served

from ftdeploy.errors import SourceError
from ftdeploy.models.client import Calls, Client, retry_after


def test_what_a_url_hides_is_sent_and_not_shown() -> None:
    """User, password and query are no part of a name that stands in reports."""
    client = Client("http://me:secret@example.org:81/base/?key=hidden", Calls())
    assert client.shown == "http://example.org:81/base"
    assert (client.origin, client.path) == ("http://example.org:81", "/base")
    client.close()


def test_user_and_query_go_with_every_request() -> None:
    """As Basic authentication, to this service only."""
    seen: list[str] = []

    def look(path: str, _asked: Any, _good: Reply) -> None:
        seen.append(path)

    with served("hf", reply=look) as service:
        client = Client(service.url.replace("//", "//me:secret@") + "?key=hidden", Calls())
        client.post("/predict", {"inputs": ["one"]})
        client.close()
        assert base64.b64decode(service.headers[-1]["Authorization"].removeprefix("Basic ")) == b"me:secret"
    assert seen == ["/predict?key=hidden"]


@pytest.mark.parametrize("place", ["http://", "https:///x", "http://host:port", "http://[::1"])
def test_what_is_no_url_is_told(place: str) -> None:
    """With the form that is wanted."""
    with pytest.raises(SourceError, match="is no URL") as found:
        Client(place, Calls())
    assert "http://HOST:PORT" in found.value.fix


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_is_wanted_is_told(status: int) -> None:
    """Of what is asked, not of what is only looked for; with what to set."""
    with served("hf", reply=lambda *_: (status, {}, {"error": "no"})) as service:
        client = Client(service.url, Calls())
        assert client.get("/v2") is None
        with pytest.raises(SourceError, match=rf"wants a login \({status}\): no") as caught:
            client.post("/predict", {"inputs": ["one"]})
        assert "FTDEPLOY_TOKEN" in caught.value.fix
        client.close()


def test_a_key_of_the_environment_goes_with_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bearer key, and stands in no name; a URL that names a user is asked as that user."""
    monkeypatch.setenv("FTDEPLOY_TOKEN", " ftd_secret\n")
    with served("hf") as service:
        client = Client(service.url, Calls())
        client.post("/predict", {"inputs": ["one"]})
        assert service.headers[-1]["Authorization"] == "Bearer ftd_secret"
        assert "secret" not in client.shown + client.origin
        client.close()
        client = Client(service.url.replace("//", "//me:other@"), Calls())
        client.post("/predict", {"inputs": ["one"]})
        assert service.headers[-1]["Authorization"].startswith("Basic ")
        client.close()


@pytest.mark.parametrize(
    ("status", "what", "cause"), [(401, "does not take the key", "revoked"), (403, "does not allow this", "scope")]
)
def test_a_key_that_is_not_taken_is_told_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, status: int, what: str, cause: str
) -> None:
    """Also where the service repeats it."""
    monkeypatch.setenv("FTDEPLOY_TOKEN", "ftd_secret")
    with served("hf", reply=lambda *_: (status, {}, {"error": "no ftd_secret here"})) as service:
        client = Client(service.url, Calls())
        with pytest.raises(SourceError, match=rf"{what}.*FTDEPLOY_TOKEN \({status}\): no \.\.\. here") as caught:
            client.post("/predict", {"inputs": ["one"]})
        client.close()
    error = caught.value
    assert cause in error.cause
    assert "secret" not in error.what + error.cause + error.fix


@pytest.mark.parametrize("token", ["two words", "ftd_\u00e9", "a\nb"])
def test_what_is_no_key_is_told_before_it_is_sent(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """And not repeated: it may be most of one."""
    monkeypatch.setenv("FTDEPLOY_TOKEN", token)
    with pytest.raises(SourceError, match="FTDEPLOY_TOKEN holds is no key") as caught:
        Client("http://localhost:1", Calls())
    assert token not in caught.value.what


def test_retry_after_is_a_number_or_a_date() -> None:
    """What is neither says nothing; a date that has passed is now."""
    assert retry_after("3") == 3
    assert retry_after(None) is None
    assert retry_after("soon") is None
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert retry_after(format_datetime(soon, usegmt=True)) == pytest.approx(60, abs=30)
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
