"""The contract of a stage, kept by the framework: whole artifacts or none, and nothing done twice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from ftdeploy.artifact import LAYOUT, Artifact, Kind, open_artifact, seal
from ftdeploy.errors import ArtifactError, DataError, ModelError, StageContractError, StorageError
from ftdeploy.recipe import ExportSettings, Recipe, TrainSettings
from ftdeploy.stage import Facts, Stage, out_of_space, run_stage, stage, stage_key

#: What the stages below write, changed by the tests; and how often they ran.
written: dict[str, bytes] = {}
ran: list[str] = []
seen_in_work: list[list[str]] = []
outside: dict[str, str] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    written.clear()
    written.update({name: name.encode() for name in LAYOUT["dataset"].required})
    ran.clear()
    seen_in_work.clear()
    outside.clear()


@stage(writes="dataset", version=1)
def gather(*, seed: int, out: Path) -> Facts:
    """A stage that reads nothing."""
    ran.append("gather")
    for name, content in written.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    return {"seed": seed}


@stage(writes="report", version=2, libraries=("numpy",), outside=lambda _recipe: outside)
def judge(dataset: Artifact, *, export: ExportSettings, out: Path, work: Path) -> Facts:
    """A stage that reads an artifact and a section, and can resume."""
    ran.append("judge")
    seen_in_work.append(sorted(path.name for path in work.iterdir()))
    (work / f"step-{len(ran)}").touch()
    if "fail" in written:
        raise DataError("no", cause="asked to", fix="do not")
    for name in LAYOUT["report"].required:
        (out / name).write_text(f"{dataset.digest} {export.opset}", encoding="utf-8")
    return {"opset": export.opset}


def recipe(**sections: object) -> Recipe:
    """A recipe with the sections changed."""
    plain = {"version": 1, "name": "demo", "task": "text-classification", "model": {"path": "none"}}
    return Recipe.model_validate({**plain, "data": {"source": {"path": "none"}}, **sections})


def run_both(folder: Path, **sections: object) -> dict[Kind, Artifact]:
    made = run_stage(gather, recipe(**sections), {}, folder / "dataset").artifact
    return {
        "dataset": made,
        "report": run_stage(judge, recipe(**sections), {"dataset": made}, folder / "report").artifact,
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_stage_is_what_its_parameters_say() -> None:
    """Positional ones are artifacts, keyword-only ones are sections, `out` and `work`."""
    assert (judge.name, judge.made_by, judge.writes) == ("judge", "judge@2", "report")
    assert (judge.reads, judge.sections, judge.resumes) == (("dataset",), ("export",), True)
    assert (gather.reads, gather.sections, gather.resumes) == ((), ("seed",), False)


def no_out(dataset: Artifact) -> Facts:
    return {"digest": dataset.digest}


def unknown_artifact(datset: Artifact, *, out: Path) -> Facts:
    return {"digest": datset.digest, "out": out.name}


def unknown_section(*, trian: TrainSettings, out: Path) -> Facts:
    return {"epochs": trian.epochs, "out": out.name}


@pytest.mark.parametrize(
    ("body", "words"), [(no_out, "no `out`"), (unknown_artifact, "datset"), (unknown_section, "trian")]
)
def test_a_parameter_that_nobody_can_supply(body: Callable[..., Facts], words: str) -> None:
    """Refused when the stage is declared, not when it runs."""
    with pytest.raises(StageContractError, match=words):
        stage(writes="report", version=1)(body)


def test_a_stage_makes_an_artifact_that_knows_where_it_comes_from(tmp_path: Path) -> None:
    """Lineage, settings, facts and key stand in the manifest; beside the artifact nothing is left."""
    made = run_both(tmp_path, export={"opset": 17})["report"]
    assert made.made_by == "judge@2"
    assert made.made_from == (open_artifact(tmp_path / "dataset").digest,)
    assert made.settings["export"]["opset"] == 17
    assert made.settings["export"]["embedding_layer"] == ExportSettings().embedding_layer
    assert made.facts == {"opset": 17}
    assert names(tmp_path) == {"dataset", "report"}


def test_nothing_changed_nothing_done(tmp_path: Path) -> None:
    """The second time both are skipped, and are the very same."""
    first = run_both(tmp_path)
    again = run_stage(judge, recipe(), {"dataset": first["dataset"]}, tmp_path / "report")
    assert again.skipped
    assert run_both(tmp_path) == first
    assert ran == ["gather", "judge"]


def test_a_section_that_a_stage_does_not_read_changes_nothing_for_it(tmp_path: Path) -> None:
    """Another seed runs what reads the seed, and then what reads its artifact only if that came out otherwise."""
    run_both(tmp_path, export={"opset": 17})
    run_both(tmp_path, export={"opset": 18})
    assert ran == ["gather", "judge", "judge"]
    run_both(tmp_path, export={"opset": 18}, seed=7)
    assert ran[3:] == ["gather"]  # the same files: the same digest
    written["profile.json"] = b"other"
    run_both(tmp_path, export={"opset": 18}, seed=8)
    assert ran[4:] == ["gather", "judge"]


def test_library_stage_version_and_outside_belong_to_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them alone makes the stage run again."""
    made = run_both(tmp_path)
    inputs: dict[Kind, Artifact] = {"dataset": made["dataset"]}
    keys = {stage_key(judge, recipe(), inputs)}
    outside["device"] = "cuda"
    keys.add(stage_key(judge, recipe(), inputs))
    keys.add(stage_key(stage(writes="report", version=3)(judge.body), recipe(), inputs))
    monkeypatch.setattr("ftdeploy.stage.version", lambda _name: "99")
    keys.add(stage_key(judge, recipe(), inputs))
    assert len(keys) == 4
    assert not run_stage(judge, recipe(), inputs, tmp_path / "report").skipped


