"""How fast a bundle answers over HTTP, beside the model alone and beside other services, side by side in one run.

Usage: ``python tests/benchmarks/serving_load.py RUN [--modes closed,load,overload,soak] [--rounds 5] [--seconds 8]
[--minutes 20] [--server ftdeploy] [--peer NAME=PYTHON ...]``; RUN holds ``bundle`` and ``dataset``, whose test texts
are asked, one a request. ``--server ftdeploy`` has `ftdeploy serve` serve the bundle instead of BentoML.

closed    64 connections that ask again when they are answered, by wrk where it is installed: requests a second, and
          the share of what ONNX Runtime answers without HTTP (`serving_baseline.py`), alternating, round by round
load      70% of that peak, at random times: latency beside that of one text without HTTP
overload  four times the peak for 30 seconds: good answers as a share of the peak, what was refused and how fast, the
          latency of what was accepted, memory
soak      70% for so many minutes: memory and latency by the minute

Peers, each with the Python that has its packages: ``bentoml`` (its own adaptive batching), ``fastapi``, ``mlserver``
(`serving_peers/`). Prints; judges nothing. The client says how busy it was: it shares the processors.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # tests import it from there

from benchmarks.serving_baseline import Found  # noqa: E402
from benchmarks.serving_client import BUSY, Seen, Spec  # noqa: E402
from benchmarks.serving_service import Service, bentoml_serve, ftdeploy_serve, serving  # noqa: E402

PEERS = HERE / "serving_peers"
CONNECTIONS, LOAD, OVERLOAD, OVERLOAD_SECONDS, OVERLOAD_CONNECTIONS = 64, 0.7, 4.0, 30.0, 1000
#: wrk asks all bodies in turn and says what it saw as JSON.
LUA = """
local requests, at = {}, 0
function init(args)
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, _, _)
  local failed = summary.errors
  local lost = failed.connect + failed.read + failed.write + failed.timeout
  io.write(string.format('SEEN {"requests": %d, "seconds": %f, "failed": %d}',
    summary.requests, summary.duration / 1e6, lost + failed.status))
end
"""


@dataclass(frozen=True)
class Contender:
    """A service: how it is started and asked."""

    command: tuple[str, ...]
    body: Callable[[str], object]
    path: str = "/predict"
    ready: str = "/readyz"
    environment: tuple[tuple[str, str], ...] = ()


def contenders(bundle: Path, peers: Sequence[tuple[str, str]], *, server: str = "bentoml") -> dict[str, Contender]:
    """The bundle, as BentoML or `ftdeploy serve` (``server``) starts it, and the peers that were asked for."""
    makers = {"bentoml": _bentoml, "fastapi": _fastapi, "mlserver": _mlserver}
    environment = (("MODEL", str((bundle / "src" / "model").resolve())), ("PYTHONPATH", str(PEERS)))
    command = ftdeploy_serve(bundle) if server == "ftdeploy" else bentoml_serve(bundle)
    ours = {"ftdeploy": Contender(tuple(command), lambda text: {"inputs": text})}
    return ours | {name: replace(makers[name](python), environment=environment) for name, python in peers}


def _bentoml(python: str) -> Contender:
    served = ("-m", "bentoml", "serve", "bentoml_service:Sentiment", "--working-dir", str(PEERS))
    return Contender((python, *served, "--host", "127.0.0.1", "--port", "PORT"), lambda text: {"texts": [text]})


def _fastapi(python: str) -> Contender:
    served = ("-m", "uvicorn", "fastapi_service:app", "--log-level", "warning", "--port", "PORT")
    return Contender((python, *served), lambda text: {"text": text})


def _mlserver(python: str) -> Contender:
    def body(text: str) -> object:
        return {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]}

    path = "/v2/models/sentiment/infer"
    return Contender((python, str(PEERS / "mlserver_runtime.py"), "PORT"), body, path=path, ready="/v2/health/ready")


@dataclass
class Bench:
    """One service under test, and what was measured of it."""

    contender: Contender
    service: Service
    bodies: Path
    peaks: list[float] = field(default_factory=list)
    failed: int = 0

    def closed(self, seconds: float, lua: Path) -> str:
        """Requests a second at 64 connections, into ``peaks``; how it was measured."""
        if shutil.which("wrk") is None:
            seen = self.ask(seconds=seconds)
            self.peaks.append(seen.good)
            self.failed += seen.total() - seen.statuses.get("200", 0)
            return f"own client, busy {seen.cpu:.0%}"
        url = f"http://127.0.0.1:{self.service.port}{self.contender.path}"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "60", "-s", str(lua), url]
        before = _children()
        told = subprocess.run([*command, "--", str(self.bodies)], check=True, capture_output=True, text=True).stdout
        seen_by_wrk = json.loads(told.rpartition("SEEN ")[2])
        self.failed += int(seen_by_wrk["failed"])
        self.peaks.append((seen_by_wrk["requests"] - seen_by_wrk["failed"]) / seen_by_wrk["seconds"])
        return f"wrk, busy {(_children() - before) / seconds:.0%}"

    def ask(self, **spec: float) -> Seen:
        """Ask with our own client in a process of its own."""
        asked = Spec(port=self.service.port, path=self.contender.path, bodies=str(self.bodies), **spec)  # type: ignore[arg-type]  # numbers of its fields' kinds
        command = [sys.executable, str(HERE / "serving_client.py")]
        done = subprocess.run(command, check=True, input=json.dumps(asdict(asked)), stdout=subprocess.PIPE, text=True)
        return Seen(**json.loads(done.stdout))


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def baseline(model: Path, texts: Path, seconds: float, way: str) -> Found:
    """What `serving_baseline.py` finds."""
    command = [sys.executable, str(HERE / "serving_baseline.py"), str(model), str(texts), str(seconds), way]
    return Found(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def say(line: str) -> None:
    """Print, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def spread(values: Sequence[float], unit: str = "") -> str:
    """Median and range."""
    return f"{statistics.median(values):.3g}{unit} [{min(values):.3g}, {max(values):.3g}]"


