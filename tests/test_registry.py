"""A registry of versions: what is entered stays as it was, and whatever happens there is a champion that can serve."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from small_runs import CHAIN, write_artifact, write_run

from ftdeploy.artifact import open_artifact
from ftdeploy.errors import ArtifactError, LockedError, StorageError
from ftdeploy.registry import Registry, RegistryError

#: Does steps over and over, each in a process of its own that kills itself (SIGKILL) at the Nth line that runs of the
#: registry's code, for every N until one ends before its line; prints after each kill what the registry is then.
_KILLED = """
import json, os, signal, shutil, sys
from pathlib import Path
import ftdeploy.registry
from ftdeploy.artifact import open_artifact
from ftdeploy.registry import Registry

template, root, step, every = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
home = os.path.dirname(ftdeploy.registry.__file__)
here = Registry(root)

def kill_at(number):
    left = [number]
    def line(frame, event, argument):
        if event == "line":
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
        return line
    return lambda frame, event, argument: line if frame.f_code.co_filename.startswith(home) else None

number, ended = 1, False
while not ended:
    for path in (*root.iterdir(), *(root / "versions").iterdir()):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif not (template / path.relative_to(root)).is_dir():
            shutil.rmtree(path)
    for path in template.iterdir():
        if path.name != "versions":
            shutil.copyfile(path, root / path.name, follow_symlinks=False)
    for path in (template / "versions").iterdir():
        if not (root / "versions" / path.name).exists():
            shutil.copytree(path, root / "versions" / path.name)
    pid = os.fork()
    if not pid:
        sys.settrace(kill_at(number))
        eval(step)
        os._exit(0)
    ended = os.waitpid(pid, 0)[1] == 0
    champion = here.champion()
    state = {"ended": ended, "champion": champion and champion.name, "versions": here.versions()}
    for name in state["versions"]:
        open_artifact(root / "versions" / name / "bundle")
    eval(step)  # once more, to the end
    champion = here.champion()
    state |= {"then": champion and champion.name, "history": [[e.action, e.digest] for e in here.history()]}
    print(json.dumps(state))
    number += every
"""


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three runs."""
    return [write_run(tmp_path / f"run-{mark}", mark) for mark in "abc"]


def entered(root: Path, runs: list[Path]) -> tuple[Registry, list[str]]:
    registry = Registry(root)
    return registry, [registry.enter(run, f"name: {run.name}\n") for run in runs]