def test_what_is_known_to_fail_is_asked_before_work_begins_and_only_then(tmp_path: Path) -> None:
    """`before` stops a stage that has work to do, and nothing is left; an artifact that stands is not asked about."""
    asked: list[int] = []

    def refuse(found: Recipe) -> None:
        asked.append(found.seed)
        if found.seed == 7:
            raise ModelError("too deep", cause="a test", fix="none")

    careful = stage(writes="dataset", version=1, before=refuse)(gather.body)
    assert not run_stage(careful, recipe(seed=8), {}, tmp_path / "dataset").skipped
    assert run_stage(careful, recipe(seed=8), {}, tmp_path / "dataset").skipped
    assert asked == [8]
    with pytest.raises(ModelError, match="too deep"):
        run_stage(careful, recipe(seed=7), {}, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_library_that_is_absent_is_part_of_the_key_too() -> None:
    """Installing it later runs the stage again, and its absence is no error."""
    absent = stage(writes="dataset", version=1, libraries=("no-such-distribution-anywhere",))(gather.body)
    assert stage_key(absent, recipe(), {}) != stage_key(gather, recipe(), {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"profile.json": None}, "profile.json is missing"),
        ({"profile.json": b""}, "profile.json is empty"),
        ({"notes.txt": b"x"}, "notes.txt is not part of the layout"),
    ],
)
def test_a_stage_that_breaks_its_promise_leaves_nothing(
    tmp_path: Path, change: Mapping[str, bytes | None], words: str
) -> None:
    """A forgotten, an empty, an unexpected file: refused, nothing is kept, and what stood there before still stands."""
    before = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    for name, content in change.items():
        if content is None:
            del written[name]
        else:
            written[name] = content
    with pytest.raises(StageContractError, match=words):
        run_stage(gather, recipe(seed=5), {}, tmp_path / "dataset")
    assert names(tmp_path) == {"dataset"}
    assert open_artifact(tmp_path / "dataset") == before


def test_an_input_changed_by_hand_stops_the_next_stage(tmp_path: Path) -> None:
    """Changed after it was sealed and opened: the stage that would read it does not begin."""
    made = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    (made.path / "train.parquet").write_bytes(b"tampered")
    with pytest.raises(ArtifactError, match=r"train\.parquet was changed"):
        run_stage(judge, recipe(), {"dataset": made}, tmp_path / "report")
    assert ran == ["gather"]
    assert names(tmp_path) == {"dataset"}


