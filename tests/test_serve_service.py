"""A bundle under real `bentoml serve`: it stands alone, answers, bears abuse, and ends without losing an answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tiny import ROOT, write_bundle, write_source

from ftdeploy.artifact import Artifact, open_artifact
from ftdeploy.errors import ArtifactError, ServeError
from ftdeploy.serve import RUNTIME, serve
from ftdeploy.serve.traffic import read_segment


@dataclass(frozen=True)
class Server:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    trusted: Path | None = None  # the certificate, where it speaks TLS

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self.trusted else 'http'}://127.0.0.1:{self.port}"

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """What a client trusts."""
        return ssl.create_default_context(cafile=self.trusted) if self.trusted else True

    def until_ready(self) -> None:
        """Wait for readiness; fail with the log when the process ends instead."""
        verify = self.verify
        while True:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                if httpx.get(f"{self.url}/readyz", verify=verify).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def rss(self) -> float:
        """Resident memory of the worker, bytes, as it says itself."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path, trusted: Path | None = None, /,
            **environment: str) -> Iterator[Server]:  # fmt: skip
    """Start a server, wait until it is ready, and make sure that it is gone afterwards."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FTDEPLOY_", "BENTOML_"))}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env=clean | environment,
            cwd=log.parent,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = Server(process, port, log, trusted)
        server.until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_bundle(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def server(bundle: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", str(bundle.path), "--host", "127.0.0.1", "--port", str(port)]
    with running(command, port, tmp_path_factory.mktemp("server") / "log", FTDEPLOY_BODY_SECONDS="1") as found:
        yield found


# What a bundle carries


def test_the_runtime_names_every_module_of_serve_and_every_task() -> None:
    """A new file cannot be forgotten: without it in RUNTIME no bundle would start."""
    package = ROOT / "ftdeploy"
    needed = {
        path.relative_to(package).as_posix()
        for folder in ("serve", "tasks")
        for path in (package / folder).glob("*.py")
    }
    assert needed <= set(RUNTIME)
    assert all((package / name).is_file() for name in RUNTIME)


def test_the_runtime_stands_alone_and_brings_nothing_heavy(tmp_path: Path) -> None:
    """The copy in the bundle is what runs, and a full answer imports no torch, transformers, scipy or pyarrow."""
    write_source(tmp_path / "src")
    code = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import service

async def main():
    await service.app.start()
    await service.app.engine.loaded()
    await service.app.engine.ask(["a superb film"], "r1")
    await service.app.stop()

asyncio.run(main())
ours = [name for name, module in sys.modules.items() if name.split(".")[0] == "ftdeploy"]
strangers = [name for name in ours if not sys.modules[name].__file__.startswith(sys.argv[1])]
heavy = {"torch", "transformers", "scipy", "pyarrow", "datasets", "sklearn", "optimum", "neural_compressor", "evaluate",
         "pandas", "typer"} & set(sys.modules)
print(service.app.engine.state(), len(ours) > 10, strangers, sorted(heavy))
"""
    environment = os.environ | {"FTDEPLOY_TRAFFIC": str(tmp_path / "traffic")}
    command = [sys.executable, "-c", code, str(tmp_path / "src")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "ready True [] []\n", done.stderr


# Under bentoml serve


def test_the_line_in_readme_starts_it(tmp_path: Path) -> None:
    """`bentoml serve` as README writes it, typed where a recipe was run, serves the bundle of that run."""
    write_bundle(tmp_path / "runs" / "sentiment" / "bundle")
    (typed,) = re.findall(r"`(bentoml serve [^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    port = free_port()
    line = f"exec {shlex.quote(sys.executable)} -m {typed} --host 127.0.0.1 --port {port}"
    with running(["bash", "-c", line], port, tmp_path / "log") as found:
        assert httpx.get(f"{found.url}/v2/models/tiny/ready").status_code == 200


def test_it_answers_on_every_documented_path(server: Server, bundle: Artifact) -> None:
    """HF shape, KServe v2, health, metrics, description and page, with the bundle's digest."""
    with httpx.Client(base_url=server.url) as client:
        answer = client.post("/predict", json={"inputs": "a superb film"})
        assert answer.json()[0]["label"] == "positive"
        assert answer.headers["x-model-digest"] == bundle.digest
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["awful"]}
        infer = client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
        assert infer.json()["outputs"][0]["data"] == ["negative"]
        for path in ("/livez", "/readyz", "/healthz", "/v2", "/v2/health/ready", "/v2/models/tiny", "/docs.json"):
            assert client.get(path).status_code == 200
        assert 'ftdeploy_requests_total{route="/predict",status="200"}' in client.get("/metrics").text
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert bundle.digest in page.text
        unknown = client.get("/static_content/x")
        assert (unknown.status_code, unknown.json()["error_type"]) == (404, "not_found")


def test_huge_bodies_and_lists_are_413_and_cost_no_memory(server: Server) -> None:
    """20 MB at once and in pieces, and 10,000 texts: refused in JSON, never held, and the service goes on."""
    with httpx.Client(base_url=server.url) as client:
        before = server.rss()
        for _ in range(3):
            assert client.post("/predict", content=b"x" * 20_000_000).status_code == 413
            assert client.post("/predict", content=(b"x" * 50_000 for _ in range(400))).status_code == 413
        many = client.post("/predict", json={"inputs": ["good"] * 10_000})
        assert (many.status_code, many.json()["error_type"]) == (413, "too_large")
        assert server.rss() - before < 15_000_000
        assert client.post("/predict", json={"inputs": "good"}).status_code == 200


def test_half_sent_bodies_are_408_and_starve_nobody(server: Server) -> None:
    """60 clients that stop in the middle: others are answered meanwhile, and each of the 60 is told and let go."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"
    stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
    try:
        for connection in stalled:
            connection.sendall(head)
        with httpx.Client(base_url=server.url) as client:
            for _ in range(20):
                assert client.post("/predict", json={"inputs": "good"}).status_code == 200
        for connection in stalled:
            connection.settimeout(30)
            told = b""
            while piece := connection.recv(4096):
                told += piece
            assert told.startswith(b"HTTP/1.1 408 ")
            assert b'"error_type":"body_timeout"' in told
    finally:
        for connection in stalled:
            connection.close()


def test_half_sent_headers_are_408(server: Server) -> None:
    """uvicorn under BentoML runs our protocol: without it they would stay open for ever."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost:")
        connection.settimeout(30)
        told = b""
        while piece := connection.recv(4096):
            told += piece
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"error_type":"head_timeout"' in told