def killed_everywhere(template: Path, root: Path, step: str, *, every: int = 1) -> list[dict[str, object]]:
    """What came of a step that was killed at each line of the registry's code, and done again afterwards."""
    shutil.copytree(template, root, symlinks=True)
    command = [sys.executable, "-c", _KILLED, str(template), str(root), step, str(every)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def champion(registry: Registry) -> str | None:
    found = registry.champion()
    return found.name if found else None


def actions(registry: Registry) -> list[tuple[str, str, str | None]]:
    return [(event.action, event.digest, event.before) for event in registry.history() if event.action != "enter"]


def test_a_run_is_entered_whole_under_its_bundles_digest(tmp_path: Path) -> None:
    """All artifacts, the page and the recipe; once, and what happens to the run afterwards is nothing to it."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    (run / "index.html").write_text("page", encoding="utf-8")
    (run / "traffic").mkdir()
    (run / "bundle" / "src" / "__pycache__").mkdir()
    registry = Registry(tmp_path / "registry" / "reviews")
    assert registry.versions() == ()
    assert registry.champion() is None
    name = registry.enter(run, "name: a\n")
    digest = open_artifact(run / "bundle").digest
    assert name == digest[:12]
    shutil.rmtree(run / "checkpoint")
    (run / "bundle" / "src" / "service.py").write_text("changed", encoding="utf-8")
    (folder,) = (registry.root / "versions").iterdir()
    assert folder == registry.root / "versions" / name
    assert sorted(path.name for path in folder.iterdir()) == sorted([*CHAIN, "index.html", "recipe.yaml"])
    assert [open_artifact(folder / kind).kind for kind in CHAIN] == list(CHAIN)
    assert (folder / "recipe.yaml").read_text(encoding="utf-8") == "name: a\n"
    again = write_run(tmp_path / "again", "a", CHAIN)
    assert registry.enter(again, "name: other\n") == name
    assert (folder / "recipe.yaml").read_text(encoding="utf-8") == "name: a\n"
    assert registry.versions() == (name,)
    assert [event.action for event in registry.history()] == ["enter"]


def test_a_recipe_is_added_to_a_version_without_one(tmp_path: Path) -> None:
    """Entering the run again with its recipe is what `update` asks for where it has none to go on from."""
    run = write_run(tmp_path / "run", "a", CHAIN)
    registry = Registry(tmp_path / "registry" / "reviews")
    name = registry.enter(run, None)
    kept = registry.folder(name) / "recipe.yaml"
    assert not kept.exists()
    assert registry.enter(run, "name: a\n") == name
    assert kept.read_text(encoding="utf-8") == "name: a\n"
    assert [event.action for event in registry.history()] == ["enter"]


def test_promote_and_rollback_move_the_pointer(tmp_path: Path, runs: list[Path]) -> None:
    """A rollback leads to the champion before, the next one to the one before that; with reasons, in words."""
    registry, (a, b, c) = entered(tmp_path / "here", runs)
    assert registry.versions() == (a, b, c)
    registry.promote(a, why="the first")
    assert (registry.root / "champion").readlink() == Path("versions", a)
    registry.promote(b[:4] if b[:4] not in (a[:4], c[:4]) else b, why="better by 2 points")
    registry.promote(b, why="nothing changes")
    registry.promote(c, why="„neu“\nzwei Zeilen")
    registry.rollback(why="worse on tweets")
    assert champion(registry) == b
    registry.rollback(why="and this one")
    assert champion(registry) == a
    with pytest.raises(RegistryError, match=f"no champion before {a}"):
        registry.rollback(why="once too often")
    registry.promote(c, why="mended")
    registry.rollback(why="not mended")
    assert champion(registry) == a
    assert actions(registry) == [
        ("promote", a, None),
        ("promote", b, a),
        ("promote", c, b),
        ("rollback", b, c),
        ("rollback", a, b),
        ("promote", c, a),
        ("rollback", a, c),
    ]
    assert registry.history()[5].why == "„neu“\nzwei Zeilen"
    assert len((registry.root / "history.jsonl").read_text(encoding="utf-8").splitlines()) == len(registry.history())


def test_the_oldest_go_and_those_that_are_needed_stay(tmp_path: Path, runs: list[Path]) -> None:
    """Whatever is to be kept: the champion, the one a rollback leads to, and the challenger."""
    registry, (a, b, c) = entered(tmp_path / "here", runs)
    d = registry.enter(write_run(tmp_path / "run-d", "d"), None)
    registry.promote(c, why="the first")
    registry.promote(b, why="better")
    assert registry.prune(4, why="none is too many") == ()
    cut_off = registry.root / "versions" / f"{'0' * 12}.removed"
    (cut_off / "bundle").mkdir(parents=True)
    assert registry.prune(1, why="the disk is full") == (a,)
    assert not cut_off.exists()
    assert registry.versions() == (b, c, d)
    assert (registry.history()[-1].action, registry.history()[-1].why) == ("remove", "the disk is full")
    registry.challenge(d, why="to be watched")
    assert registry.prune(0, why="the disk is full") == ()
    registry.challenge(None, why="seen enough")
    assert registry.prune(0, why="the disk is full") == (d,)
    registry.rollback(why="what it leads to is there")
    assert champion(registry) == c
    with pytest.raises(RegistryError, match="no version"):
        registry.promote(a, why="gone")
    assert registry.enter(runs[0], None) == a


def test_a_killed_prune_leaves_whole_versions(tmp_path: Path, runs: list[Path]) -> None:
    """Every version that is listed can serve, and doing it again does it."""
    registry, (_, b, c) = entered(tmp_path / "template", runs)
    registry.promote(b, why="the first")
    states = killed_everywhere(registry.root, tmp_path / "here", "here.prune(1, why='old')", every=3)
    assert states[-1]["ended"]
    assert len(states) > 5
    assert {state["then"] for state in states} == {b}
    assert {tuple(state["versions"][-2:]) for state in states} == {(b, c)}  # type: ignore[index]


def test_a_challenger_is_set_and_taken_away(tmp_path: Path, runs: list[Path]) -> None:
    """By a pointer of its own, which the champion's history does not feel."""
    registry, (a, b, _) = entered(tmp_path / "here", runs)
    registry.promote(a, why="the first")
    registry.challenge(b, why="to be watched")
    shadow = registry.shadow()
    assert shadow is not None
    assert shadow.name == b
    registry.challenge(b, why="nothing changes")
    registry.challenge(None, why="seen enough")
    registry.challenge(None, why="nothing changes")
    assert registry.shadow() is None
    assert actions(registry)[1:] == [("shadow", b, None), ("shadow", "", b)]
    assert champion(registry) == a


def test_the_champion_is_no_challenger(tmp_path: Path, runs: list[Path]) -> None:
    """It would agree with itself; the one that was named before stays."""
    registry, (a, b, _) = entered(tmp_path / "here", runs)
    registry.promote(a, why="the first")
    registry.challenge(b, why="to be watched")
    with pytest.raises(RegistryError, match=f"{a} is the champion") as caught:
        registry.challenge(a, why="a slip")
    assert "ftdeploy registry ls" in caught.value.fix
    assert actions(registry)[1:] == [("shadow", b, None)]


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        ({"labels": ["negative", "neutral", "positive"]}, "with 'neutral'$"),
        ({"labels": ["bad", "positive"]}, "with 'bad' and without 'negative'$"),
        ({"task": "multi-label-classification"}, "those of multi-label-classification, not of text-classification$"),
    ],
)
def test_a_model_with_other_answers_is_kept_out(tmp_path: Path, signature: dict[str, object], told: str) -> None:
    """A service that follows the champion would give labels that nobody who asks it knows: neither as a champion nor
    unheard beside it. The order of the labels is nothing to anybody, and a first champion may have any."""
    same = {"task": "text-classification", "labels": ["negative", "positive"]}
    registry = Registry(tmp_path / "all" / "reviews")
    versions = []
    for number, stated in enumerate((same, same | {"labels": ["positive", "negative"]}, same | signature)):
        run = tmp_path / f"run-{number}"
        write_artifact(run, "bundle", str(number), (), signature=stated)
        versions.append(registry.enter(run, None))
    one, turned, other = versions
    registry.promote(one, why="the first")
    registry.challenge(turned, why="to be watched")
    registry.promote(turned, why="better")
    for step in (registry.promote, registry.challenge):
        with pytest.raises(RegistryError, match=told) as caught:
            step(other, why="a slip")
        assert caught.value.fix.endswith(f"ftdeploy registry add RUN {tmp_path / 'all'}/NAME")
    assert champion(registry) == turned
    elsewhere = Registry(tmp_path / "all" / "three-labels")
    elsewhere.promote(elsewhere.enter(tmp_path / "run-2", None), why="the first")


