"""A registry: the versions of one service by the digest of their bundle, and which of them is the champion.

::

    REGISTRY/NAME/
      versions/3f2a9c51b07d/  a whole run: dataset, checkpoint, onnx, compressed, report, bundle, recipe.yaml
      champion                a link to versions/..., replaced by one rename: what `ftdeploy serve` follows
      history.jsonl           what was done, when and why; only ever added to

A version never changes once it is there; `Registry.prune` deletes old ones whole. Every step takes the registry's lock,
and may be killed anywhere: a version appears by a rename when it is whole and on the disk, goes by one, and of a change
of the champion the history is written first, so that a reason is never lost. Where history and link disagree then (a
kill between the two, a link set by hand), the link is right, and whoever comes next writes that down.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from ftdeploy.artifact import fsync, open_artifact
from ftdeploy.errors import ArtifactError, LockedError, StorageError, did_you_mean, first_of
from ftdeploy.files import write_text
from ftdeploy.registry.copying import copy_run
from ftdeploy.registry.history import Action, Event, RegistryError, append, damaged, read_history, reigns

__all__ = ["CHAMPION", "SHADOW", "Event", "Registry", "RegistryError"]

VERSIONS = "versions"
CHAMPION = "champion"
#: Leads to the version that answers beside the champion, unheard (`ftdeploy serve --shadow`).
SHADOW = "shadow"
HISTORY = "history.jsonl"
RECIPE = "recipe.yaml"
#: So much of a bundle's digest is the name of its version.
DIGITS = 12
#: What is asked for may be shorter, as with git.
_LEAST_DIGITS = 4
#: After the name of a version that is being deleted.
_REMOVED = ".removed"
#: An OSError as Python writes it: [Errno 28] No space left on device: 'PATH'.
_WRITTEN = re.compile(r"\[Errno \d+\] (.+?)(?:: '|$)")
_VERSION = re.compile(rf"[0-9a-f]{{{DIGITS}}}")
#: Entering copies a run while it holds the lock; who waits longer than this is told, in seconds.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Registry:
    """The versions of one service.

    Attributes:
        root: the folder REGISTRY/NAME; made when the first version is entered.
    """

    root: Path

    def versions(self) -> tuple[str, ...]:
        """Names of the versions, in the order in which they came; none where there is no registry."""
        there = {path.name for path in (self.root / VERSIONS).glob("*") if _VERSION.fullmatch(path.name)}
        came = [event.digest for event in self.history() if event.action == "enter"]
        return tuple(dict.fromkeys([*(name for name in came if name in there), *sorted(there)]))

    def require(self) -> None:
        """Refuse a folder that nothing was ever entered into.

        Raises:
            RegistryError: there is no registry.
        """
        if not (self.root / VERSIONS).is_dir():
            raise self._missing()

    def folder(self, version: str) -> Path:
        """The folder of a version.

        Args:
            version: its name, or the beginning of it (four digits at least) where that is no other's.

        Raises:
            RegistryError: there is no such version.
        """
        known = self.versions()
        found = [name for name in known if name == version or (
            len(version) >= _LEAST_DIGITS and (name.startswith(version) or version.startswith(name))
        )]  # fmt: skip
        if len(found) != 1:
            raise RegistryError(
                f"{self.root} has {f'{len(found)} versions' if found else 'no version'} {version!r}",
                cause="a typing error, another registry, or a run that was never entered",
                fix=did_you_mean(version, found or known) or f"enter a run: ftdeploy registry add RUN {self.root}",
            )
        return self.root / VERSIONS / found[0]

    def champion(self) -> Path | None:
        """The champion's folder; None when there is none yet.

        Raises:
            RegistryError: the pointer leads nowhere.
        """
        return self._target(CHAMPION)

    def shadow(self) -> Path | None:
        """The folder of the version that answers unheard; None when there is none.

        Raises:
            RegistryError: the pointer leads nowhere.
        """
        return self._target(SHADOW)

    def history(self) -> tuple[Event, ...]:
        """What was done, oldest first. A line that a crash cut off is left out.

        Raises:
            RegistryError: the file is damaged.
        """
        return read_history(self.root / HISTORY)

    def enter(self, run: Path, recipe: str | None) -> str:
        """Copy a run into the registry, under its bundle's digest; what is there already stays, and gets the recipe if
        it has none.

        Args:
            run: a finished run's folder: a bundle, and what it was made of as far as it is there.
            recipe: the recipe's text, overrides applied, paths absolute (`ftdeploy.recipe.as_text`); None when it is
                not at hand.

        Returns:
            The version's name.

        Raises:
            ArtifactError: the run has no bundle, an artifact is not as it was sealed, or one is not what the bundle was
                made of.
            LockedError: somebody else has held the lock for a minute.
            StorageError: the disk refuses.
        """
        bundle = open_artifact(run / "bundle", kind="bundle", check_content=False)
        version = bundle.digest[:DIGITS]
        target = self.root / VERSIONS / version
        with self._changing(anew=True):
            if target.exists():
                open_artifact(target / "bundle", kind="bundle")
                if recipe is not None and not (target / RECIPE).exists():
                    write_text(target / RECIPE, recipe)
                    fsync(target)
                return version
            partial = target.with_name(f"{version}.partial")
            shutil.rmtree(partial, ignore_errors=True)  # a kill left it
            partial.mkdir(parents=True)
            try:
                copy_run(run, partial)
                if recipe is not None:
                    (partial / RECIPE).write_text(recipe, encoding="utf-8")
                    fsync(partial / RECIPE)
                fsync(partial)
                partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            fsync(target.parent)
            self._note("enter", version, before=None, why=f"entered from {run}")
        return version

    def promote(self, version: str, *, why: str) -> None:
        """Make a version the champion; running services follow within a second. Nothing happens where it is already.

        Args:
            version: its name.
            why: for the history.

        Raises:
            RegistryError: there is no such version, or it is of another task or other labels than the champion.
            ArtifactError: its bundle is not as it was sealed.
            LockedError: somebody else has held the lock for a minute.
            StorageError: the disk refuses.
        """
        with self._changing():
            name = self.folder(version).name
            self._refuse_other_answers(name)
            self._change("promote", name, why)

    def rollback(self, *, why: str) -> None:
        """Make the champion before this one the champion again, and the one before that when done once more.

        Args:
            why: for the history.

        Raises:
            RegistryError: there was none before.
            ArtifactError: its bundle is not as it was sealed.
            LockedError: somebody else has held the lock for a minute.
            StorageError: the disk refuses.
        """
        with self._changing():
            since = reigns(self.history())
            if len(since) < 2:  # noqa: PLR2004  # this one and the one before
                raise RegistryError(
                    f"{self.root} has had no champion before {since[0] if since else 'now'}",
                    cause="nothing was promoted after it, or it was rolled back as often as promoted already",
                    fix="`ftdeploy registry promote VERSION` makes any version the champion",
                )
            self._change("rollback", since[-2], why)

    def challenge(self, version: str | None, *, why: str) -> None:
        """Have a version answer unheard beside the champion, or none any more.

        Args:
            version: its name; None takes the challenger away.
            why: for the history.

        Raises:
            RegistryError: there is no such version, it is the champion, or it is of another task or other labels.
            ArtifactError: its bundle is not as it was sealed.
            LockedError: somebody else has held the lock for a minute.
            StorageError: the disk refuses.
        """
        with self._changing():
            now = self.shadow()
            before = now.name if now else None
            if version is None:
                if now is not None:
                    self._note("shadow", "", before=before, why=why)
                    (self.root / SHADOW).unlink()
                    fsync(self.root)
                return
            name = self.folder(version).name
            champion = self.champion()
            if champion is not None and champion.name == name:
                raise RegistryError(
                    f"{name} is the champion of {self.root}",
                    cause="a challenger answers beside the champion, and this one would agree with itself",
                    fix=f"name another version; `ftdeploy registry ls {self.root}` lists them",
                )
            self._refuse_other_answers(name)
            open_artifact(self.root / VERSIONS / name / "bundle", kind="bundle")
            if name != before:
                self._note("shadow", name, before=before, why=why)
                self._point(SHADOW, name)

    def prune(self, keep: int, *, why: str) -> tuple[str, ...]:
        """Delete the oldest versions, with all that was recorded beside them. The champion, the one that a rollback
        leads to and the challenger always stay.

        Args:
            keep: so many of the newest stay, too.
            why: for the history.

        Returns:
            Names of those that were deleted.

        Raises:
            RegistryError: there is no registry, or a pointer leads nowhere.
            LockedError: somebody else has held the lock for a minute.
            StorageError: the disk refuses.
        """
        with self._changing():
            versions = self.root / VERSIONS
            for cut_off in versions.glob(f"*{_REMOVED}"):
                shutil.rmtree(cut_off)
            known = self.versions()
            roles = {path.name for path in (self.champion(), self.shadow()) if path is not None}
            stay = {*known[max(0, len(known) - keep) :], *reigns(self.history())[-2:], *roles}
            gone = tuple(name for name in known if name not in stay)
            for name in gone:
                self._note("remove", name, before=None, why=why)
                removed = (versions / name).rename(versions / f"{name}{_REMOVED}")
                shutil.rmtree(removed)
        return gone

    def _refuse_other_answers(self, version: str) -> None:
        """Refuse a version whose answers are not those that a service which follows the champion has given so far. A
        champion that cannot be read keeps nobody out."""
        champion = self.champion()
        before = None if champion is None else _answers(champion)
        after = _answers(self.folder(version))
        if champion is None or before is None or after is None or before == after:
            return
        apart = {"with": after[1] - before[1], "without": before[1] - after[1]}
        told = (
            " and ".join(f"{word} {first_of(sorted(map(repr, names)), 5)}" for word, names in apart.items() if names)
            if before[0] == after[0]
            else f"those of {after[0]}, not of {before[0]}"
        )
        raise RegistryError(
            f"{version} has other answers than the champion {champion.name}: {told}",
            cause="it is of another service, or its data has other labels; who asks a service that follows the "
            "champion knows the old ones",
            fix=f"enter it under a name of its own, and serve that: ftdeploy registry add RUN {self.root.parent}/NAME",
        )

    def _change(self, action: Literal["promote", "rollback"], version: str, why: str) -> None:
        now = self.champion()
        if now is not None and now.name == version:
            return
        open_artifact(self.folder(version) / "bundle", kind="bundle")
        self._note(action, version, before=now.name if now else None, why=why)
        self._point(CHAMPION, version)

    def _target(self, pointer: str) -> Path | None:
        link = self.root / pointer
        try:
            leads = link.readlink()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise damaged(link, "it is no link") from error
        target = self.root / leads
        if leads.parent != Path(VERSIONS) or not target.is_dir():
            raise damaged(link, f"it leads to {leads}, which is no version")
        return target

    def _point(self, pointer: str, version: str) -> None:
        """Let a pointer lead to a version, in one step."""
        fresh = self.root / f".{pointer}.new"
        fresh.unlink(missing_ok=True)  # a kill left it
        fresh.symlink_to(Path(VERSIONS) / version)
        fresh.replace(self.root / pointer)
        fsync(self.root)

    def _note(self, action: Action, digest: str, *, before: str | None, why: str) -> None:
        append(self.root / HISTORY, action, digest, before=before, why=why)

    def _missing(self) -> RegistryError:
        names = [path.name for path in self.root.parent.glob("*") if (path / VERSIONS).is_dir()]
        near = f"{did_you_mean(self.root.name, names)}; " if names else ""
        return RegistryError(
            f"there is no registry in {self.root}",
            cause="a typing error, or nothing was entered yet",
            fix=f"{near}`ftdeploy registry add RUN {self.root}` makes one",
        )

    def _reconcile(self) -> None:
        """Write down what the pointer says, where the history says otherwise."""
        now, since = self.champion(), reigns(self.history())
        if now is not None and now.name != (since[-1] if since else None):
            why = "the step before was cut off, or the pointer was set by hand"
            self._note("found", now.name, before=since[-1] if since else None, why=why)
        elif now is None and since:
            self._note("found", "", before=since[-1], why="the step before was cut off: there is no champion yet")

    @contextmanager
    def _changing(self, *, anew: bool = False) -> Iterator[None]:
        """While the block runs, nobody else changes the registry; history and pointer agree when it begins.

        Args:
            anew: make the registry where there is none.
        """
        try:
            if anew:
                (self.root / VERSIONS).mkdir(parents=True, exist_ok=True)
            else:
                self.require()
            with FileLock(self.root / ".lock").acquire(timeout=_PATIENCE):
                self._reconcile()
                yield
        except Timeout as error:
            raise LockedError(
                f"another process is at work in {self.root}",
                cause="a run is being entered, or a champion changed",
                fix="wait for it to end, and do it again",
            ) from error
        except OSError as error:
            raise StorageError(
                f"{self.root} cannot be written: {_reason(error)}",
                cause="no permission, a file in the way, or a full or read-only disk",
                fix=f"free space (`df -h {self.root}`), or name another folder",
            ) from error


def _reason(error: OSError) -> str:
    """Why the disk refuses; of a folder that was copied, at the first of its files: `shutil.Error` lists them all."""
    if isinstance(error, shutil.Error):
        _, target, why = error.args[0][0]
        written = _WRITTEN.match(why)
        return f"{written[1] if written else why}, at {target}"
    return error.strerror or str(error)


def _answers(version: Path) -> tuple[str, frozenset[str]] | None:
    """What a version answers with: its task, and the labels; None where its bundle does not say so."""
    from ftdeploy.serve.generation import signature_of

    try:
        signature = signature_of(version / "bundle")
        return str(signature["task"]), frozenset(map(str, signature["labels"]))
    except (ArtifactError, KeyError, TypeError):
        return None