_POST = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
JUNK = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "version": b"GET / HTP/9.9\r\n\r\n",
    "chunk": _POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n",
    "length": _POST + b"Content-Length: -1\r\n\r\n",
    "path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_what_is_not_http_is_never_a_5xx(server: Server, junk: bytes) -> None:
    """TLS on the plain port, bad versions, bad chunks, bad lengths, endless paths: 4xx or goodbye, and life goes on."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)
        try:
            told = connection.recv(4096)
        except ConnectionResetError:
            told = b""
    assert not told or told.startswith(b"HTTP/1.1 4")
    assert httpx.post(f"{server.url}/predict", json={"inputs": "good"}).status_code == 200


def test_serving_leaves_the_bundle_as_it_was_sealed(server: Server, bundle: Artifact) -> None:
    """Traffic goes beside the bundle, and nothing into it."""
    httpx.post(f"{server.url}/predict", json={"inputs": "good"})
    open_artifact(bundle.path, kind="bundle")
    traffic = bundle.path.parent / "traffic"
    assert list(traffic.glob("segment-*"))
    assert f"traffic goes to {traffic}" in server.log.read_text(encoding="utf-8")


def test_sigterm_under_load_loses_no_answer(tmp_path: Path) -> None:
    """Started by `serve`. Every request sent before the signal is answered; later ones are answered or refused; the
    process ends with 0, and the sealed traffic holds exactly the answers that were given."""
    bundle = write_bundle(tmp_path / "bundle")
    port = free_port()
    code = "import sys, pathlib, ftdeploy.serve as s; s.serve(pathlib.Path(sys.argv[1]), port=int(sys.argv[2]))"
    with running([sys.executable, "-c", code, str(bundle.path), str(port)], port, tmp_path / "log") as server:
        before, after = asyncio.run(_load_and_end(server))
        assert server.process.returncode == 0
    assert set(before) == {200}, (before, after)
    assert set(after) <= {200, 503, "refused"}
    sealed = list((tmp_path / "traffic").iterdir())
    assert all(path.suffix == ".jsonl" for path in sealed)
    assert sum(1 for path in sealed for _ in read_segment(path)) == before[200] + after[200]


async def _load_and_end(server: Server) -> tuple[Counter[int | str], Counter[int | str]]:
    """Outcomes of the requests that had left whole before SIGTERM, and of the others."""
    before: Counter[int | str] = Counter()
    after: Counter[int | str] = Counter()
    signalled = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> None:
        while server.process.poll() is None:
            left: list[bool] = []

            async def note(event: str, _: object, left: list[bool] = left) -> None:
                if event == "http11.send_request_body.complete":
                    left.append(not signalled.is_set())

            outcome: int | str = "refused"
            with contextlib.suppress(httpx.TransportError):
                question = {"inputs": "a superb film"}
                outcome = (await client.post("/predict", json=question, extensions={"trace": note})).status_code
            (before if left and left[0] else after)[outcome] += 1
            await asyncio.sleep(0)

    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        askers = [asyncio.create_task(ask(client)) for _ in range(16)]
        await asyncio.sleep(1)
        signalled.set()
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*askers)
    return before, after


# Before it starts


def test_a_port_that_is_taken_is_an_error_with_its_number(bundle: Artifact) -> None:
    """Said before anything starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"127.0.0.1:{port}"):
            serve(bundle.path, port=port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("203.0.113.7", 3000)])
def test_an_address_that_cannot_be_listened_on_is_an_error(bundle: Artifact, host: str, port: int) -> None:
    """A port out of range, an address of another machine."""
    with pytest.raises(ServeError, match="cannot listen"):
        serve(bundle.path, host=host, port=port)


def test_a_bundle_that_was_changed_is_not_served(tmp_path: Path) -> None:
    """One byte is enough."""
    bundle = write_bundle(tmp_path / "bundle")
    with (bundle.path / "src" / "service.py").open("ab") as handle:
        handle.write(b"\n")
    with pytest.raises(ArtifactError, match=r"service\.py was changed"):
        serve(bundle.path)


def test_a_bundle_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    """No clock and no path goes into it."""
    assert write_bundle(tmp_path / "a" / "bundle").digest == write_bundle(tmp_path / "b" / "other").digest
