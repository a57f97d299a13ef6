"""kill -9 of `ftdeploy update --auto` at random points, with a service that follows the champion under requests.

Usage: ``python tests/benchmarks/update_kills.py [--kills 50] [--seed 1]``, from the checkout; a tiny recipe, one core.

Every other kill comes at a random time, the others at a random step that shows on the disk and up to a tenth of a
second later, because the steps at the end are short. After each kill the pointer must lead to a whole version, checked
file by file; the same command then goes on, to be killed again or to end. Each update that ended must have promoted its
challenger or refused it, and once more must find nothing to do. Prints what was seen; ends with 1 if requests failed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tiny_run import start
from tiny_training import one_processor
from update_samples import SETTINGS, domain, make_champion, write_csv
from update_states import check_champion, states

from ftdeploy.registry import Registry

PORT = 38211
OPTIONS = [part for setting in SETTINGS for part in ("--set", setting)]


@dataclass
class Client:
    """Asks the service for one text after the other.

    Attributes:
        answered: requests that were answered with 200.
        failed: what became of the others.
    """

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    ends: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """Until it is told to end."""
        while not self.ends.is_set():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
                connection.request("POST", "/predict", json.dumps({"inputs": "a good film"}))
                status = connection.getresponse().status
                connection.close()
                self.answered += status == 200
                if status != 200:
                    self.failed[str(status)] += 1
            except OSError as error:
                self.failed[type(error).__name__] += 1
            time.sleep(0.05)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _state(home: Path, first: str) -> str:
    """The last step that shows."""
    shown = [name for name, seen in states(home, first).items() if seen()]
    return shown[-1] if shown else "before anything"


def _killed(home: Path, first: str, rows: Path, draw: random.Random, *, longest: float) -> str | None:
    """Start the command and kill it somewhere; the step that it was killed at, or None where it ended before."""
    steps = states(home, first)
    ahead = [name for name, seen in steps.items() if not seen()]
    step = draw.choice(ahead) if ahead and draw.random() < 0.5 else None
    late = time.monotonic() + draw.uniform(0, longest)
    with start("update", home, "--data", rows, "--auto", *OPTIONS) as process:
        while process.poll() is None:
            if steps[step]() if step else time.monotonic() > late:
                time.sleep(draw.uniform(0, 0.1) if step else 0)
                break
            time.sleep(0.003)
        if process.poll() is None:
            process.kill()
        _, told = process.communicate()
    if process.returncode == -9:
        return _state(home, first)
    if process.returncode not in (0, 10, 11):
        raise AssertionError(f"exit {process.returncode}: {told}")
    return None


def _ended(home: Path, first: str, rows: Path) -> str:
    """Run the command to its end, and once more; the verdict."""
    with start("update", home, "--data", rows, "--auto", "--json", *OPTIONS) as process:
        shown, told = process.communicate()
    if process.returncode not in (0, 10, 11):
        raise AssertionError(f"exit {process.returncode}: {told}")
    found = json.loads(shown)
    champion = check_champion(home)
    verdict = found["verdict"] or ("pass" if champion != first else "nothing")
    if (verdict == "pass") != (champion != first):
        raise AssertionError(f"{verdict}, and the champion is {champion}")
    with start("update", home, "--data", rows, "--auto", "--json", *OPTIONS) as process:
        again = json.loads(process.communicate()[0])
    if not again["repeated"] or check_champion(home) != champion:
        raise AssertionError(f"not idempotent: {again}")
    return str(verdict)


def main() -> int:
    """Kill, look, and go on, until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    draw = random.Random(wanted.seed)  # noqa: S311 - no secret
    with one_processor(), tempfile.TemporaryDirectory() as place:
        home = make_champion(Path(place)).resolve()
        registry = Registry(home)
        first = check_champion(home)
        service = start("serve", home / "champion" / "bundle", "--port", str(PORT))
        client = Client()
        try:
            _wait_for_service()
            threading.Thread(target=client.ask, daemon=True).start()
            killed, verdicts, updates = Counter[str](), Counter[str](), 0
            longest, begun = 25.0, time.monotonic()
            while killed.total() < wanted.kills:
                updates += 1
                shutil.rmtree(home / "updates", ignore_errors=True)
                rows = write_csv(Path(place) / f"rows-{updates}.csv", domain(240, seed=1000 + updates))
                while killed.total() < wanted.kills:
                    step = _killed(home, first, rows, draw, longest=longest)
                    champion = check_champion(home)
                    if step is not None:
                        killed[step] += 1
                        _say(f"kill {killed.total():>3} in update {updates}, at: {step}; champion {champion} is whole")
                    if step is None or champion != first:  # nothing is left to kill
                        break
                verdicts[_ended(home, first, rows)] += 1
                registry.promote(first, why="the next round")
                for version in registry.versions():
                    if version != first:
                        shutil.rmtree(registry.folder(version))
            client.ends.set()
        finally:
            service.terminate()
            service.communicate(timeout=30)
        took = time.monotonic() - begun
        _say(f"{killed.total()} kills in {updates} updates, {took:.0f} s; verdicts {dict(verdicts)}")
        for step in (*states(home, first), "before anything"):
            _say(f"  {killed[step]:>3}  {step}")
        _say(f"requests meanwhile: {client.answered:,} answered, {client.failed.total()} failed {dict(client.failed)}")
        return 1 if client.failed else 0


def _wait_for_service() -> None:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the service does not start")


if __name__ == "__main__":
    sys.exit(main())
