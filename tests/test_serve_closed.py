"""A running service that wants keys: who is let in, what changes without a restart, and that no secret is told."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from certificates import make_certificate
from hammer import workers_of
from test_serve_service import Server, free_port, running
from tiny import write_bundle

from ftdeploy.artifact import Artifact
from ftdeploy.errors import ServeError, SourceError
from ftdeploy.keys import add_key, list_keys, revoke_key
from ftdeploy.models.service import ServiceModel
from ftdeploy.serve.keys import make_key, read_keys, write_keys

ORIGIN = "https://app.example.org"
SECRET = re.compile(r"ftd_[0-9a-f]{12}_[0-9a-f]{8}")
QUESTION = {"inputs": "a superb film"}
TENSOR = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["awful"]}]}
OPEN = ("/", "/livez", "/readyz", "/healthz", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/tiny",
        "/v2/models/tiny/ready", "/docs.json")  # fmt: skip


@dataclass(frozen=True)
class Closed:
    """A running service with its keys file."""

    server: Server
    keys: Path
    traffic: Path
    secrets: dict[str, str]

    def client(self, name: str | None = None) -> httpx.Client:
        """A client with the key of that name."""
        headers = {} if name is None else bearer(self.secrets[name])
        return httpx.Client(base_url=self.server.url, headers=headers)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def command(bundle: Artifact, port: int) -> list[str]:
    return [sys.executable, "-m", "bentoml", "serve", str(bundle.path), "--host", "127.0.0.1", "--port", str(port)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_bundle(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def closed(bundle: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    folder = tmp_path_factory.mktemp("closed")
    keys = folder / "keys.json"
    secrets = {name: add_key(keys, name, [name]).secret for name in ("predict", "feedback", "admin")}
    port = free_port()
    environment = {"FTDEPLOY_KEYS": str(keys), "FTDEPLOY_CORS_ORIGINS": f"http://localhost:5173, {ORIGIN}"}
    with running(command(bundle, port), port, folder / "log", **environment) as server:
        yield Closed(server, keys, bundle.path.parent / "traffic", secrets)


def until(condition: object) -> None:
    """Wait until something has come about in the service."""
    while not condition():  # type: ignore[operator]  # a function
        time.sleep(0.05)


def test_each_path_wants_its_scope(closed: Closed) -> None:
    """Questions `predict`, metrics `admin`, and health, metadata, description and page nothing."""
    with closed.client() as nobody, closed.client("predict") as predict, closed.client("admin") as admin:
        for path in OPEN:
            assert nobody.get(path).status_code == 200
        for path, question in (("/predict", QUESTION), ("/v2/models/tiny/infer", TENSOR)):
            assert predict.post(path, json=question).status_code == 200
            assert nobody.post(path, json=question).status_code == 401
            assert admin.post(path, json=question).status_code == 403
        assert admin.get("/metrics").status_code == 200
        assert nobody.get("/metrics").status_code == 401
        refused = predict.get("/metrics")
    assert refused.status_code == 403
    assert refused.headers["www-authenticate"].endswith('scope="admin"')
    assert set(refused.json()) == {"error", "error_type"}
    assert refused.json()["error_type"] == "forbidden"


def test_a_refused_question_is_not_read(closed: Closed) -> None:
    """The answer comes before the body does, and the connection is closed rather than filled."""
    with socket.create_connection(("127.0.0.1", closed.server.port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        connection.settimeout(30)
        told = connection.recv(4096)
    assert told.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in told
    assert b"connection: close" in told


def test_description_and_page_say_that_a_key_is_wanted(closed: Closed) -> None:
    """/docs.json by a security scheme and 401 and 403; the page by the field it shows."""
    with closed.client() as client:
        document = client.get("/docs.json").json()
        page = client.get("/")
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["paths"]["/predict"]["post"]["security"] == [{"key": ["predict"]}]
    assert {"401", "403"} <= set(document["paths"]["/metrics"]["get"]["responses"])
    assert "security" not in document["paths"]["/livez"]["get"]
    assert '"auth":true' in page.text
    assert "geolocation=()" in page.headers["permissions-policy"]
    assert page.headers["cross-origin-resource-policy"] == "same-origin"


def test_answers_do_not_say_what_serves_and_promise_no_tls_without_it(closed: Closed) -> None:
    """No name and version of the server to look up faults by; HSTS would lock browsers out of a plain service."""
    with closed.client() as client:
        answer = client.get("/livez")
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_page_of_an_allowed_origin_may_ask(closed: Closed) -> None:
    """Its preflight goes without a key and is 204; its question wants one, and it may read the answer, refusals too."""
    asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST",
              "Access-Control-Request-Headers": "authorization,content-type"}  # fmt: skip
    with closed.client("predict") as client, closed.client() as nobody:
        allowed = nobody.options("/predict", headers=asking)
        assert (allowed.status_code, allowed.content) == (204, b"")
        assert "content-length" not in allowed.headers
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        answer = client.post("/predict", json=QUESTION, headers={"Origin": ORIGIN})
        refused = nobody.post("/predict", json=QUESTION, headers={"Origin": ORIGIN})
        assert (answer.status_code, refused.status_code) == (200, 401)
        for one in (answer, refused):
            assert one.headers["access-control-allow-origin"] == ORIGIN
            assert one.headers["vary"] == "origin"
            assert "access-control-allow-credentials" not in one.headers
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        sent = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}
        assert client.post("/predict", json=QUESTION, headers=sent).status_code == 200


def test_a_page_of_another_origin_may_not(closed: Closed) -> None:
    """No leave, and OPTIONS is what it is without the setting: a wrong method. What is sent without asking is refused,
    whatever key comes with it."""
    asking = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    with closed.client("predict") as client:
        for path, status in (("/predict", 405), ("/livez", 405), ("/nothing", 404)):
            refused = client.options(path, headers=asking)
            assert refused.status_code == status
            assert not [name for name in refused.headers if name.startswith("access-control")]
        sent = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert client.post("/predict", json=QUESTION, headers=sent).status_code == 403


def test_a_key_is_added_and_revoked_without_a_restart_under_load(closed: Closed) -> None:
    """While others ask all the time, each with 200: a new key is taken and refused again within moments, and no
    request of the others is lost."""

    async def play() -> Counter[int]:
        seen: Counter[int] = Counter()
        over = asyncio.Event()

        async def ask(client: httpx.AsyncClient) -> None:
            while not over.is_set():
                seen[(await client.post("/predict", json=QUESTION)).status_code] += 1

        async def turns(client: httpx.AsyncClient, secret: str, status: int) -> None:
            while (await client.post("/predict", json=QUESTION, headers=bearer(secret))).status_code != status:  # noqa: ASYNC110  # another process sets no event
                await asyncio.sleep(0.05)

        good = httpx.AsyncClient(base_url=closed.server.url, headers=bearer(closed.secrets["predict"]), timeout=30)
        async with good, httpx.AsyncClient(base_url=closed.server.url, timeout=30) as other:
            askers = [asyncio.create_task(ask(good)) for _ in range(8)]
            for number in range(2):
                secret = (await asyncio.to_thread(add_key, closed.keys, f"new-{number}", ["predict"])).secret
                await turns(other, secret, 200)
                await asyncio.to_thread(revoke_key, closed.keys, f"new-{number}")
                await turns(other, secret, 401)
            over.set()
            await asyncio.gather(*askers)
        return seen

    seen = asyncio.run(play())
    assert set(seen) == {200}


def test_a_key_that_expires_is_refused_from_then_on(closed: Closed) -> None:
    """By the clock, with no change of the file."""
    from datetime import UTC, datetime, timedelta

    key, secret = make_key("short", ["predict"], expires=datetime.now(UTC) + timedelta(seconds=4))
    write_keys(closed.keys, [*read_keys(closed.keys), key])
    with closed.client() as client:

        def status() -> int:
            return client.post("/predict", json=QUESTION, headers=bearer(secret)).status_code

        until(lambda: status() == 200)
        until(lambda: status() == 401)
        told = client.post("/predict", json=QUESTION, headers=bearer(secret)).json()["error"]
    assert told == "the key has expired"
    revoke_key(closed.keys, "short")


def test_a_file_that_breaks_while_it_runs_changes_nothing(closed: Closed) -> None:
    """The keys that were read last stay in force, and the log says why."""
    content = closed.keys.read_bytes()
    closed.keys.write_bytes(content[:-30])
    log = closed.server.log
    until(lambda: "stay in force" in log.read_text(encoding="utf-8"))
    with closed.client("predict") as client, closed.client() as nobody:
        assert client.post("/predict", json=QUESTION).status_code == 200
        assert nobody.post("/predict", json=QUESTION).status_code == 401
    closed.keys.write_bytes(content)


def test_an_evaluation_asks_with_the_key_of_its_environment(closed: Closed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that wants a key is a model like any other; without one, or with a wrong one, it says what to set."""
    monkeypatch.delenv("FTDEPLOY_TOKEN", raising=False)
    with pytest.raises(SourceError, match=r"wants a login \(401\): a key is wanted"):
        ServiceModel(closed.server.url)
    for name, told in (("admin", "does not allow this"), ("predict", "")):
        monkeypatch.setenv("FTDEPLOY_TOKEN", closed.secrets[name])
        if told:
            with pytest.raises(SourceError, match=told):
                ServiceModel(closed.server.url)
            continue
        model = ServiceModel(closed.server.url)
        assert model.scores(["a superb film", "awful"]).argmax(axis=1).tolist() == [1, 0]
        assert closed.secrets[name] not in f"{model.name} {model.about} {model.conditions}"
        model.close()


