"""`ftdeploy serve` as clients see it: it ends, starts anew or swaps its bundle under load, and no answer is lost."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import make_certificate
from hammer import ask, children, gone, hammering, workers_of, zygote_of
from test_serve_service import Server, free_port, running
from tiny import write_bundle

from ftdeploy.errors import ServeError
from ftdeploy.serve.supervisor import supervise


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two good bundles, ``one`` and ``two``, and ``damaged``, of which a byte was changed."""
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "one")
    write_bundle(folder / "two", serve={"max_texts": 17})
    write_bundle(folder / "damaged", serve={"max_texts": 18})
    with (folder / "damaged" / "src" / "model" / "tokenizer.json").open("ab") as handle:
        handle.write(b"\n")
    return folder


@contextmanager
def serving(bundle: Path, log: Path, *options: str, **environment: str) -> Iterator[Server]:
    """`ftdeploy serve` on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "ftdeploy", "serve", str(bundle), "--port", str(port), *options]
    with running(command, port, log, FTDEPLOY_TRAFFIC="off", **environment) as server:
        yield server


def digest_of(server: Server) -> str:
    status, headers, _ = ask(server.port)
    assert status == 200
    return headers["x-model-digest"]


def logged(server: Server, words: str, times: int = 1) -> None:
    """Wait until the log has these words so many times; not for ever."""
    for _ in range(600):
        if server.log.read_text(encoding="utf-8").count(words) >= times:
            return
        assert server.process.poll() is None
        time.sleep(0.05)
    raise AssertionError(f"{words!r} is not in {server.log.read_text(encoding='utf-8')}")


def point(link: Path, target: Path) -> None:
    """Let a link lead elsewhere, in one step."""
    fresh = link.with_name(f"{link.name}.new")
    fresh.symlink_to(target)
    fresh.replace(link)


@pytest.mark.parametrize("keep_alive", [True, False])
def test_sigterm_under_load_answers_all_that_was_taken(bundles: Path, tmp_path: Path, keep_alive: bool) -> None:
    """No connection ends without its answer until connections are refused, and no process is left."""
    with serving(bundles / "one", tmp_path / "log", "--workers", "2") as server:
        processes = [server.process.pid, *children(server.process.pid), *workers_of(server.process.pid)]
        assert len(processes) == 4
        with hammering(server.port, keep_alive=keep_alive) as answers:
            answers.until(100)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait() == 0
    assert set(answers.outcomes) == {200, "refused"}
    assert gone(processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_stream_that_would_go_on_ends_with_a_line_that_says_so(
    bundles: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """At the end and at every swap: each line before it has its answer, and the body its proper end."""
    with serving(bundles / "one", tmp_path / "log", FTDEPLOY_BODY_SECONDS="1") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /predict/bulk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            client.sendall(b'7\r\n"good"\n\r\n')
            reply = http.client.HTTPResponse(client)
            reply.begin()
            found = [json.loads(reply.readline())]
            server.process.send_signal(number)
            while "error" not in found[-1]:
                client.sendall(b'7\r\n"good"\n\r\n')
                found.append(json.loads(reply.readline()))
            client.sendall(b"0\r\n\r\n")
            assert reply.read() == b""  # and no IncompleteRead
        if number == signal.SIGTERM:
            assert server.process.wait() == 0
    assert [line["index"] for line in found] == list(range(len(found)))
    assert found[-1]["error_type"] == "unhealthy"


def test_sighup_under_load_loses_nothing(bundles: Path, tmp_path: Path) -> None:
    """Other processes answer afterwards, and every client has every answer."""
    with serving(bundles / "one", tmp_path / "log") as server, hammering(server.port) as answers:
        answers.until(50)
        before = [zygote_of(server.process.pid), *workers_of(server.process.pid)]
        for _ in range(3):  # while the first is under way, the others are one more
            server.process.send_signal(signal.SIGHUP)
            logged(server, "starting anew")
        assert gone(before)
        answers.until(50)
        while server.log.read_text(encoding="utf-8").count(" is ready at ") < 3:
            answers.until(10)
    assert set(answers.outcomes) == {200}
    assert server.log.read_text(encoding="utf-8").count(" is ready at ") == 3


def test_a_link_that_leads_elsewhere_swaps_the_bundle_under_load(bundles: Path, tmp_path: Path) -> None:
    """Nobody tells the service. The digest changes, and every client has every answer; a damaged bundle changes
    nothing, and the next good one is taken."""
    link = tmp_path / "champion"
    link.symlink_to(bundles / "one")
    with serving(link, tmp_path / "log") as server:
        first = digest_of(server)
        with hammering(server.port) as answers:
            answers.until(50)
            point(link, bundles / "damaged")
            logged(server, "tokenizer.json was changed")
            answers.until(50)
            assert answers.digests == [first]
            point(link, bundles / "two")
            while len(answers.digests) == 1:
                answers.until(10)
            answers.until(50)
    assert set(answers.outcomes) == {200}
    assert len(answers.digests) == 2
    text = server.log.read_text(encoding="utf-8")
    assert text.count("tokenizer.json was changed") == 1  # it was not tried again


def test_a_bundle_that_does_not_get_ready_leaves_the_old_one_serving(bundles: Path, tmp_path: Path) -> None:
    """Sealed as it is, its model is none. SIGHUP tries it again, a link back to what serves starts nothing."""
    wrong = write_bundle(tmp_path / "wrong", replaced={"model/model.onnx": b"no model"}).path
    link = tmp_path / "champion"
    link.symlink_to(bundles / "one")
    with serving(link, tmp_path / "log") as server:
        first, zygote = digest_of(server), zygote_of(server.process.pid)
        point(link, wrong)
        logged(server, "Still serving tiny")
        server.process.send_signal(signal.SIGHUP)
        logged(server, " starts for ", times=3)  # it says so before it follows the link, and only this is after it
        point(link, bundles / "one")
        while len(children(server.process.pid)) > 1:
            time.sleep(0.05)
        assert (digest_of(server), zygote_of(server.process.pid)) == (first, zygote)
    assert "is not a readable ONNX model" in server.log.read_text(encoding="utf-8")


def test_the_second_sigint_ends_at_once(bundles: Path, tmp_path: Path) -> None:
    """The first waits for a client that has not finished asking, the second for nobody; status 1, nothing is left."""
    with serving(bundles / "one", tmp_path / "log", FTDEPLOY_BODY_SECONDS="600") as server:
        processes = [server.process.pid, *children(server.process.pid), *workers_of(server.process.pid)]
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            digest_of(server)  # so that the half one has been read, too
            server.process.send_signal(signal.SIGINT)
            logged(server, "1 requests in flight")
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait() == 1
        assert gone(processes)


def test_without_its_supervisor_a_service_ends(bundles: Path, tmp_path: Path) -> None:
    """kill -9 leaves nobody behind who holds the port, and no file."""
    with serving(bundles / "one", tmp_path / "log") as server:
        processes = [*children(server.process.pid), *workers_of(server.process.pid)]
        order = json.loads(Path(f"/proc/{processes[0]}/cmdline").read_bytes().split(b"\0")[-2])
        assert list(Path(order["totals"]).iterdir())
        server.process.kill()
        server.process.wait()
        assert gone(processes)
        assert not Path(order["totals"]).exists()
        with pytest.raises(ConnectionRefusedError):
            digest_of(server)


def test_without_its_zygote_it_is_served_anew(bundles: Path, tmp_path: Path) -> None:
    """kill -9 of the process that the workers come from: clients wait in the queue of the port, and none is refused."""
    with serving(bundles / "one", tmp_path / "log") as server, hammering(server.port) as answers:
        answers.until(50)
        before = [zygote_of(server.process.pid), *workers_of(server.process.pid)]
        os.kill(before[0], signal.SIGKILL)
        assert gone(before)
        answers.until(50)
        assert not set(before) & {*children(server.process.pid), *workers_of(server.process.pid)}
    assert set(answers.outcomes) == {200}


def test_it_takes_note_of_children_that_others_left_behind(bundles: Path, tmp_path: Path) -> None:
    """As process 1 of a container it gets them: the workers of a zygote that was killed, when they have ended. Nobody
    but it can take them out of the table of processes."""
    code = "import ctypes, os, sys; assert not ctypes.CDLL(None).prctl(36, 1); os.execv(sys.executable, sys.argv[1:])"
    port = free_port()
    adopting = [sys.executable, "-c", code]  # PR_SET_CHILD_SUBREAPER, as if it were process 1
    command = [*adopting, sys.executable, "-m", "ftdeploy", "serve", str(bundles / "one"), "--port", str(port)]
    with running(command, port, tmp_path / "log", FTDEPLOY_TRAFFIC="off") as server:
        zygote, workers = zygote_of(server.process.pid), workers_of(server.process.pid)
        os.kill(zygote, signal.SIGKILL)
        assert gone([zygote, *workers])
        while set(children(server.process.pid)) & {zygote, *workers}:
            time.sleep(0.05)
        assert digest_of(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait() == 0


def test_a_terminal_that_is_closed_ends_the_service(bundles: Path, tmp_path: Path) -> None:
    """SIGHUP is an order to start anew only where it does not say that the terminal is gone."""
    port = free_port()
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "ftdeploy", "serve", str(bundles / "one"), "--port", str(port)]
    environment = os.environ | {"FTDEPLOY_TRAFFIC": "off"}
    with subprocess.Popen(command, stderr=theirs, env=environment, start_new_session=True) as process:
        os.close(theirs)
        server = Server(process, port, tmp_path / "log")
        server.until_ready()
        before = zygote_of(process.pid)
        process.send_signal(signal.SIGHUP)
        assert gone([before])
        assert digest_of(server)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait() == 0


def test_a_zygote_that_always_dies_is_an_error(tmp_path: Path) -> None:
    """After some tries, in three parts, as exit code 17."""
    dies = {"ftdeploy/serve/engine.py": b"import os\nos.kill(os.getpid(), 9)\n"}
    bundle = write_bundle(tmp_path / "dies", replaced=dies)
    with pytest.raises(ServeError, match="ended with -9") as caught:
        supervise(bundle.path, host="127.0.0.1", port=free_port())
    assert caught.value.exit_code == 17


def test_it_says_what_it_serves_where_and_how(bundles: Path, tmp_path: Path) -> None:
    """One line when it starts, one when it is ready."""
    with serving(bundles / "one", tmp_path / "log", "--workers", "2", FTDEPLOY_LOG_FORMAT="text") as server:
        digest = digest_of(server)[:12]
    lines = server.log.read_text(encoding="utf-8").splitlines()
    starts = [line for line in lines if f"tiny {digest} starts for {server.url}" in line]
    ready = [
        line for line in lines if f"tiny {digest} is ready at {server.url} on CPUExecutionProvider with 2 w" in line
    ]
    assert (len(starts), len(ready)) == (1, 1)


def test_it_speaks_tls_and_takes_a_renewed_certificate(bundles: Path, tmp_path: Path) -> None:
    """Both workers, from the first connection on; the start line says https."""
    certificate, key = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=certificate)
    port = free_port()

    def answered() -> bool:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusting)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except ssl.SSLCertVerificationError:
            return False
        finally:
            connection.close()

    command = [sys.executable, "-m", "ftdeploy", "serve", str(bundles / "one"), "--port", str(port), "--workers", "2",
               "--tls-cert", str(certificate), "--tls-key", str(key)]  # fmt: skip
    with running(command, port, tmp_path / "log", certificate, FTDEPLOY_TRAFFIC="off") as server:
        assert all(answered() for _ in range(10))
        logged(server, f"is ready at https://127.0.0.1:{port} ")
        make_certificate(tmp_path)
        while answered():
            time.sleep(0.1)
        trusting = ssl.create_default_context(cafile=certificate)
        while not all(answered() for _ in range(10)):
            time.sleep(0.1)


def test_a_bundle_serves_itself(bundles: Path, tmp_path: Path) -> None:
    """`python -m ftdeploy.serve` in its source folder, where no ftdeploy is installed: what it carries is what runs."""
    source = bundles / "one" / "src"
    port = free_port()
    command = f"cd '{source}' && exec '{sys.executable}' -m ftdeploy.serve --port {port}"
    with running(["sh", "-c", command], port, tmp_path / "log", FTDEPLOY_TRAFFIC="off") as server:
        assert digest_of(server)
        environment = Path(f"/proc/{zygote_of(server.process.pid)}/environ").read_bytes()
        assert f"PYTHONPATH={source}".encode() in environment
