"""A challenger beside a service: it is compared on live traffic, and whatever it does, nobody waits for it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hammer import alive, ask, children, gone, hammering
from test_serve_supervisor import digest_of, logged, point, serving
from tiny import ROOT, write_bundle

from ftdeploy.registry import Registry

if TYPE_CHECKING:
    from test_serve_service import Server

#: A challenger has the processor time that nobody else wants: beside other tests that is none.
pytestmark = pytest.mark.alone

CODE = (ROOT / "ftdeploy" / "serve" / "shadow.py").read_bytes()


def misbehaving(what: bytes) -> Mapping[str, bytes]:
    """The challenger's code, which does something when the first texts come."""
    return {
        "ftdeploy/serve/shadow.py": CODE.replace(
            b"        encoded = ", b"        rows and " + what + b"\n        encoded = "
        )
    }


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion, and challengers: the same model, one with its labels swapped, one that crashes, one that hangs."""
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder / "champion")
    for name, settings in {
        "same": {"serve": {"max_texts": 17}},
        "swapped": {"labels": ("positive", "negative")},
        "crashes": {"replaced": misbehaving(b"os.kill(os.getpid(), 9)")},
        "hangs": {"replaced": misbehaving(b"time.sleep(1000)")},
    }.items():
        (folder / name).mkdir()
        write_bundle(folder / name / "bundle", **settings)  # type: ignore[arg-type]  # its keywords
    return folder


def metrics(server: Server) -> dict[str, float]:
    """The challenger's metrics, summed over digests: ``texts_total``, ``flips_total from to``, ..."""
    found: dict[str, float] = {}
    for line in ask(server.port, "/metrics", None)[2].splitlines():
        if line.startswith("ftdeploy_shadow_") and "_bucket" not in line:
            name, value = line.rsplit(" ", 1)
            kept = re.findall(r'(?:from|to|of|reason)="([^"]*)"', name)
            key = " ".join([name.partition("{")[0].removeprefix("ftdeploy_shadow_"), *kept])
            found[key] = found.get(key, 0.0) + float(value)
    return found


def wait_for(server: Server, name: str, least: float) -> dict[str, float]:
    """The metrics once one of them is so large; not for ever."""
    for _ in range(2400):
        found = metrics(server)
        if found.get(name, 0.0) >= least:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} stays at {found.get(name)}: {server.log.read_text(encoding='utf-8')}")


def dropped(found: dict[str, float]) -> float:
    """Texts that the challenger was to get and had no room for."""
    return sum(count for name, count in found.items() if name.startswith("dropped_total"))


def challenger(server: Server) -> int:
    """The challenger's process."""
    (found,) = filter(is_challenger, children(server.process.pid))
    return found


def is_challenger(pid: int) -> bool:
    try:
        return b"ftdeploy.serve.shadow" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


def states(folder: Path) -> Iterator[dict[str, Any]]:
    """What challengers have written down beside their bundle."""
    for path in folder.glob("shadow/*.json"):
        yield orjson.loads(path.read_bytes())


def heard(server: Server) -> int:
    """Ask until the workers, who look for a challenger once a second, have found it; how many texts it got."""
    while not (sent := metrics(server).get("sent_total", 0.0)):
        questions(server, 1)
    return int(wait_for(server, "texts_total", sent)["texts_total"])


def questions(server: Server, times: int) -> None:
    """Ask three texts, so many times."""
    for _ in range(times):
        assert ask(server.port, "/predict", '{"inputs": ["a superb film", "awful", "a boring, poor film"]}')[0] == 200


def test_the_same_model_agrees_with_itself(bundles: Path, tmp_path: Path) -> None:
    """On every text, at the lowest priority; at the end its counts, and no text, are written beside its bundle."""
    with serving(bundles / "champion", tmp_path / "log", "--shadow", str(bundles / "same" / "bundle")) as server:
        wait_for(server, "ready", 1)
        pid = challenger(server)
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        before, missed = heard(server), dropped(metrics(server))
        questions(server, 20)
        found = wait_for(server, "texts_total", metrics(server)["sent_total"])
        digest = digest_of(server)
    compared, missed = found["texts_total"], dropped(found) - missed
    assert compared == found["agreements_total"] == found["sent_total"] == found["difference_ratio_count"]
    assert before < compared == before + 60 - missed  # on a busy machine the challenger, which comes last, misses some
    assert found["difference_ratio_sum"] == pytest.approx(0, abs=1e-3)
    assert found["confidence_total champion"] == pytest.approx(found["confidence_total challenger"], abs=1e-3)
    assert not any(name.startswith("flips_total") for name in found)
    assert gone([pid])
    (state,) = states(bundles / "same")
    assert (state["champion"], state["agreed"]) == (digest[:12], state["texts"])
    assert compared <= state["texts"] <= compared + 1  # one was asked for the digest
    written = [tmp_path / "log", *(bundles / "same" / "shadow").iterdir()]
    assert not re.search(rb"superb|awful|boring", b"".join(path.read_bytes() for path in written))