def test_no_secret_is_told_anywhere(closed: Closed) -> None:
    """Whatever was asked with a key, well or badly: it is in no log, no traffic and no metrics, nor is its hash."""
    secret = closed.secrets["predict"]
    with closed.client("predict") as client, closed.client("admin") as admin:
        client.post("/predict", content=b"{")
        client.post("/predict", json={"inputs": 5})
        client.get(f"/nothing/{secret}")
        client.get("/metrics")
        client.post("/predict", json=QUESTION, headers={"Authorization": f"Basic {secret}"})
        client.post("/predict", json=QUESTION, headers={"Authorization": f"Bearer {secret}x"})
        client.post("/predict", json=QUESTION, headers={"X-Request-Id": "with-a-key"})
        metrics = admin.get("/metrics").text
    with socket.create_connection(("127.0.0.1", closed.server.port)) as connection:  # not even what is no HTTP
        connection.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {secret}\r\n broken\r\n: x\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass

    def traffic() -> str:
        return "".join(path.read_text(encoding="utf-8") for path in closed.traffic.glob("*"))

    until(lambda: "with-a-key" in traffic())
    told = closed.server.log.read_text(encoding="utf-8") + metrics + traffic()
    assert not SECRET.search(told)
    assert all(key.sha256 not in told for key in read_keys(closed.keys))
    assert 'status="401"' in metrics
    assert "the key predict asked for /metrics" in told


