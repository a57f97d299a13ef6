"""The loop, closed: a service meets tweets, tells of drift, is taught 500 of them, and is better. Prints each step,
and writes what came of it to WORK/loop.json. Most of its time goes into making two challengers: minutes with a short
search, half an hour or more with a whole one. `tests/end_to_end/test_loop.py` runs it with a short one.

A run of `recipes/sentiment.yaml` with the settings below answers film reviews, which it was made of, and
then tweets (vaderSentiment source package). Half of the tweets are kept from it for the end. Clients ask all the time,
also while champions change; each must have each answer. A second challenger learns shuffled labels and must be refused.

    python tests/benchmarks/update_loop.py RUN recipes/sentiment.yaml WORK \
        --set monitor.traffic.text=true --set monitor.label_rows=500
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ftdeploy.artifact import open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.origin import Origin
from ftdeploy.predictor import Predictor
from ftdeploy.registry import Registry
from ftdeploy.sources import resolve

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "recipes" / "sources"), str(ROOT / "tests")]
import vader  # type: ignore[import-not-found]  # noqa: E402  # a loader beside the recipes
from hammer import hammering  # noqa: E402  # load, as tests make it
from test_serve_service import free_port, running  # noqa: E402

TWEETS = Origin(
    package="vaderSentiment==0.5",
    sha256="5d97c37f3ef6e24eef331122e055dbedafeb6a56abfce0608b326701116ea49a",
    member="vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz/hutto_ICWSM_2014/tweets_GroundTruth.txt",
)
IN_DOMAIN = 600
MOST_TWEETS = 1200
SEED = 13
#: Labels in one request.
AT_ONCE = 500

Row = dict[str, Any]
#: What came of each step, by name.
Found = dict[str, Any]


@dataclass
class Service:
    """The service under test, as a client sees it.

    Attributes:
        truths: id of a request -> the true label of its text.
    """

    client: httpx.Client
    truths: dict[str, str] = field(default_factory=dict)

    def ask(self, row: Row) -> None:
        """Ask one text, as a user would; its true label is kept for whoever labels."""
        reply = self.client.post("/predict", json={"inputs": row["text"]}).raise_for_status()
        self.truths[reply.headers["x-request-id"]] = row["label"]

    def drift(self) -> str:
        """What it says of the traffic by itself."""
        return str(self.client.get("/about").json()["drift"]["state"])

    def digest(self) -> str:
        """Of the bundle that answers."""
        return self.client.post("/predict", json={"inputs": "a film"}).headers["x-model-digest"][:12]


def say(step: str, line: str) -> None:
    """A line, as soon as it is known."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {step:<10} {line}\n")
    sys.stdout.flush()


