"""A hundred thousand lines through a real service, both ways at once: in their order, and without growing it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from benchmarks.serving_bulk import bulk, line
from benchmarks.serving_service import Service, bentoml_serve, serving
from tiny import write_bundle

LINES = 100_000
#: Bytes by which a service may be larger at the end, by the noise of an allocator.
GROWTH = 10_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    bundle = write_bundle(folder / "bundle")
    with serving(bentoml_serve(bundle.path), log=folder / "log", FTDEPLOY_TRAFFIC="off") as found:
        yield found


def test_a_hundred_thousand_lines_are_answered_in_order_and_cost_no_memory(service: Service) -> None:
    """`bulk` fails where an answer is missing, wrong or out of its turn."""
    asyncio.run(bulk(service, LINES // 10))  # what is kept from the first lines on is there now
    memory = asyncio.run(bulk(service, LINES))
    assert len(memory) == 11
    assert max(memory) - memory[0] < GROWTH


def test_a_client_that_stops_reading_is_not_read_from(service: Service) -> None:
    """It can send no more than what lies in the sockets, and the service holds next to nothing of it."""
    before = service.memory()
    body = b"".join(map(line, range(1000)))
    piece = b"%x\r\n%s\r\n" % (len(body), body)
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = b"POST /predict/bulk HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head)
        connection.settimeout(5)
        sent = 0
        with suppress(TimeoutError):
            while sent < 200_000_000:
                sent += connection.send(piece)
        assert sent < 100_000_000
        assert service.memory() - before < GROWTH
    while not _idle(service):
        time.sleep(0.1)


def _idle(service: Service) -> bool:
    import httpx

    metrics = httpx.get(f"http://127.0.0.1:{service.port}/metrics").text
    return re.search(r"^ftdeploy_requests_in_flight 1$", metrics, re.MULTILINE) is not None  # this one


def test_curl_reads_while_it_sends(service: Service, tmp_path: Path) -> None:
    """The command of the README, with more lines than sockets hold, and a wait for the go-ahead (Expect)."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed: apt-get install curl")
    (tmp_path / "lines").write_bytes(b"".join(map(line, range(50_000))))
    url = f"http://127.0.0.1:{service.port}/predict/bulk"
    command = [
        curl,
        "-sN",
        "-T",
        str(tmp_path / "lines"),
        "-X",
        "POST",
        url,
        "-H",
        "content-type: application/x-ndjson",
    ]
    with (tmp_path / "answers").open("wb") as sink:
        subprocess.run(command, check=True, stdout=sink)
    with (tmp_path / "answers").open("rb") as handle:
        assert [json.loads(one)["id"] for one in handle] == list(range(50_000))