def milliseconds(seen: dict[str, float]) -> str:
    """Quantiles for people."""
    return ", ".join(f"{name} {1000 * value:.1f} ms" for name, value in seen.items()) or "none"


def about_client(seen: Seen) -> str:
    """How busy the client was, and whether that spoils the figures."""
    note = f"client busy {seen.cpu:.0%}, its latest hundredth left {1000 * seen.lag:.1f} ms late"
    return note + ("; THE CLIENT IS THE BOTTLENECK" if seen.cpu > BUSY else "")


def run_closed(benches: dict[str, Bench], model: Path, texts: Path, *, rounds: int, seconds: float,
               lua: Path) -> dict[str, float]:  # fmt: skip
    """Alternate baseline and services; gives the single-text latencies of the last baseline."""
    alone: list[float] = []
    how = ""
    found = Found(0, "", {})
    for _ in range(rounds):
        found = baseline(model, texts, seconds, found.way)
        alone.append(found.texts)
        for bench in benches.values():
            how = bench.closed(seconds, lua)
    say(f"\nclosed loop, {CONNECTIONS} connections, {rounds} rounds of {seconds:g} s, median [range] ({how})")
    say(f"  in process, {found.way}: {spread(alone)} texts/s; one text alone: {milliseconds(found.single)}")
    for name, bench in benches.items():
        shares = [peak / one for peak, one in zip(bench.peaks, alone, strict=True)]
        say(f"  {name}: {spread(bench.peaks)} requests/s, of in process {spread(shares)}, failed {bench.failed}")
    return found.single


def run_load(name: str, bench: Bench, single: dict[str, float], seconds: float) -> None:
    """At 70% of its own peak."""
    rate = LOAD * statistics.median(bench.peaks)
    seen = bench.ask(rate=rate, seconds=seconds, connections=512, warmup=1.0)
    times = "; ".join(
        f"{seen.latencies.get('p99', 0) / single[one]:.1f} times {one} of one text alone" for one in single
    )
    say(f"  {name} at {rate:.0f}/s: {milliseconds(seen.latencies)}; {seen.statuses}")
    say(f"    p99 is {times}; {about_client(seen)}")