def test_a_model_with_swapped_labels_agrees_with_nothing(bundles: Path, tmp_path: Path) -> None:
    """And the flips say which label became which; with a share of a half, of about half of the requests."""
    shadow = ("--shadow", str(bundles / "swapped" / "bundle"), "--shadow-share", "0.5")
    with serving(bundles / "champion", tmp_path / "log", *shadow) as server:
        wait_for(server, "ready", 1)
        before = heard(server)
        questions(server, 100)
        sent = metrics(server)["sent_total"]
        found = wait_for(server, "texts_total", sent)
    assert 75 < sent - before + dropped(found) < 225  # of 300
    assert found["agreements_total"] == 0
    assert found["flips_total negative positive"] == 2 * found["flips_total positive negative"] == sent * 2 / 3


@pytest.mark.parametrize("how", ["crashes", "hangs"])
def test_a_challenger_that_fails_harms_no_answer(bundles: Path, tmp_path: Path, how: str) -> None:
    """Under load every question is answered. One that crashed is started again, one that hangs takes no more
    texts, and ends with the service, also where that was killed."""
    with serving(bundles / "champion", tmp_path / "log", "--shadow", str(bundles / how / "bundle")) as server:
        wait_for(server, "ready", 1)
        pid = challenger(server)
        with hammering(server.port) as answers:
            answers.until(200)
            if how == "crashes":
                logged(server, "the challenger ended with -9: it is started again in 1 s; answers go on")
            else:
                wait_for(server, "dropped_total full", 1)
                assert alive(pid)
            answers.until(200)
        before = digest_of(server)
        if how == "crashes":
            wait_for(server, "ready", 1)
            time.sleep(1.1)
            questions(server, 1)
            logged(server, "it is started again in 2 s")
        else:
            server.process.kill()
            server.process.wait()
            assert gone([pid])
    assert set(answers.outcomes) == {200}
    assert answers.digests == [before]
    assert gone([pid])


def test_a_registry_is_followed_under_load(tmp_path: Path) -> None:
    """Promotions and rollbacks lose no answer; its challenger comes, is promoted and so ends, and another one comes."""
    registry = Registry(tmp_path / "registry" / "tiny")
    for name in ("one", "two"):
        write_bundle(tmp_path / name / "bundle", serve={"max_texts": 20 + len(registry.versions())})
        registry.enter(tmp_path / name, None)
    one, two = registry.versions()
    registry.promote(one, why="the first")
    with serving(registry.root / "champion" / "bundle", tmp_path / "log") as server, hammering(server.port) as answers:
        answers.until(50)
        registry.challenge(two, why="to be watched")
        wait_for(server, "texts_total", 1)
        pid = challenger(server)
        for step, version in enumerate((two, one), 1):
            if version == two:
                registry.promote(two, why="it agrees")
            else:
                registry.rollback(why="no better")
            while server.log.read_text(encoding="utf-8").count(" is ready at ") <= step:
                answers.until(10)
            answers.until(50)
            assert digest_of(server).startswith(version)
            if step == 1:
                assert gone([pid])
        logged(server, f"tiny {two} starts as a challenger")
        registry.challenge(None, why="seen enough")
        while any(is_challenger(pid) for pid in children(server.process.pid)):
            answers.until(10)
    assert set(answers.outcomes) == {200}
    assert sorted(digest[:12] for digest in answers.digests) == sorted([one, two])
    assert {state["champion"] for state in states(registry.root / "versions" / two)} == {one}


def test_what_is_no_challenger_is_told_and_changes_nothing(bundles: Path, tmp_path: Path) -> None:
    """A damaged bundle, or one of before there were challengers; the next one that the path leads to is taken."""
    damaged = write_bundle(tmp_path / "damaged", serve={"max_texts": 18}).path
    with (damaged / "src" / "model" / "tokenizer.json").open("ab") as handle:
        handle.write(b"\n")
    link = tmp_path / "challenger"
    link.symlink_to(damaged)
    with serving(bundles / "champion", tmp_path / "log", "--shadow", str(link)) as server:
        logged(server, "is no challenger")
        questions(server, 3)
        point(link, bundles / "same" / "bundle")
        wait_for(server, "ready", 1)
        questions(server, 3)
    assert server.log.read_text(encoding="utf-8").count("tokenizer.json was changed") == 1