def test_a_finished_artifact_changed_by_hand_is_not_skipped_over(tmp_path: Path) -> None:
    """Neither taken as it is nor thrown away: whoever changed it decides."""
    made = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    (made.path / "more.txt").touch()
    with pytest.raises(ArtifactError, match=r"more\.txt was added"):
        run_stage(gather, recipe(), {}, tmp_path / "dataset")
    assert (made.path / "more.txt").exists()


def test_an_input_of_another_kind(tmp_path: Path) -> None:
    """The report in place of the dataset is refused by kind."""
    made = run_both(tmp_path)
    with pytest.raises(ArtifactError, match="judge reads a dataset artifact"):
        run_stage(judge, recipe(), {"dataset": made["report"]}, tmp_path / "again")


def test_a_folder_that_is_no_artifact_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody's files stand where the artifact belongs."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ArtifactError, match="is not an artifact"):
        run_stage(gather, recipe(), {}, tmp_path / "dataset")
    assert (tmp_path / "dataset" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_what_an_earlier_crash_left_half_made_is_removed(tmp_path: Path) -> None:
    """An old .partial never mixes with the new output."""
    (tmp_path / "dataset.partial").mkdir()
    (tmp_path / "dataset.partial" / "rejected.parquet").write_bytes(b"from another life")
    made = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    assert "rejected.parquet" not in made.files


def test_a_crash_between_the_renames_is_mended_by_the_next_run(tmp_path: Path) -> None:
    """The old artifact comes back, and counts: nothing is made anew."""
    made = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    made.path.rename(tmp_path / "dataset.old")
    again = run_stage(gather, recipe(), {}, tmp_path / "dataset")
    assert again.skipped
    assert again.artifact == made
    assert names(tmp_path) == {"dataset"}


def test_the_work_folder_outlives_a_failure_only_for_the_same_key(tmp_path: Path) -> None:
    """A second attempt finds the steps of the first; other settings begin anew; success leaves nothing behind."""
    made = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    written["fail"] = b""
    for settings in ({"opset": 17}, {"opset": 17}, {"opset": 18}):
        with pytest.raises(DataError):
            run_stage(judge, recipe(export=settings), {"dataset": made}, tmp_path / "report")
        assert names(tmp_path) == {"dataset", "report.work"}
    assert seen_in_work == [["key"], ["key", "step-2"], ["key"]]
    del written["fail"]
    run_stage(judge, recipe(export={"opset": 18}), {"dataset": made}, tmp_path / "report")
    assert seen_in_work[3] == ["key", "step-4"]
    assert names(tmp_path) == {"dataset", "report"}


Write = Callable[[Path], None]


def plain(path: Path) -> None:
    path.write_bytes(bytes(1_000_000))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Write], Write]]:
    """A disk of 256 KiB at ``disk``; where mounting is not allowed, every write goes to the device that is always full.

    (Plainly: a library that writes beside its target and renames would replace that device.)
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        yield lambda _write: lambda _path: plain(Path("/dev/full"))
        return
    try:
        yield lambda write: write
    finally:
        subprocess.run(["umount", folder], check=True)


def parquet(path: Path) -> None:
    pq.write_table(pa.table({"a": np.random.default_rng(0).normal(size=200_000)}), path)


def tensors(path: Path) -> None:
    save_file({"a": np.zeros(200_000)}, path)


def tokenizer(path: Path) -> None:
    Tokenizer(WordLevel({f"word{n}": n for n in range(60_000)}, unk_token="word0")).save(str(path))  # noqa: S106


@pytest.mark.parametrize("write", [plain, parquet, tensors, tokenizer])
def test_a_full_disk(tmp_path: Path, small_disk: Callable[[Write], Write], write: Write) -> None:
    """Whichever library meets the full disk, in whatever words: one error class, and nothing half-made."""

    @stage(writes="dataset", version=1)
    def fill(*, out: Path) -> Facts:
        small_disk(write)(out / "train.parquet")
        return {}

    with pytest.raises(StorageError) as caught:
        run_stage(fill, recipe(), {}, tmp_path / "disk" / "dataset")
    assert caught.value.what.startswith("fill could not write below ")
    assert list((tmp_path / "disk").iterdir()) == []


def test_a_disk_that_is_full_at_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last write of all fails: the artifact of before stands as it stood."""
    before = run_stage(gather, recipe(), {}, tmp_path / "dataset").artifact
    real, calls = os.fsync, []

    def fails_at_the_end(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > len(written):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr("ftdeploy.artifact.os.fsync", fails_at_the_end)
    with pytest.raises(StorageError, match="No space left"):
        run_stage(gather, recipe(seed=5), {}, tmp_path / "dataset")
    assert open_artifact(tmp_path / "dataset") == before
    assert names(tmp_path) == {"dataset"}


def test_other_failures_are_not_blamed_on_the_disk(tmp_path: Path) -> None:
    """A missing file is no full disk; a full disk under another error's hood is."""
    assert not out_of_space(tmp_path, FileNotFoundError(errno.ENOENT, "no such file"))
    assert not out_of_space(tmp_path, ValueError("no space in this word"))
    hidden = RuntimeError("write failed")
    hidden.__cause__ = OSError(errno.ENOSPC, "full")
    assert out_of_space(tmp_path, hidden)
    assert out_of_space(tmp_path, RuntimeError("Error: No space left on device (os error 28)"))


#: A stage in a process of its own, which says so on stdout when it has written half of its files, and waits.
HALF = """
import sys, time
from pathlib import Path
from ftdeploy.artifact import LAYOUT
from ftdeploy.recipe import Recipe
from ftdeploy.stage import run_stage, stage

@stage(writes="dataset", version=1)
def gather(*, seed, out, work):
    for place, name in enumerate(LAYOUT["dataset"].required):
        (out / name).write_bytes(name.encode())
        if place == 1 and sys.argv[2] == "wait":
            (work / "half").touch()
            print("half", flush=True)
            time.sleep(600)
    return {"resumed": (work / "half").exists()}

recipe = Recipe.model_validate({"version": 1, "name": "demo", "task": "text-classification",
                                "data": {"source": {"path": "none"}}, "model": {"path": "none"}})
print(run_stage(gather, recipe, {}, Path(sys.argv[1])).artifact.facts["resumed"])
"""


def test_kill_9_leaves_no_artifact_and_the_next_run_makes_it_whole(tmp_path: Path) -> None:
    """Killed with half of its files written, in a real process; the next one goes on from its work folder."""
    target = tmp_path / "dataset"
    child = subprocess.Popen([sys.executable, "-c", HALF, target, "wait"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "half\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not target.exists()
    found = subprocess.run([sys.executable, "-c", HALF, target, "go"], capture_output=True, text=True, check=True)
    assert found.stdout == "True\n"
    assert set(open_artifact(target).files) == set(LAYOUT["dataset"].required)
    assert names(tmp_path) == {"dataset"}


def test_reading_the_same_inputs_gives_the_same_digest_anywhere(tmp_path: Path) -> None:
    """Two folders, two runs: nothing of place or time is in the digests or the keys."""
    first, second = run_both(tmp_path / "one"), run_both(tmp_path / "two" / "deep")
    assert {kind: (one.digest, one.key) for kind, one in first.items()} == {
        kind: (one.digest, one.key) for kind, one in second.items()
    }


def test_a_stage_is_handed_sealed_artifacts_only(tmp_path: Path) -> None:
    """An artifact made elsewhere, of the right kind and whole, is as good as one of this run."""
    made = run_stage(gather, recipe(), {}, tmp_path / "elsewhere").artifact
    foreign = seal(
        run_copy(made, tmp_path / "copy"), target=tmp_path / "foreign", kind="dataset", made_by="hand@1", made_from=(),
        key="", settings={}, facts={},
    )  # fmt: skip
    judged = run_stage(judge, recipe(), {"dataset": foreign}, tmp_path / "report").artifact
    assert judged.made_from == (made.digest,)


def run_copy(artifact: Artifact, folder: Path) -> Path:
    folder.mkdir()
    for name in artifact.files:
        (folder / name).write_bytes(artifact.file(name).read_bytes())
    return folder


def test_stages_are_values() -> None:
    """A stage can be compared and cannot be changed."""
    assert isinstance(judge, Stage)
    with pytest.raises(AttributeError):
        judge.version = 9  # type: ignore[misc]  # that is the test
