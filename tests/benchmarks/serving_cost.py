"""What a request costs: processor time of the event loop, of the lanes and of the rest, beside one another.

Usage: ``serving_cost.py RUN [RUN ...] [--rounds 3] [--seconds 8] [--server ftdeploy]``; each RUN
holds ``bundle`` and ``dataset``. Several are asked in turns, so that two states of the code can be compared: copy a run
and replace ``bundle/src/ftdeploy``. Texts are asked one a request, by wrk where it is installed. Processor time is the
kernel's, by thread: a process's first one runs the event loop (HTTP, reading, tokenizer, answers), the busiest others
are lanes; what is left is recording, drift and threads of libraries. Prints; judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests import it from there

from benchmarks.serving_load import LUA, Bench, contenders, machine, say, spread, texts_of
from benchmarks.serving_service import serving


@dataclass
class Costs:
    """Milliseconds of processor time a request, a figure a round; ``idle`` is a percentage of the machine."""

    rate: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)
    lanes: list[float] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)


def main(asked: argparse.Namespace) -> None:
    """Start everything, measure in turns, print."""
    say(machine())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftdeploy-cost-")))
        lua = folder / "ask.lua"
        lua.write_text(LUA, encoding="utf-8")
        benches = {
            str(run): _started(stack, run, folder / str(index), asked.server) for index, run in enumerate(asked.run)
        }
        costs = {name: Costs() for name in benches}
        for _ in range(asked.rounds):
            for name, bench in benches.items():
                _round(bench, costs[name], asked.seconds, lua, asked.lanes)
    for name, cost in costs.items():
        say(f"{name}: {spread(cost.rate)} requests/s, {spread(cost.idle, '%')} of the processors idle; a request takes "
            f"{spread(cost.loop, ' ms')} of the event loop, {spread(cost.lanes, ' ms')} of the lanes, "
            f"{spread(cost.rest, ' ms')} of the rest")  # fmt: skip


def _started(stack: ExitStack, run: Path, folder: Path, server: str) -> Bench:
    folder.mkdir()
    contender = contenders(run / "bundle", [], server=server)["ftdeploy"]
    bodies = folder / "bodies"
    bodies.write_text("\n".join(json.dumps(contender.body(text)) for text in texts_of(run)), encoding="utf-8")
    service = stack.enter_context(
        serving(contender.command, log=folder / "log", FTDEPLOY_TRAFFIC=str(folder / "traffic"))
    )
    return Bench(contender, service, bodies)


def _round(bench: Bench, cost: Costs, seconds: float, lua: Path, lanes: int) -> None:
    before, idle = _threads(bench), _idle()
    bench.closed(seconds, lua)
    cost.idle.append(100 * (_idle() - idle) / seconds / (os.cpu_count() or 1))
    used = {key: value - before.get(key, 0.0) for key, value in _threads(bench).items()}
    rate = bench.peaks[-1]
    per = 1000 / (rate * seconds)
    first = {key: value for key, value in used.items() if key[0] == key[1]}
    others = sorted((value for key, value in used.items() if key not in first), reverse=True)
    cost.rate.append(rate)
    cost.loop.append(per * sum(first.values()))
    cost.lanes.append(per * sum(others[:lanes]))
    cost.rest.append(per * sum(others[lanes:]))


def _idle() -> float:
    """Seconds that all processors of the machine have been idle."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def _threads(bench: Bench) -> dict[tuple[int, int], float]:
    """Processor seconds of every thread of a service: (process, thread) -> seconds."""
    found: dict[tuple[int, int], float] = {}
    for pid in bench.service.pids():
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                # Nanoseconds on the processor, which `stat` tells in hundredths of a second only.
                found[pid, int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--server", choices=("bentoml", "ftdeploy"), default="bentoml")
    parser.add_argument("--lanes", type=int, default=len(os.sched_getaffinity(0)))
    main(parser.parse_args())