def test_what_is_not_whole_is_neither_entered_nor_promoted(tmp_path: Path, runs: list[Path]) -> None:
    """Nor rolled back to. The pointer stays, and nothing half-made is left."""
    registry, (a, b, c) = entered(tmp_path / "here", runs)
    damaged = write_run(tmp_path / "damaged", "d")
    (damaged / "bundle" / "bento.yaml").write_text("changed", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"bento\.yaml was changed"):
        registry.enter(damaged, "")
    with pytest.raises(ArtifactError, match="does not exist"):
        registry.enter(tmp_path, "")
    for version in (b, a):
        registry.promote(version, why="good")
    for version in (b, c):
        (registry.root / "versions" / version / "bundle" / "bento.yaml").write_text("changed", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"bento\.yaml was changed"):
        registry.promote(c, why="not whole")
    with pytest.raises(ArtifactError, match=r"bento\.yaml was changed"):
        registry.rollback(why="not whole")
    with pytest.raises(ArtifactError, match=r"bento\.yaml was changed"):
        registry.enter(runs[1], "")
    assert champion(registry) == a
    assert sorted(path.name for path in (registry.root / "versions").iterdir()) == sorted([a, b, c])


def test_a_name_that_is_none_is_told_with_the_nearest(tmp_path: Path, runs: list[Path]) -> None:
    """Of versions, and of registries; nothing is made for a typing error."""
    registry, (a, _, _) = entered(tmp_path / "all" / "reviews", runs)
    wrong = a[:-1] + ("0" if a[-1] != "0" else "1")
    with pytest.raises(RegistryError, match=f"no version '{wrong}'") as caught:
        registry.promote(wrong, why="")
    assert caught.value.fix == f"did you mean {a!r}?"
    assert (caught.value.exit_code, bool(caught.value.cause)) == (12, True)
    with pytest.raises(RegistryError, match="no version ''"):
        registry.promote("", why="")
    with pytest.raises(RegistryError, match="no champion before now"):
        registry.rollback(why="")
    with pytest.raises(RegistryError, match="there is no registry") as missing:
        Registry(tmp_path / "all" / "reviewz").promote(a, why="")
    assert missing.value.fix.startswith("did you mean 'reviews'?; ")
    assert [path.name for path in (tmp_path / "all").iterdir()] == ["reviews"]


