"""Workers that die or hang: others take their place, only who was being answered notices, and no count is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from hammer import ask, gone, hammering, workers_of
from test_serve_service import Server, free_port
from test_serve_supervisor import logged, serving
from tiny import ROOT, write_bundle

from ftdeploy.errors import ArtifactError, ServeError
from ftdeploy.serve.supervisor import supervise
from ftdeploy.serve.zygote import FORK_FIRST, how_it_ended

CLIENTS = 6


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("run") / "bundle").path


def answered(server: Server) -> int:
    """How many questions were answered, as the service says."""
    return metric(server, 'ftdeploy_requests_total{route="/predict",status="200"}')


def metric(server: Server, name: str) -> int:
    """A number of the service's metrics; 0 when it is not there. Each time on a new connection."""
    found = re.search(f"^{re.escape(name)} ([0-9.]+)$", ask(server.port, "/metrics", None)[2], re.MULTILINE)
    return int(found.group(1)) if found else 0


def replaced(server: Server, before: list[int]) -> list[int]:
    """Wait until as many others are there."""
    assert gone(before)
    while len(found := workers_of(server.process.pid)) < len(before):
        assert server.process.poll() is None
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("forks_first", [False, True])
def test_kill_9_of_the_only_worker_costs_the_requests_in_flight_and_no_more(
    bundle: Path, tmp_path: Path, forks_first: bool
) -> None:
    """Twice, under load: connections close for those who were being answered, nothing else than 200 is said, and
    the counts go on from where they were; whether a worker has the model of its zygote or opens it."""
    environment = {FORK_FIRST: "1"} if forks_first else {}
    with serving(bundle, tmp_path / "log", **environment) as server, hammering(server.port, CLIENTS) as answers:
        pauses, counted = [], 0
        for _ in range(2):
            answers.until(100)
            now = answered(server)
            assert now > counted
            counted = now
            before = workers_of(server.process.pid)
            answers.pause = 0.0
            os.kill(before[0], signal.SIGKILL)
            replaced(server, before)
            answers.until(CLIENTS)
            pauses.append(answers.pause)
            assert answered(server) >= counted
    assert set(answers.outcomes) == {200, "closed"}
    assert answers.outcomes["closed"] <= 2 * CLIENTS
    print(f"longest time without an answer, forks first {forks_first}: {max(pauses):.2f} s")  # noqa: T201  # for who asks


def test_the_metrics_of_two_workers_are_one(bundle: Path, tmp_path: Path) -> None:
    """Whoever is asked says what both have answered; when one dies, and when the bundle is started anew, nothing of it
    is lost but what it did in its last second."""
    with serving(bundle, tmp_path / "log", "--workers", "2", FTDEPLOY_THREADS="3") as server:
        with hammering(server.port, keep_alive=False) as answers:  # so that both get some
            answers.until(40)
        counted = answers.outcomes[200]
        while answered(server) < counted:
            time.sleep(0.1)
        seen = {answered(server) for _ in range(20)}
        assert seen == {counted}
        assert metric(server, "ftdeploy_lanes") == 3
        before = workers_of(server.process.pid)
        os.kill(before[0], signal.SIGKILL)
        replaced(server, [before[0]])
        assert answered(server) == counted
        before = workers_of(server.process.pid)
        server.process.send_signal(signal.SIGHUP)
        assert gone(before)
        assert answered(server) == counted


def test_a_worker_that_hangs_is_replaced(bundle: Path, tmp_path: Path) -> None:
    """Stopped, it says nothing; its connections close, and another answers."""
    with serving(bundle, tmp_path / "log", FTDEPLOY_HANG_SECONDS="1") as server:
        with hammering(server.port, CLIENTS) as answers:
            answers.until(50)
            before = workers_of(server.process.pid)
            os.kill(before[0], signal.SIGSTOP)
            replaced(server, before)
            answers.until(50)
        assert set(answers.outcomes) == {200, "closed"}
        assert "it is killed" in server.log.read_text(encoding="utf-8")


