"""Tuning with real Optuna and real trainings of a tiny checkpoint: the search, its record, kill -9, what it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_tiny_recipe
from tiny_run import ftdeploy, killed_when, refusal
from typer.testing import CliRunner

from ftdeploy import progress
from ftdeploy.artifact import open_artifact
from ftdeploy.cli import app
from ftdeploy.errors import ConfigError, ModelError, StorageError
from ftdeploy.pipeline import run_recipe
from ftdeploy.recipe import Range, TuneSettings, load_recipe
from ftdeploy.tune import FOLDER, PAGE, RESULT, best_path, tune
from ftdeploy.tune.space import read_space, settings_of
from ftdeploy.tune.study import FILE, Plan, begin, draw, opened
from ftdeploy.tune.summary import importance
from ftdeploy.tune.trial import _dataset, _hushed, _judge, _Pruned, objective

#: Weight decay of 1e38 makes every weight infinite after a step: a training that cannot but diverge.
SPACE = {"train.schedule": ["linear", "cosine"], "train.weight_decay": [0.01, 1e38]}
SECTIONS: dict[str, Any] = {
    "train": {"epochs": 1},
    "tune": {"sampler": "grid", "trials": 4, "space": SPACE, "pruner": "none"},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with a space of four combinations, half of which diverge."""
    found = write_tiny_recipe(tmp_path_factory.mktemp("recipe"), rows=120, sections=SECTIONS)
    found.write_text("# Ours.\n" + found.read_text(encoding="utf-8"), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def done(path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A study that nothing disturbed: the run's folder and the result."""
    out = tmp_path_factory.mktemp("done") / "run"
    return out, tune(path, out)


def test_a_diverging_trial_is_recorded_and_does_not_end_the_study(done: tuple[Path, dict[str, Any]]) -> None:
    """All four combinations were tried once; those with finite weights finished, the others say why they did not."""
    _, found = done
    assert len({str(one["settings"]) for one in found["trials"]}) == len(found["trials"]) == 4
    for one in found["trials"]:
        failed = one["settings"]["train.weight_decay"] > 1
        assert one["state"] == ("failed" if failed else "finished")
        assert (one["error"] is not None) is failed
        assert (one["value"] is None) is failed
    assert {one["error"]["error_type"] for one in found["trials"] if one["error"]} == {"TrainingError"}


def test_the_best_is_the_best_on_the_validation_rows(done: tuple[Path, dict[str, Any]]) -> None:
    """Its value is what the kept checkpoint says of its validation rows, and no other trial has more."""
    out, found = done
    best = found["best"]
    assert best["value"] == max(one["value"] for one in found["trials"] if one["value"] is not None)
    checkpoint = open_artifact(out / FOLDER / f"trial-{best['trial']}" / "checkpoint", kind="checkpoint")
    assert checkpoint.digest == best["checkpoint"]
    assert checkpoint.facts["validation_accuracy"] == best["value"]
    assert found["judged_on"] == "validation"


def test_of_the_checkpoints_only_the_best_is_kept(done: tuple[Path, dict[str, Any]]) -> None:
    """However many trials there are, the disk holds one; rows that are the same are not prepared again."""
    out, found = done
    assert [folder.name for folder in (out / FOLDER).glob("trial-*")] == [f"trial-{found['best']['trial']}"]
    assert not list((out / FOLDER).rglob("*.parquet"))


def test_the_best_recipe_is_that_of_the_best_trial(
    path: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """It loads, equals the trial's recipe, keeps the comment, and trains the very same weights."""
    _, found = done
    written = Path(found["recipe"])
    assert written == best_path(path)
    assert "# Ours." in written.read_text(encoding="utf-8")
    recipe = load_recipe(written)
    assert recipe == load_recipe(path, overrides=settings_of(found["best"]["settings"]))
    assert run_recipe(recipe, tmp_path / "run", until="train")["checkpoint"].digest == found["best"]["checkpoint"]


def test_kill_and_rerun_end_in_the_same_study(path: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Killed in the middle of a training; the rerun goes on with that trial and ends as if nothing had happened."""
    out = tmp_path / "run"

    def training() -> bool:
        return any((out / FOLDER).glob("trial-*/checkpoint.work/key"))

    assert killed_when(training, "tune", path, "--out", out)
    assert tune(path, out) == done[1]
    for name in (RESULT, PAGE):
        assert (out / FOLDER / name).read_bytes() == (done[0] / FOLDER / name).read_bytes(), name


def test_a_finished_study_runs_no_trial(path: Path, done: tuple[Path, dict[str, Any]]) -> None:
    """The command says the same again, as JSON or as a table; the best checkpoint stays as it is."""
    out, found = done
    kept = out / FOLDER / f"trial-{found['best']['trial']}" / "checkpoint" / "model.safetensors"
    before = kept.stat().st_mtime_ns
    shown = CliRunner().invoke(app, ["tune", str(path), "--out", str(out), "--json"])
    assert json.loads(shown.stdout) == found
    table = CliRunner().invoke(app, ["tune", str(path), "--out", str(out), "--trials", "4"]).stdout.splitlines()
    assert [line.split()[0] for line in table if "train.schedule=" in line].count("best") == 1
    assert any(f"run {found['recipe']}" in line for line in table)
    assert kept.stat().st_mtime_ns == before


def test_another_space_does_not_go_on_with_a_study(path: Path, done: tuple[Path, dict[str, Any]]) -> None:
    """Its trials could not be compared; nothing of the study is lost. More trials or another pruner may go on."""
    out, found = done
    with pytest.raises(ConfigError, match="holds a study of another recipe"):
        tune(path, out, overrides=["tune.space={train.epochs: [1, 2]}"])
    with pytest.raises(ConfigError, match="holds a study of another recipe"):
        tune(path, out, overrides=["train.batch_size=8"])
    assert len(tune(path, out, overrides=["tune.pruner=median", "tune.trials=9"])["trials"]) == len(found["trials"])


def test_the_page_shows_history_keys_and_trials(done: tuple[Path, dict[str, Any]]) -> None:
    """Charts inline, the caution about the validation rows, and every trial with its error."""
    page = (done[0] / FOLDER / PAGE).read_text(encoding="utf-8")
    assert page.count("<svg") >= 4
    assert "no test row was used" in page
    assert all(key in page for key in SPACE)
    assert "the loss is" in page


def test_a_wrong_space_is_a_configuration_error(path: Path, tmp_path: Path) -> None:
    """Exit code 3 before anything is prepared."""
    found = ftdeploy("tune", path, "--out", tmp_path / "run", "--set", "tune.space={train.schedule: [linear, cosin]}")
    assert "did you mean 'cosine'?" in refusal(found, 3)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_a_value_does_not_fit_is_a_failed_trial(tmp_path: Path) -> None:
    """More tokens than it has positions for: the trial says so, and the study goes on. Where the space leaves the
    checkpoint alone, the same error ends the command."""
    tuned = {"sampler": "grid", "trials": 2, "pruner": "none", "space": {"model.max_length": [32, 4096]}}
    recipe = write_tiny_recipe(tmp_path, rows=80, sections={"train": {"epochs": 1}, "tune": tuned})
    found = tune(recipe, tmp_path / "run")
    states = {one["settings"]["model.max_length"]: (one["state"], one["error"]) for one in found["trials"]}
    assert states[32] == ("finished", None)
    assert states[4096][0] == "failed"
    assert "positions for" in states[4096][1]["what"]
    elsewhere = ["tune.space={train.batch_size: [8, 16]}", "model.max_length=4096"]
    with pytest.raises(ModelError, match="positions for"):
        tune(recipe, tmp_path / "other", overrides=elsewhere)


def test_a_trial_below_the_median_is_ended_in_the_middle_of_its_training(tmp_path: Path) -> None:
    """The recipe's own settings come first; what is worse at the same epoch is ended there, and says so."""
    # Steps two hundred times as large throw the loss up at once.
    tuned = {"metric": "loss", "trials": 2, "startup_trials": 1, "space": {"train.learning_rate": [1e-3, 0.2]},
             "sampler": "random"}  # fmt: skip
    train = {"epochs": 3, "learning_rate": 1e-3, "early_stopping": None}
    path = write_tiny_recipe(tmp_path, rows=120, sections={"train": train, "tune": tuned})
    seed = next(seed for seed in range(50) if second(path, seed) == 0.2)
    found = tune(path, tmp_path / "run", overrides=[f"tune.seed={seed}"])
    first, worse = found["trials"]
    assert first["settings"] == {"train.learning_rate": 1e-3}
    assert [place for place, _ in first["evaluations"]] == [1.0, 2.0, 3.0]
    assert worse["state"] == "ended early"
    assert 0 < len(worse["evaluations"]) < 3
    assert found["direction"] == "minimise"
    assert found["best"]["trial"] == 1
    # The kept weights are the last, and so is the loss.
    checkpoint = open_artifact(tmp_path / "run" / FOLDER / "trial-1" / "checkpoint", kind="checkpoint")
    assert objective(checkpoint, "loss") == first["value"] == first["evaluations"][-1][1]


def second(path: Path, seed: int) -> object:
    """What the second trial would try: nothing but its number and the seed decide."""
    import optuna

    settings = load_recipe(path).tune
    assert settings is not None
    plan = planned(path, path.parent / "unused", settings, seed=seed)
    study = optuna.create_study()
    begin(study, plan, None)
    return draw(study, begin(study, plan, None), plan)["train.learning_rate"]


def planned(path: Path, out: Path, settings: TuneSettings, **fields: Any) -> Plan:
    plan = Plan(recipe=path, overrides=(), out=out, home=out / FOLDER, settings=settings, space=read_space(settings),
                metric="accuracy", seed=3, epochs=4, key="k", ends=None)  # fmt: skip
    return replace(plan, **fields)


WIDE = TuneSettings(
    space={"train.learning_rate": Range(low=1e-5, high=1e-3, log=True), "train.warmup": Range(low=0, high=0.5),
           "train.epochs": Range(low=1, high=9)},
    startup_trials=2,
)  # fmt: skip


def evaluate(epoch: float, value: float) -> None:
    progress.evaluated(step=round(10 * epoch), epoch=epoch, metrics={"accuracy": value, "loss": 1 - value})


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_pruners_end_what_lags_behind(pruner: Any, tmp_path: Path) -> None:
    """`median` and `hyperband` end a trial that is worse than those before at the same epoch, `none` lets it train."""
    settings = WIDE.model_copy(update={"pruner": pruner, "startup_trials": 1})
    plan = planned(Path("unused"), tmp_path, settings)
    ended = 0
    with opened(plan) as study:
        for number in range(8):
            trial = begin(study, plan, None)
            try:
                with progress.listening(_judge(plan, study, trial)):
                    for epoch in (1.0, 2.0, 3.0, 4.0):
                        evaluate(epoch, 0.9 - 0.1 * number)
            except _Pruned:
                ended += 1
            else:
                study.tell(trial, 0.9 - 0.1 * number)
    assert ended == 0 if pruner == "none" else ended >= 4


def test_a_resumed_training_may_evaluate_again(tmp_path: Path) -> None:
    """What was reported before the kill is not reported twice, and what comes new is."""
    plan = planned(Path("unused"), tmp_path, WIDE)
    with opened(plan) as study:
        trial = begin(study, plan, None)
        with progress.listening(_judge(plan, study, trial)):
            evaluate(1.0, 0.5)
    with opened(plan) as study:
        again = begin(study, plan, 0)
        with progress.listening(_judge(plan, study, again)):
            evaluate(1.0, 0.5)
            evaluate(2.0, 0.6)
        assert study.get_trials()[0].intermediate_values == {100: 0.5, 200: 0.6}


def test_values_are_those_that_would_have_come(tmp_path: Path) -> None:
    """A trial that was killed between two of its values gets the others as if it had not been: also where the sampler
    learns from the trials before."""
    found = []
    for name, broken in (("whole", False), ("broken", True)):
        plan = planned(Path("unused"), tmp_path / name, WIDE)
        with opened(plan) as study:
            for _ in range(5):
                trial = begin(study, plan, None)
                study.tell(trial, draw(study, trial, plan)["train.warmup"])
            trial = begin(study, plan, None)
            if broken:
                draw(study, trial, replace(plan, space=plan.space[:1]))
                trial = begin(study, plan, trial.number)
            found.append(draw(study, trial, plan))
            assert draw(study, begin(study, plan, trial.number), plan) == found[-1], "asked again, they are the same"
    assert found[0] == found[1]


def test_a_damaged_study_is_told_in_words(tmp_path: Path) -> None:
    """No trace of SQLite's: what, why, and what to do; the file stays as it is."""
    plan = planned(Path("unused"), tmp_path, WIDE)
    plan.home.mkdir()
    (plan.home / FILE).write_bytes(b"no database" * 1000)

    def read() -> None:
        with opened(plan):
            pass

    with pytest.raises(StorageError, match=r"cannot be read or written: .*not a database"):
        read()
    assert (plan.home / FILE).read_bytes() == b"no database" * 1000


def test_importance_is_that_of_the_key_that_matters(tmp_path: Path) -> None:
    """With a value that follows from one key alone, that key explains nearly everything; with too few trials nobody
    knows."""
    plan = planned(Path("unused"), tmp_path, WIDE.model_copy(update={"sampler": "random"}))
    with opened(plan) as study:
        assert importance(study, seed=1) == {}
        for _ in range(16):
            trial = begin(study, plan, None)
            study.tell(trial, draw(study, trial, plan)["train.warmup"])
        found = importance(study, seed=1)
        assert found == importance(study, seed=1)
    assert next(iter(found)) == "train.warmup"
    assert found["train.warmup"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


def test_a_trial_has_rows_of_its_own_only_where_its_values_change_them(path: Path, done: tuple[Path, dict[str, Any]],
                                                                       tmp_path: Path) -> None:  # fmt: skip
    """Else it reads the run's."""
    plan = planned(path, done[0], WIDE)
    same = load_recipe(path, overrides=["train.epochs=3"])
    assert _dataset(plan, same, tmp_path).path == done[0] / "dataset"
    other = load_recipe(path, overrides=["data.split.validation=0.3"])
    assert _dataset(plan, other, tmp_path).path == tmp_path / "dataset"


class Bars:
    """A reporter that can show one bar at a time, as a terminal."""

    def __init__(self) -> None:
        self.open = 0
        self.said: list[str] = []

    @contextmanager
    def task(self, name: str, total: float | None) -> Iterator[progress.Advance]:
        """A bar."""
        assert (name, total) == ("train", 9)
        assert self.open == 0, "there is a bar already"
        self.open += 1
        try:
            yield lambda _steps: None
        finally:
            self.open -= 1

    def say(self, message: str) -> None:
        """A line."""
        self.said.append(message)


def test_a_training_that_is_broken_off_leaves_no_bar() -> None:
    """The Trainer does not close what it opened; the next trial's bar must find the place free."""
    bars = Bars()
    with progress.reporting(bars):
        for _ in range(2):
            with _hushed():
                progress.say("a line for each epoch")
                broken_off = progress.task("train", 9)
                broken_off.__enter__()
                assert bars.open == 1
            assert bars.open == 0
            broken_off.__exit__(None, None, None)
        progress.say("a line for each trial")
    assert bars.said == ["a line for each trial"]
