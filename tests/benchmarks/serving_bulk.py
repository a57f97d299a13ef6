"""`/predict/bulk` with many lines: lines a second, memory of the service, and what other requests feel of it.

    .venv/bin/python tests/benchmarks/serving_bulk.py runs/sentiment/bundle --lines 100000

Without a bundle it makes a tiny one, whose model costs nothing: what is measured then is the way of a line. One client
sends and reads at the same time; another asks `/predict` one text after the other, first alone, then beside it. Memory
is that of the service's processes, looked at each time a tenth of the lines is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from http import HTTPStatus
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.serving_service import Service, bentoml_serve, serving
from tiny import write_bundle

WORDS = ("a", "superb", "film", "was", "not", "good", "and", "boring", "the", "best")


def line(index: int) -> bytes:
    """A line of one to twelve words, with its own number as its id."""
    words = (WORDS[(index * 7 + step * step) % len(WORDS)] for step in range(1 + index % 12))
    return json.dumps({"inputs": " ".join(words), "id": index, "parameters": {"top_k": 1}}).encode() + b"\n"


async def send_lines(writer: asyncio.StreamWriter, lines: int) -> None:
    """Chunked, a thousand lines a chunk; waits where the service does not read."""
    head = (
        "POST /predict/bulk HTTP/1.1",
        "host: x",
        "content-type: application/x-ndjson",
        "transfer-encoding: chunked",
    )
    writer.write("\r\n".join((*head, "", "")).encode())
    for start in range(0, lines, 1000):
        body = b"".join(map(line, range(start, min(lines, start + 1000))))
        writer.write(b"%x\r\n%s\r\n" % (len(body), body))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def bulk(service: Service, lines: int) -> list[int]:
    """Memory at the start and after each tenth of the lines, bytes. Every line has to be answered in its turn."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=2**22)
    sending = asyncio.create_task(send_lines(writer, lines))
    status = await reader.readline()
    if b" 200 " not in status:
        raise SystemExit(f"{status.decode()}{(await reader.read(2000)).decode()}")
    while (await reader.readline()).strip():
        pass
    memory = [service.memory()]
    seen, rest = 0, b""
    while size := int(await reader.readline(), 16):
        piece = rest + (await reader.readexactly(size + 2))[:-2]
        *whole, rest = piece.split(b"\n")
        for one in whole:
            found = json.loads(one)
            if found.get("id") != seen or "predictions" not in found:
                raise SystemExit(f"line {seen} was answered by {one.decode()}")
            seen += 1
            if seen % (lines // 10) == 0:
                memory.append(service.memory())
    await sending
    writer.close()
    if seen != lines:
        raise SystemExit(f"{seen} of {lines} lines were answered")
    return memory


def ask(port: int, seconds: float) -> list[float]:
    """One text after the other, in a process of its own, for so long; how long each took, in seconds."""
    body = b'{"inputs": "the film was not boring"}'
    connection = http.client.HTTPConnection("127.0.0.1", port)
    found: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        connection.request("POST", "/predict", body)
        response = connection.getresponse()
        response.read()
        if response.status != HTTPStatus.OK:
            raise SystemExit(f"/predict answers {response.status}")
        found.append(time.perf_counter() - began)
        time.sleep(0.002)
    return found


async def measure(service: Service, lines: int) -> list[str]:
    """What was measured, for people."""
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        alone = await loop.run_in_executor(other, ask, service.port, 2.0)
        began = time.perf_counter()
        await bulk(service, lines // 10)  # so that what is kept from the first time on is there already
        expected = 10 * (time.perf_counter() - began)
        asking = loop.run_in_executor(other, ask, service.port, 0.8 * expected)
        began = time.perf_counter()
        memory = await bulk(service, lines)
        took = time.perf_counter() - began
        beside = await asking
    found = [
        f"{lines} lines in {took:.1f} s: {lines / took:,.0f} lines/s",
        f"memory, MB, at the start and after each tenth: {' '.join(f'{one / 1e6:.1f}' for one in memory)}",
        f"growth {(memory[-1] - memory[0]) / 1e6:+.1f} MB, at most {(max(memory) - memory[0]) / 1e6:+.1f} MB",
    ]
    for name, seconds in (("alone", alone), ("beside", beside)):
        cuts = [1e3 * cut for cut in quantiles(seconds, n=100)]
        found.append(f"/predict {name}: {len(seconds)} requests, p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a bundle and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--lines", type=int, default=100_000)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or write_bundle(Path(folder) / "bundle").path
        with serving(bentoml_serve(bundle), log=Path(folder) / "log", FTDEPLOY_TRAFFIC="off") as service:
            sys.stdout.writelines(f"{line}\n" for line in asyncio.run(measure(service, options.lines)))


if __name__ == "__main__":
    main()