def test_a_pointer_that_leads_nowhere_is_an_error(tmp_path: Path, runs: list[Path]) -> None:
    """Not no champion: nobody is to take the place of one that somebody broke."""
    registry, (a, _, _) = entered(tmp_path / "here", runs)
    for target in ("versions/000000000000", "../elsewhere", f"{registry.root}/versions/{a}"):
        (registry.root / "champion").symlink_to(target)
        with pytest.raises(RegistryError, match="is no version"):
            registry.champion()
        (registry.root / "champion").unlink()
    (registry.root / "champion").mkdir()
    with pytest.raises(RegistryError, match="it is no link"):
        registry.promote(a, why="")


def test_a_pointer_that_was_set_by_hand_counts_and_is_written_down(tmp_path: Path, runs: list[Path]) -> None:
    """So that a rollback leads to what served before."""
    registry, (a, b, c) = entered(tmp_path / "here", runs)
    registry.promote(a, why="the first")
    (registry.root / "next").symlink_to(f"versions/{b}")
    (registry.root / "next").replace(registry.root / "champion")
    registry.promote(c, why="better")
    assert actions(registry)[1:] == [("found", b, a), ("promote", c, b)]
    registry.rollback(why="no")
    registry.rollback(why="no")
    assert champion(registry) == a


def test_killed_at_any_line_a_promotion_is_done_or_not(tmp_path: Path, runs: list[Path]) -> None:
    """The pointer is the old or the new one, never none; done again it is done, and the next rollback undoes it."""
    registry, (a, b, _) = entered(tmp_path / "template", runs)
    registry.promote(a, why="the first")
    found = killed_everywhere(registry.root, tmp_path / "here", f"here.promote({b!r}, why='w')")
    assert len(found) > 60
    assert {str(one["champion"]) for one in found} == {a, b}
    assert {str(one["then"]) for one in found} == {b}
    kept = [one["history"][4:] for one in found]  # type: ignore[index]  # of JSON
    assert [["promote", b], ["found", a], ["promote", b]] in kept  # killed between the two
    assert all(one[-1] == ["promote", b] for one in kept)