def test_when_a_key_was_last_used_outlives_the_service(bundle: Artifact, tmp_path: Path) -> None:
    """It is written at the end, at the latest; a second service that does not see the key leaves it."""
    keys = tmp_path / "keys.json"
    used, _ = add_key(keys, "used", ["predict"]), add_key(keys, "unused", ["predict"])
    for _ in range(2):
        port = free_port()
        serve = [sys.executable, "-m", "ftdeploy", "serve", str(bundle.path), "--port", str(port)]
        with running(serve, port, tmp_path / "log", FTDEPLOY_KEYS=str(keys)) as server:
            if list_keys(keys)[0].used is None:
                answer = httpx.post(f"{server.url}/predict", json=QUESTION, headers=bearer(used.secret))
                assert answer.status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
        first, second = list_keys(keys)
        assert first.used is not None
        assert time.time() - first.used.timestamp() < 600
        assert second.used is None


def test_a_service_does_not_start_with_a_keys_file_that_is_not_right(bundle: Artifact, tmp_path: Path) -> None:
    """An open service instead of a closed one would be worse than none; `ftdeploy serve` says it in three parts."""
    (tmp_path / "keys.json").write_text("{", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FTDEPLOY_")}
    serve = [sys.executable, "-m", "ftdeploy", "serve", str(bundle.path), "--port", str(free_port()), "--keys"]
    for name, told in (("keys.json", "is damaged"), ("missing.json", "no such file")):
        done = subprocess.run([*serve, str(tmp_path / name)], env=environment, capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 17
        assert told in done.stderr
        assert "fix:" in done.stderr
    plain = [sys.executable, "-m", "bentoml", "serve", str(bundle.path), "--port", str(free_port())]
    environment["FTDEPLOY_KEYS"] = str(tmp_path / "missing.json")
    done = subprocess.run(plain, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no such file" in done.stdout + done.stderr


# Under TLS, and under our own supervisor


def test_bentoml_s_own_tls_runs_our_protocol(bundle: Artifact, tmp_path: Path) -> None:
    """Its --ssl-certfile and --ssl-keyfile: keys, limits of headers and Strict-Transport-Security hold there too."""
    certificate, key = make_certificate(tmp_path)
    secret = add_key(tmp_path / "keys.json", "web", ["predict"]).secret
    port = free_port()
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)]
    environment = {"FTDEPLOY_KEYS": str(tmp_path / "keys.json"), "FTDEPLOY_BODY_SECONDS": "1"}
    with running([*command(bundle, port), *tls], port, tmp_path / "log", certificate, **environment) as server:
        check_tls(server, secret)


def test_every_worker_takes_what_keys_there_are_and_a_new_one_too(bundle: Artifact, tmp_path: Path) -> None:
    """`ftdeploy serve` with two workers and TLS: all of the above holds, a revoked key is soon refused by both, at once
    by a worker that takes a killed one's place, and uses that both saw are kept."""
    certificate, key = make_certificate(tmp_path)
    keys = tmp_path / "keys.json"
    secrets = {name: add_key(keys, name, ["predict"]).secret for name in ("web", "gone")}
    port = free_port()
    serve = [sys.executable, "-m", "ftdeploy", "serve", str(bundle.path), "--port", str(port), "--workers", "2",
             "--keys", str(keys), "--tls-cert", str(certificate), "--tls-key", str(key)]  # fmt: skip
    with running(serve, port, tmp_path / "log", certificate, FTDEPLOY_BODY_SECONDS="1") as server:
        verify = server.verify

        def statuses(name: str) -> set[int]:
            """Of many connections, so that each worker has some."""
            return {
                httpx.post(
                    f"{server.url}/predict", json=QUESTION, headers=bearer(secrets[name]), verify=verify
                ).status_code
                for _ in range(12)
            }

        assert statuses("gone") == {200}
        revoke_key(keys, "gone")
        until(lambda: statuses("gone") == {401})
        for pid in workers_of(server.process.pid):
            os.kill(pid, signal.SIGKILL)
        assert statuses("gone") == {401}
        check_tls(server, secrets["web"])
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        text = server.log.read_text(encoding="utf-8")
    (left,) = list_keys(keys)
    assert left.used is not None
    assert not SECRET.search(text)
    assert "requests want one of the" in text


def check_tls(server: Server, secret: str) -> None:
    """A question is answered and one without a key is not; half-sent headers are 408, a half handshake is ended."""
    verify = server.verify
    assert isinstance(verify, ssl.SSLContext)
    with httpx.Client(base_url=server.url, verify=verify) as client:
        answer = client.post("/predict", json=QUESTION, headers=bearer(secret))
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert client.post("/predict", json=QUESTION).status_code == 401
    with (
        socket.create_connection(("127.0.0.1", server.port)) as connection,
        verify.wrap_socket(connection, server_hostname="localhost") as encrypted,
    ):
        encrypted.sendall(b"POST /predict HTTP/1.1\r\nHost:")
        encrypted.settimeout(30)
        assert encrypted.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_certificate_that_cannot_be_served_is_told_before_the_port_is_opened(
    bundle: Artifact, tmp_path: Path
) -> None:
    """In three parts, with an exit code; the port is never there."""
    certificate, key = make_certificate(tmp_path)
    old, old_key = make_certificate(tmp_path, "old", starts=-20, ends=-10)
    port = free_port()
    serve = [sys.executable, "-m", "ftdeploy", "serve", str(bundle.path), "--port", str(port)]
    for options, told in (
        (["--tls-cert", str(certificate), "--tls-key", str(old_key)], "key values mismatch"),
        (["--tls-cert", str(old), "--tls-key", str(old_key)], "expired"),
        (["--tls-cert", str(tmp_path / "missing"), "--tls-key", str(key)], "No such file"),
        (["--tls-cert", str(certificate)], "only the certificate is named"),
    ):
        done = subprocess.run([*serve, *options], capture_output=True, text=True, check=False)
        assert done.returncode == ServeError.exit_code
        assert told in done.stderr
        assert "fix:" in done.stderr
        assert "is ready" not in done.stderr