def test_a_worker_whose_model_hangs_is_replaced(bundle: Path, tmp_path: Path) -> None:
    """Its event loop is well, but a forward pass never comes back: who asked is told 503, and others are answered."""
    hangs = (bundle / "src" / "ftdeploy" / "serve" / "model.py").read_text(encoding="utf-8")
    hangs = hangs.replace(
        "        return _whole(predictor, predictor.run(",
        "        while len(rows[0].ids) == 7: pass\n        return _whole(predictor, predictor.run(",
    )
    assert hangs.count("while len(rows[0].ids) == 7: pass") == 1
    wedged = write_bundle(tmp_path / "wedged", replaced={"ftdeploy/serve/model.py": hangs.encode()})
    environment = {"FTDEPLOY_HANG_SECONDS": "1", "FTDEPLOY_TIMEOUT_SECONDS": "1", "FTDEPLOY_LANES": "1"}
    with serving(wedged.path, tmp_path / "log", **environment) as server:
        before = workers_of(server.process.pid)
        assert ask(server.port, body='{"inputs": "good bad good bad good"}')[0] == 503
        replaced(server, before)
        assert ask(server.port)[0] == 200


def test_a_worker_that_is_told_to_end_is_replaced_without_loss(bundle: Path, tmp_path: Path) -> None:
    """SIGTERM for one worker, from somebody who looks after the machine."""
    with serving(bundle, tmp_path / "log") as server, hammering(server.port, CLIENTS) as answers:
        answers.until(50)
        before = workers_of(server.process.pid)
        os.kill(before[0], signal.SIGTERM)
        replaced(server, before)
        answers.until(50)
    assert set(answers.outcomes) == {200}


def test_a_service_needs_the_files_of_its_bundle_no_more(tmp_path: Path) -> None:
    """Everything is removed under it: it goes on, and so does the worker that takes the place of one that dies."""
    bundle = write_bundle(tmp_path / "bundle")
    with serving(bundle.path, tmp_path / "log") as server:
        shutil.rmtree(bundle.path)
        before = workers_of(server.process.pid)
        os.kill(before[0], signal.SIGKILL)
        replaced(server, before)
        assert ask(server.port)[0] == 200
        server.process.send_signal(signal.SIGHUP)
        logged(server, "Still serving tiny")
        assert ask(server.port)[0] == 200


def test_where_workers_open_the_model_one_that_cannot_leaves_the_others_serving(tmp_path: Path) -> None:
    """The model's file is gone, and a worker dies: the other one answers, and a new one is tried again and again."""
    bundle = write_bundle(tmp_path / "bundle")
    with serving(bundle.path, tmp_path / "log", "--workers", "2", **{FORK_FIRST: "1"}) as server:
        (bundle.path / "src" / "model" / "model.onnx").unlink()
        before = workers_of(server.process.pid)
        os.kill(before[0], signal.SIGKILL)
        logged(server, "before it was ready: another is tried in 1.6 s")
        alone = workers_of(server.process.pid)
        assert before[1] in alone
        # The kernel deals out connections: those of the dead one's half wait until it is replaced.
        os.kill(before[1], signal.SIGKILL)
        assert server.process.wait() == ArtifactError.exit_code
    assert "is not a readable ONNX model" in server.log.read_text(encoding="utf-8")


def test_workers_that_all_die_are_an_error(tmp_path: Path) -> None:
    """In three parts, after some tries."""
    code = (ROOT / "ftdeploy" / "serve" / "worker.py").read_bytes() + b"\nWorker.run = lambda *_: os.abort()\n"
    bundle = write_bundle(tmp_path / "dies", replaced={"ftdeploy/serve/worker.py": code})
    with pytest.raises(ServeError, match="5 workers in a row died of SIGABRT before they were ready") as caught:
        supervise(bundle.path, host="127.0.0.1", port=free_port())
    assert caught.value.exit_code == 17
    assert caught.value.fix


def test_a_wait_status_in_words() -> None:
    """The signal by its name."""
    assert how_it_ended(9) == "died of SIGKILL"
    assert how_it_ended(3 << 8) == "ended with 3"