def run_overload(name: str, bench: Bench, lua: Path) -> None:
    """At four times its own peak, measured before and after."""
    bench.closed(5, lua)
    memory, cpu = bench.service.memory(), bench.service.cpu()
    rate = OVERLOAD * bench.peaks[-1]
    seen = bench.ask(rate=rate, seconds=OVERLOAD_SECONDS, connections=OVERLOAD_CONNECTIONS)
    grown, used = bench.service.memory() - memory, bench.service.cpu() - cpu
    before = bench.peaks[-1]
    bench.closed(5, lua)
    peak = statistics.mean((before, bench.peaks[-1]))
    say(f"  {name} at {rate:.0f}/s: {seen.good:.0f} good/s, {seen.good / peak:.3f} of its peak ({before:.0f} before, "
        f"{bench.peaks[-1]:.0f} after); {seen.statuses}")  # fmt: skip
    say(f"    accepted: {milliseconds(seen.latencies)}; refused: {milliseconds(seen.refused)}")
    busy = used / OVERLOAD_SECONDS
    say(f"    memory {grown / 1e6:+.1f} MB; service busy {busy:.0%}; {about_client(seen)}")


def run_soak(bench: Bench, minutes: int) -> None:
    """At 70% of the peak, minute by minute; the first is the warm-up."""
    rate = LOAD * statistics.median(bench.peaks)
    memories: list[int] = []
    for minute in range(minutes + 1):
        seen = bench.ask(rate=rate, seconds=60.0, connections=512, seed=minute)
        memories.append(bench.service.memory())
        grown = (memories[-1] - memories[0]) / 1e6
        bad = {status: count for status, count in seen.statuses.items() if status != "200" and count}
        say(f"  minute {minute}: {seen.good:.0f}/s, {milliseconds(seen.latencies)}, {grown:+.1f} MB since the first, "
            f"other than 200: {bad}")  # fmt: skip


def texts_of(run: Path) -> list[str]:
    """The test texts of a finished run."""
    import pyarrow.parquet

    return [str(text) for text in pyarrow.parquet.read_table(run / "dataset" / "test.parquet")["text"].to_pylist()]


def machine() -> str:
    """What the figures depend on."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    return f"{len(os.sched_getaffinity(0))} processors, {names[0]}; load of all before: {os.getloadavg()[0]:.1f}"


def main(asked: argparse.Namespace) -> None:
    """Start everything, measure, print."""
    run: Path = asked.run
    say(f"{time.strftime('%Y-%m-%d')}, {machine()}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftdeploy-load-")))
        texts = folder / "texts.json"
        texts.write_text(json.dumps(texts_of(run)), encoding="utf-8")
        lua = folder / "ask.lua"
        lua.write_text(LUA, encoding="utf-8")
        peers = [(name, python) for name, _, python in (peer.partition("=") for peer in asked.peer)]
        benches = dict(_started(stack, run, folder, texts, peers, server=asked.server))
        modes, model = asked.modes.split(","), run / "bundle" / "src" / "model"
        single = run_closed(benches, model, texts, rounds=asked.rounds, seconds=asked.seconds, lua=lua)
        if "load" in modes:
            say(f"\nopen loop at {LOAD:.0%} of the peak, {asked.seconds:g} s")
            for name, bench in benches.items():
                run_load(name, bench, single, asked.seconds)
        if "overload" in modes:
            say(f"\nopen loop at {OVERLOAD:g} times the peak, {OVERLOAD_SECONDS:g} s")
            for name, bench in benches.items():
                run_overload(name, bench, lua)
        if "soak" in modes:
            say(f"\nsoak at {LOAD:.0%} of the peak")
            run_soak(benches["ftdeploy"], asked.minutes)


def _started(stack: ExitStack, run: Path, folder: Path, texts: Path,
             peers: Sequence[tuple[str, str]], *, server: str) -> Iterator[tuple[str, Bench]]:  # fmt: skip
    for name, contender in contenders(run / "bundle", peers, server=server).items():
        bodies = folder / f"{name}.bodies"
        bodies.write_text(
            "\n".join(json.dumps(contender.body(text)) for text in json.loads(texts.read_text(encoding="utf-8"))),
            encoding="utf-8",
        )
        environment = {"FTDEPLOY_TRAFFIC": str(folder / "traffic"), **dict(contender.environment)}
        started = serving(contender.command, log=folder / f"{name}.log", path=contender.ready, **environment)
        yield name, Bench(contender, stack.enter_context(started), bodies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--modes", default="closed,load,overload")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--server", choices=("bentoml", "ftdeploy"), default="bentoml")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    main(parser.parse_args())