def command(step: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `ftdeploy`, and tell what it said."""
    began = time.monotonic()
    called = [sys.executable, "-m", "ftdeploy", *map(str, arguments)]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).strip().splitlines():
        say(step, f"  {line}")
    say(step, f"ftdeploy {arguments[0]}: exit code {done.returncode} after {time.monotonic() - began:.0f} s")
    return done


def read_tweets() -> tuple[list[Row], list[Row]]:
    """Tweets to be asked, and those that are kept for the end."""
    rows = shuffled(list(vader.load(resolve(TWEETS))))
    half = len(rows) // 2
    return rows[:half], rows[half:]


def shuffled(rows: list[Row]) -> list[Row]:
    """In no order: files are sorted, and users are not."""
    return [rows[n] for n in np.random.default_rng(SEED).permutation(len(rows))]


def drift_comes(service: Service, film: Sequence[Row], tweets: Sequence[Row], found: Found) -> datetime:
    """Film reviews first, then tweets, one request each; gives the time of the first tweet."""
    for row in film:
        service.ask(row)
    found["drift_before"] = service.drift()
    say("serve", f"{len(film)} film reviews answered; drift: {found['drift_before']}")
    since = datetime.now(UTC)
    alarm = 0
    for number, row in enumerate(tweets, 1):
        service.ask(row)
        if not alarm and service.drift() == "alarm":
            alarm = number
            say("alarm", f"at tweet {number}")
    found["alarm_at_tweet"] = alarm
    say("alarm", f"{len(tweets)} tweets answered; drift: {service.drift()}")
    return since


def label(service: Service, queue: Path, count: int, found: Found) -> set[str]:
    """Answer the first rows of the queue with true labels; gives the ids of their requests."""
    with queue.open(encoding="utf-8", newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["request"] in service.truths][:count]
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        labels = [{"request_id": row["request"], "label": service.truths[row["request"]]} for row in some]
        service.client.post("/feedback", json=labels).raise_for_status()
    wrong = sum(row["predicted"] != service.truths[row["request"]] for row in rows)
    found |= {"labelled": len(rows), "labelled_wrong": wrong}
    say("label", f"{len(rows)} rows of {queue.name} labelled; the champion was wrong in {wrong}")
    return {row["request"] for row in rows}


def mislabelled(path: Path, rows: Sequence[Row]) -> Path:
    """Rows whose labels say nothing."""
    labels = np.random.default_rng(SEED).permutation([row["label"] for row in rows])
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"label": wrong} for row, wrong in zip(rows, labels, strict=True))
    return path


def accuracy(version: Path, rows: Sequence[Row]) -> float:
    """Of a version on some rows; not asked of the service, which would take note of them."""
    predictor = Predictor(version / "bundle" / "src" / "model")
    labels = predictor.signature.labels
    best = predictor.predict([row["text"] for row in rows]).logits.argmax(axis=1).tolist()
    return float(np.mean([labels[one] == row["label"] for one, row in zip(best, rows, strict=True)]))


def followed(service: Service, version: str) -> None:
    """Wait until the service answers with a version."""
    began = time.monotonic()
    while service.digest() != version:
        time.sleep(0.1)
    say("serve", f"{version} answers, {time.monotonic() - began:.1f} s later")


@contextmanager
def asking(service: Service) -> Iterator[Counter[int | str]]:
    """Ask twenty times a second until the block ends: a load that leaves the processors to training."""
    outcomes: Counter[int | str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
            try:
                outcomes[service.client.post("/predict", json={"inputs": "a superb film"}).status_code] += 1
            except httpx.HTTPError as error:
                outcomes[type(error).__name__] += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield outcomes
    finally:
        over.set()
        thread.join()


def close_the_loop(service: Service, registry: Registry, port: int, arguments: argparse.Namespace) -> Found:
    """From drift to a rollback."""
    found: Found = {}
    film = shuffled(read_split(open_artifact(arguments.run / "dataset"), "test").to_pylist())
    asked, kept = read_tweets()
    asked = asked[:MOST_TWEETS]
    domains = {"tweets": kept, "film_reviews": film}
    champion = registry.champion()
    assert champion is not None
    found["before"] = {name: accuracy(champion, rows) for name, rows in domains.items()}
    for name, one in found["before"].items():
        say("before", f"accuracy on {len(domains[name])} {name} {one:.4f}")
    traffic, recorded, report = (arguments.work / name for name in ("traffic", "recorded", "drift"))
    since = drift_comes(service, film[:IN_DOMAIN], asked, found)
    time.sleep(2)  # what was recorded reaches the disk
    # The film reviews are test rows, which the champion knows: nobody need label them.
    told = command("monitor", "monitor", champion / "bundle", "--traffic", traffic, "--since", since.isoformat(),
                   "--report", report)  # fmt: skip
    found["monitor"] = told.returncode
    labelled = label(service, report / "to_label.csv", arguments.rows, found)
    time.sleep(2)
    shutil.copytree(traffic, recorded)  # without the load that follows
    with asking(service) as statuses:
        done = command("update", "update", registry.root, "--auto", "--traffic", recorded, *arguments.updates)
        best = registry.champion()
        assert best is not None
        if best != champion:
            followed(service, best.name)
    found |= {"update": done.returncode, "promoted": best != champion, "statuses": dict(statuses)}
    say("serve", f"answers meanwhile, by status: {found['statuses']}")
    found["after"] = {name: accuracy(best, rows) for name, rows in domains.items()}
    for name, one in found["after"].items():
        say("after", f"accuracy on {name} {found['before'][name]:.4f} -> {one:.4f}")
    roll_back(service, registry, port, champion, found)
    requests = list(service.truths)[IN_DOMAIN:]
    left = [row for request, row in zip(requests, asked, strict=True) if request not in labelled]
    bad = mislabelled(arguments.work / "shuffled.csv", left[: arguments.rows])
    found["shuffled"] = command("bad", "update", registry.root, "--data", bad, "--auto", *arguments.updates).returncode
    found["shuffled_promoted"] = registry.champion() != champion
    say("bad", f"a challenger with shuffled labels is {'taken' if found['shuffled_promoted'] else 'refused'}")
    command("history", "registry", "history", registry.root)
    return found


def roll_back(service: Service, registry: Registry, port: int, champion: Path, found: Found) -> None:
    """Back to the first champion, while clients ask without a pause; after it the one before is served again."""
    changed = registry.champion() != champion
    with hammering(port) as answers:
        answers.until(100)
        if changed:
            command("rollback", "registry", "rollback", registry.root, "--why", "to see that it works under load")
            followed(service, champion.name)
        answers.until(100)
    found |= {"rollback": dict(answers.outcomes), "rollback_pause": answers.pause, "models": len(answers.digests)}
    say("rollback", f"answers meanwhile: {found['rollback']}, longest pause {answers.pause:.2f} s")


def main() -> None:
    """Set the loop up, and close it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="A run of recipes/sentiment.yaml, with the texts of its traffic kept.")
    parser.add_argument("recipe", type=Path, help="The recipe.")
    parser.add_argument("work", type=Path, help="An empty folder, or none yet.")
    parser.add_argument("--set", action="append", default=[], help="As it was given to `run`; also for the updates.")
    parser.add_argument("--update-set", action="append", default=[], help="For the updates alone.")
    parser.add_argument("--rows", type=int, default=500, help="Rows that are labelled.")
    arguments = parser.parse_args()
    arguments.work = arguments.work.absolute()
    arguments.work.mkdir(parents=True, exist_ok=True)
    registry = Registry(arguments.work / "registry" / "reviews")
    overrides = [part for one in arguments.set for part in ("--set", one)]
    arguments.updates = [*overrides, *(part for one in arguments.update_set for part in ("--set", one))]
    added = command("registry", "registry", "add", arguments.run, registry.root, "--recipe", arguments.recipe,
                    *overrides, "--json")  # fmt: skip
    command("registry", "registry", "promote", registry.root, json.loads(added.stdout)["version"], "--why", "the first")
    port = free_port()
    serving = [sys.executable, "-m", "ftdeploy", "serve", str(registry.root / "champion" / "bundle"), "--port",
               str(port)]  # fmt: skip
    environment = {"FTDEPLOY_TRAFFIC": str(arguments.work / "traffic"), "OMP_NUM_THREADS": "1"}
    if paths := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = paths
    with (
        running(serving, port, arguments.work / "service.log", **environment),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        found = close_the_loop(Service(client), registry, port, arguments)
    (arguments.work / "loop.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
