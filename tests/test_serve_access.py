"""The door: each route wants its scope, and what is refused is refused alike, early and in the documented shape."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tiny import write_source

from ftdeploy.serve.access import ROUTES, Access, needed, open_access
from ftdeploy.serve.app import create_app
from ftdeploy.serve.keyring import KeyRing
from ftdeploy.serve.keys import SCOPES, KeysError, make_key, write_keys
from ftdeploy.serve.wire import Refusal

PAST = datetime.now(UTC) - timedelta(seconds=1)


@pytest.fixture
def secrets(tmp_path: Path) -> dict[str, str]:
    """Name -> secret of the keys in the file: one a scope, one with all, one that has expired."""
    made = {"all": make_key("all", SCOPES), "old": make_key("old", SCOPES, expires=PAST)}
    made |= {scope: make_key(scope, [scope]) for scope in SCOPES}
    write_keys(tmp_path / "keys.json", [key for key, _ in made.values()])
    return {name: secret for name, (_, secret) in made.items()}


@pytest.fixture
def access(tmp_path: Path, secrets: dict[str, str]) -> Access:
    assert secrets
    return Access(KeyRing(tmp_path / "keys.json"))


def asked(*values: str) -> dict[str, Any]:
    return {"headers": [(b"host", b"x"), *((b"authorization", value.encode("latin-1")) for value in values)]}


def refused(access: Access, route: str, *values: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        access.admit(route, asked(*values))
    assert caught.value.unread
    return caught.value


@pytest.mark.parametrize("scope", SCOPES)
def test_a_route_takes_keys_of_its_scope_only(access: Access, secrets: dict[str, str], scope: str) -> None:
    """401 and 403 are told apart as RFC 6750 has it; open routes want nothing and look at nothing."""
    routes = [route for route, wanted in ROUTES.items() if wanted == scope]
    for route in routes:
        for name in (scope, "all"):
            access.admit(route, asked(f"Bearer {secrets[name]}"))
        for other in set(SCOPES) - {scope}:
            answer = refused(access, route, f"Bearer {secrets[other]}")
            assert (answer.status, answer.error_type) == (403, "forbidden")
            challenge = f'Bearer realm="ftdeploy", error="insufficient_scope", scope="{scope}"'
            assert (b"www-authenticate", challenge.encode()) in answer.headers
            assert repr(scope) in answer.message
    for route, wanted in ROUTES.items():
        if wanted is None:
            access.admit(route, asked())
            access.admit(route, asked("Bearer nonsense"))


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_the_scheme_is_written_as_one_likes(access: Access, secrets: dict[str, str], scheme: str) -> None:
    """RFC 9110, 11.1: its case does not matter."""
    access.admit("/predict", asked(scheme + secrets["predict"]))


def test_without_a_key_the_answer_says_how_to_send_one(access: Access, secrets: dict[str, str]) -> None:
    """No header, another scheme, no key, two of them: 401 with a challenge that names no error (RFC 6750, 3.1)."""
    good = f"Bearer {secrets['predict']}"
    for values in ((), ("Basic bWU6bWU=",), ("Bearer",), (secrets["predict"],), (good, good)):
        answer = refused(access, "/predict", *values)
        assert (answer.status, answer.error_type) == (401, "unauthorized")
        assert answer.headers == ((b"www-authenticate", b'Bearer realm="ftdeploy"'),)
        assert "Authorization: Bearer <key>" in answer.message


def test_a_wrong_secret_and_an_unknown_key_are_answered_alike(access: Access, secrets: dict[str, str]) -> None:
    """Byte for byte: nobody learns which ids there are."""
    secret = secrets["predict"]
    wrong = [secret[:-64] + "0" * 64, "ftd_" + "0" * 12 + secret[16:], "ftd_", "x" * 81, "\xff", ""]
    answers = [refused(access, "/predict", f"Bearer {token}") for token in wrong]
    replies = {answer.reply() for answer in answers}
    assert len(replies) == 1
    (reply,) = replies
    assert reply.status == 401
    assert (b"www-authenticate", b'Bearer realm="ftdeploy", error="invalid_token"') in reply.headers
    assert all(token.encode("latin-1") not in reply.body for token in wrong if token)


def test_an_expired_key_is_told_to_who_has_it(access: Access, secrets: dict[str, str]) -> None:
    """Its secret is right; with a wrong one nothing is said of it."""
    answer = refused(access, "/predict", f"Bearer {secrets['old']}")
    assert (answer.status, answer.message) == (401, "the key has expired")
    assert "expired" not in refused(access, "/predict", f"Bearer {secrets['old'][:-1]}x").message


def test_only_what_was_let_in_counts_as_a_use(access: Access, secrets: dict[str, str]) -> None:
    """Refused questions of a key say nothing of who needs it."""
    ring = access._keys
    assert ring is not None
    uses = {name: getattr(ring.find(secrets[name].encode()), "use") for name in secrets}  # noqa: B009  # found or not
    for name in ("old", "admin"):
        refused(access, "/predict", f"Bearer {secrets[name]}")
    assert {use.at for use in uses.values()} == {0.0}
    access.admit("/predict", asked(f"Bearer {secrets['all']}"))
    assert uses["all"].at == pytest.approx(datetime.now(UTC).timestamp(), abs=60)


def test_a_missing_scope_is_logged_once_with_the_name_and_never_the_secret(
    access: Access, secrets: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """It may ask a thousand times a second."""
    for _ in range(3):
        refused(access, "/metrics", f"Bearer {secrets['predict']}")
        refused(access, "/predict", "Bearer ftd_wrong")
    (told,) = [record.message for record in caplog.records]
    assert "the key predict asked for /metrics" in told
    assert secrets["predict"] not in told


def test_a_route_that_nobody_thought_of_is_closed(access: Access, secrets: dict[str, str]) -> None:
    """A new one wants `admin` until it is said what it wants."""
    assert needed("/new") == "admin"
    assert refused(access, "/new", f"Bearer {secrets['predict']}").status == 403


def test_every_route_of_the_service_has_its_scope_stated(tmp_path: Path) -> None:
    """So that the rule above is for accidents only; paths by KServe's versions have the same."""
    write_source(tmp_path / "src")
    names = {name for name, _ in create_app(tmp_path / "src")._routes.values()}
    assert names <= set(ROUTES)


def test_without_a_file_everybody_may_ask_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """As it always was; a space is no name either."""
    for environment in ({}, {"FTDEPLOY_KEYS": " "}):
        access = open_access(environment)
        assert not access.closed
        access.admit("/metrics", asked())
    with caplog.at_level(logging.INFO, logger="ftdeploy.serve.access"):
        access.start()
        access.close()
    assert "no keys: whoever reaches the port may ask" in caplog.text


def test_a_file_that_is_named_must_be_there(tmp_path: Path, secrets: dict[str, str]) -> None:
    """Or the service would be open because of a typing error."""
    assert secrets
    with pytest.raises(KeysError, match="no such file"):
        open_access({"FTDEPLOY_KEYS": str(tmp_path / "kyes.json")})
    assert open_access({"FTDEPLOY_KEYS": f" {tmp_path / 'keys.json'} "}).closed