def test_killed_at_any_line_the_first_promotion_is_done_or_not(tmp_path: Path, runs: list[Path]) -> None:
    """Before it there is no champion, and afterwards one."""
    registry, (a, *_) = entered(tmp_path / "template", runs)
    found = killed_everywhere(registry.root, tmp_path / "here", f"here.promote({a!r}, why='w')", every=3)
    assert {one["champion"] for one in found} == {None, a}
    assert {one["then"] for one in found} == {a}


def test_killed_at_any_line_a_rollback_is_done_or_not(tmp_path: Path, runs: list[Path]) -> None:
    """It goes one step back, also where the first try was cut off after its line of the history."""
    registry, (a, b, c) = entered(tmp_path / "template", runs)
    for version in (a, b, c):
        registry.promote(version, why="better")
    step = f"here.champion().name == {c!r} and here.rollback(why='w')"
    found = killed_everywhere(registry.root, tmp_path / "here", step)
    assert {str(one["champion"]) for one in found} == {b, c}
    assert {str(one["then"]) for one in found} == {b}
    assert any(one["history"][-2:] == [["found", c], ["rollback", b]] for one in found)  # type: ignore[index]  # of JSON


def test_killed_at_any_line_a_run_is_entered_or_not(tmp_path: Path, runs: list[Path]) -> None:
    """A version that is listed is whole, and nothing of the first try is in the way of the next."""
    registry, (a, *_) = entered(tmp_path / "template", runs[:1])
    found = killed_everywhere(registry.root, tmp_path / "here", f"here.enter(Path({str(runs[1])!r}), 'x')", every=4)
    b = open_artifact(runs[1] / "bundle").digest[:12]
    assert {len(one["versions"]) for one in found} == {1, 2}  # type: ignore[arg-type]  # of JSON
    assert sorted(path.name for path in (tmp_path / "here" / "versions").iterdir()) == sorted([a, b])


def test_changes_wait_for_one_another(tmp_path: Path, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who promote at the same time both do, one after the other; who waits too long is told."""
    registry, (a, b, c) = entered(tmp_path / "here", runs)
    threads = [threading.Thread(target=registry.promote, args=(one,), kwargs={"why": "race"}) for one in (a, b, c)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = [event for event in registry.history() if event.action != "enter"]
    assert [event.action for event in events] == ["promote"] * 3
    assert [event.before for event in events] == [None, events[0].digest, events[1].digest]
    assert champion(registry) == events[-1].digest
    monkeypatch.setattr("ftdeploy.registry._PATIENCE", 0.1)
    with FileLock(registry.root / ".lock"), pytest.raises(LockedError, match="another process is at work"):
        registry.promote(a, why="waited")


def test_a_disk_that_refuses_is_told(tmp_path: Path, runs: list[Path]) -> None:
    """In three parts, and with the path."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written") as caught:
        Registry(tmp_path / "file" / "here").enter(runs[0], "")
    assert caught.value.cause
    assert caught.value.fix
    assert write_artifact(runs[0], "bundle", "a", ()).digest == open_artifact(runs[0] / "bundle").digest


def test_a_disk_that_is_full_is_told_in_a_sentence(tmp_path: Path, runs: list[Path]) -> None:
    """A file size limit stands in for the disk: with the first file that had no room, and no list of all; and nothing
    half-made stays."""
    registry = Registry(tmp_path / "here")
    with (runs[0] / "bundle" / "src" / "large").open("wb") as handle:
        handle.truncate(100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(StorageError) as caught:
            registry.enter(runs[0], None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(rf"{registry.root} cannot be written: File too large, at \S+/src/large", caught.value.what)
    assert list((registry.root / "versions").iterdir()) == []
