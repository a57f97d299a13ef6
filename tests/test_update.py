"""An update from new rows to the champion: what is promoted, what is refused, and what is done only once."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from test_serve_traffic import answered
from tiny_run import ftdeploy, killed_when
from tiny_training import one_processor
from update_samples import SETTINGS, domain, make_champion, shuffled, write_csv
from update_states import check_champion, states

from ftdeploy.artifact import open_artifact
from ftdeploy.dataset import read_split
from ftdeploy.drift import WIDTH
from ftdeploy.errors import ArtifactError, FtdeployError, ModelError
from ftdeploy.registry import Registry
from ftdeploy.serve.model import bundle_digest
from ftdeploy.serve.traffic import Feedback, Recorder
from ftdeploy.serve.traffic_options import TrafficOptions
from ftdeploy.update import Updated, update, update_cut_off
from ftdeploy.update.auto import update_by_itself
from ftdeploy.update.collect import TooFewRows
from ftdeploy.update.outcome import updates_below, write_outcome


@dataclass(frozen=True)
class Made:
    """A registry, its first champion, and two updates of it that were made and not promoted."""

    home: Path
    first: str
    rows: Path
    good: Updated
    wrong: Path
    bad: Updated

    def copy(self, folder: Path) -> Registry:
        """The registry, to be changed."""
        shutil.copytree(self.home, folder / "tiny", symlinks=True)
        return Registry(folder / "tiny")


@pytest.fixture(scope="module", autouse=True)
def _fast() -> Iterator[None]:
    """Also for child processes, which have to find the keys of stages unchanged."""
    with one_processor():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("update")
    home = make_champion(folder)
    rows = write_csv(folder / "new.csv", domain(240))
    wrong = write_csv(folder / "wrong.csv", shuffled(domain(240)))
    first = Registry(home).champion()
    assert first is not None
    good = update(home, files=[rows], overrides=SETTINGS)
    bad = update(home, files=[wrong], overrides=[*SETTINGS, "update.epochs=1"])
    return Made(home=home, first=first.name, rows=rows, good=good, wrong=wrong, bad=bad)


def test_a_better_challenger_passes_and_waits(made: Made) -> None:
    """Entered with its report beside it; without being told so nobody is promoted."""
    outcome = made.good.outcome
    assert outcome is not None
    assert outcome.verdict == "pass", outcome.gates
    assert (made.good.champion, made.good.promoted, made.good.repeated) == (made.first, False, False)
    version = Registry(made.home).folder(str(outcome.version))
    report = json.loads((version / "update" / "report.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "pass"
    assert [case["name"] for case in report["cases"]] == ["old", "new"]
    assert (version / "update" / "report.html").is_file()
    made.good.refuse()


def test_the_challenger_learned_old_and_new_rows_and_was_tested_on_neither(made: Made) -> None:
    """Old rows stand in the split where they stood; of the new ones each split has some."""
    assert made.good.outcome is not None
    registry = Registry(made.home)
    splits = {}
    for version in (made.first, str(made.good.outcome.version)):
        dataset = open_artifact(registry.folder(version) / "dataset", kind="dataset")
        splits[version] = {
            name: set(read_split(dataset, name)["text"].to_pylist()) for name in ("train", "validation", "test")
        }
    before, after = splits.values()
    new = {text for text, _ in domain(240)}
    for name in ("validation", "test"):
        assert before[name] <= after[name] <= before[name] | new
        assert after[name] & new
    assert before["train"] <= after["train"] | after["test"]
    assert not after["train"] & after["test"]
    assert sum(made.good.outcome.splits.values()) == 240


def test_a_challenger_of_shuffled_labels_is_refused(made: Made) -> None:
    """It is not better on what it was told to learn; the champion stays."""
    assert made.bad.outcome is not None
    assert made.bad.outcome.verdict != "pass"
    assert made.bad.outcome.gates["new: accuracy better"] != "pass"
    assert made.bad.champion == made.first
    with pytest.raises(FtdeployError, match=f"{made.first} stays the champion") as refused:
        made.bad.refuse()
    assert refused.value.exit_code in (10, 11)


def test_the_same_update_is_made_once(made: Made, tmp_path: Path) -> None:
    """Said so; asked to promote what passed, it only does that; and then the rows are known."""
    registry = made.copy(tmp_path)
    again = update(registry.root, files=[made.rows], overrides=SETTINGS)
    assert again.repeated
    assert again.outcome == made.good.outcome
    promoted = update(registry.root, files=[made.rows], overrides=SETTINGS, promote=True)
    assert promoted.outcome is not None
    assert (promoted.promoted, promoted.repeated, promoted.champion) == (True, False, promoted.outcome.version)
    known = update(registry.root, files=[made.rows], overrides=SETTINGS, promote=True)
    assert known.outcome is None
    assert "has seen all of these rows" in known.said
    bad = update(registry.root, files=[made.wrong], overrides=SETTINGS, promote=True)
    assert bad.champion == promoted.champion


def test_what_somebody_rolled_back_stays_so(made: Made, tmp_path: Path) -> None:
    """The next cron run knows no better than a person."""
    registry = made.copy(tmp_path)
    update(registry.root, files=[made.rows], overrides=SETTINGS, promote=True)
    registry.rollback(why="customers complained")
    again = update_by_itself(registry.root, files=[made.rows], overrides=SETTINGS)
    assert again.champion == made.first
    assert "somebody has gone back" in again.said


def test_a_promotion_that_was_cut_off_is_made_up_for(made: Made, tmp_path: Path) -> None:
    """The history is written first: a kill between it and the pointer is no rollback."""
    registry = made.copy(tmp_path)
    assert made.good.outcome is not None
    version = str(made.good.outcome.version)
    registry._note("promote", version, before=made.first, why="a kill follows")
    found = update_by_itself(registry.root, files=[made.rows], overrides=SETTINGS)
    assert found.champion == version
    assert [event.action for event in registry.history()][-2:] == ["found", "promote"]


def unfinished(made: Made, folder: Path) -> Registry:
    """A registry in which the challenger has its bundle, and nothing else has happened yet."""
    registry = made.copy(folder)
    assert made.good.outcome is not None
    updates = updates_below(registry.root / "updates")
    begun = next(path for path, _, outcome in updates if outcome == made.good.outcome)
    version = registry.folder(str(made.good.outcome.version))
    for kind in ("dataset", "checkpoint", "onnx", "compressed", "report", "bundle"):
        (version / kind).rename(begun / kind)
    shutil.rmtree(version)
    (begun / "outcome.json").unlink()
    return registry


def test_an_update_that_was_cut_off_is_gone_on_with_whatever_rows_there_are_now(made: Made, tmp_path: Path) -> None:
    """Its rows were written down: those that came since are for the next one."""
    registry = unfinished(made, tmp_path)
    more = write_csv(tmp_path / "more.csv", domain(300))
    found = update_by_itself(registry.root, files=[more], overrides=SETTINGS)
    assert found.promoted
    assert found.outcome is not None
    assert made.good.outcome is not None
    assert found.outcome.begun == made.good.outcome.begun


def test_killed_at_any_late_step_the_same_command_ends_it(made: Made, tmp_path: Path) -> None:
    """SIGKILL, twice: the pointer leads to a whole version all the time, and in the end to the challenger. More steps
    are in benchmarks/update_kills.py."""
    home = unfinished(made, tmp_path).root.resolve()
    command: tuple[str | Path, ...] = (
        "update",
        home,
        "--data",
        made.rows,
        "--auto",
        *(part for one in SETTINGS for part in ("--set", one)),
    )
    steps = states(home, made.first)
    for step in ("being entered", "judged"):
        assert killed_when(steps[step], *command)
        assert check_champion(home) == made.first
    found = ftdeploy(*command, "--json")
    assert found.returncode == 0, found.stderr
    assert made.good.outcome is not None
    assert check_champion(home) == made.good.outcome.version


def test_after_drift_feedback_is_learned_from(made: Made, tmp_path: Path) -> None:
    """The whole way of a cron job; the rows are those of a file before, so that the challenger is made already."""
    registry = made.copy(tmp_path)
    bundle = registry.folder(made.first) / "bundle"
    recorder = Recorder(tmp_path / "traffic", digest=bundle_digest(bundle / "src"), options=TrafficOptions(text=True),
                        projection=np.eye(WIDTH, dtype=np.float32))  # fmt: skip
    for number, (text, _) in enumerate(domain(240)):
        away = np.random.default_rng(number).normal(30.0, 1.0, WIDTH).astype(np.float32)
        recorder.record(replace(answered(f"r{number}"), labels=["negative"], embeddings=[away], texts=[text]))
    recorder.record_feedback([Feedback(id=f"r{number}", row=0, label=label, time=time.time())
                              for number, (_, label) in enumerate(domain(240))])  # fmt: skip
    recorder.close()
    found = update_by_itself(registry.root, traffic=tmp_path / "traffic", overrides=SETTINGS)
    assert found.promoted
    assert found.outcome == made.good.outcome
    again = update_by_itself(registry.root, traffic=tmp_path / "traffic", overrides=SETTINGS)
    assert again.said.startswith("nothing to do")
    assert again.champion == found.champion


def test_what_could_not_be_decided_is_judged_anew_by_hand(made: Made, tmp_path: Path) -> None:
    """Costs may be told on a quieter machine; cron does not try that every night."""
    registry = made.copy(tmp_path)
    assert made.good.outcome is not None
    folder = next(path for path, _, outcome in updates_below(registry.root / "updates") if outcome == made.good.outcome)
    open_ = made.good.outcome.model_copy(update={"verdict": "inconclusive"})
    write_outcome(folder, open_)
    left = update_by_itself(registry.root, files=[made.rows], overrides=SETTINGS)
    assert left.outcome == open_
    found = update(registry.root, files=[made.rows], overrides=SETTINGS)
    assert found.outcome == made.good.outcome
    assert not found.repeated


def test_a_challenger_that_cannot_be_made_does_not_stand_in_the_way(made: Made, tmp_path: Path) -> None:
    """It is told, and not gone on with by whoever comes with other rows."""
    registry = made.copy(tmp_path)
    settings = [*SETTINGS, "model.max_length=4096"]
    with pytest.raises(ModelError, match="max_length"):
        update(registry.root, files=[made.rows], overrides=settings)
    assert update_cut_off(registry.root, overrides=settings) is None


def test_few_rows_are_refused(made: Made, tmp_path: Path) -> None:
    """With how many there are; whoever waits after a refusal is told for how many."""
    few = write_csv(tmp_path / "few.csv", domain(40, seed=5))
    with pytest.raises(TooFewRows, match="40 new of 40 labelled rows; at least 100"):
        update(made.home, files=[few], overrides=SETTINGS)
    more = write_csv(tmp_path / "more.csv", domain(280, seed=5))
    with pytest.raises(TooFewRows, match="a challenger of 240 rows was made before") as refused:
        update(made.home, files=[more], overrides=SETTINGS, patient=True)
    assert "60 further ones" in refused.value.fix


def test_without_a_champion_there_is_nothing_to_update(tmp_path: Path) -> None:
    """Nor is a folder made where none was."""
    with pytest.raises(ArtifactError, match="has no champion"):
        update(tmp_path / "nothing", files=[tmp_path / "rows.csv"])
    assert not (tmp_path / "nothing").exists()
