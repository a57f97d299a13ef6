"""A bundle is looked at before it is started: whole, and of a kind that this supervisor can serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tiny import write_bundle

from ftdeploy.artifact import seal
from ftdeploy.errors import ArtifactError, ServeError
from ftdeploy.serve.generation import ONE_THREAD, ZYGOTE, check, signature_of, spawn


def test_a_bundle_is_named_with_the_beginning_of_its_digest(tmp_path: Path) -> None:
    """As the log shows it."""
    bundle = write_bundle(tmp_path / "bundle")
    assert check(bundle.path) == f"tiny {bundle.digest[:12]}"


def test_a_changed_bundle_is_refused(tmp_path: Path) -> None:
    """Before any of its code runs."""
    bundle = write_bundle(tmp_path / "bundle")
    (bundle.path / "src" / ZYGOTE).write_text("raise SystemExit\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="was changed"):
        check(bundle.path)


def test_a_bundle_of_before_is_told_what_still_serves_it(tmp_path: Path) -> None:
    """It carries no zygote."""
    bundle = write_bundle(tmp_path / "new")
    (bundle.path / "src" / ZYGOTE).unlink()
    (bundle.path / "artifact.json").unlink()
    old = seal(bundle.path, target=tmp_path / "old", kind="bundle", made_by="tiny@1", made_from=(), key="", settings={},
               facts={})  # fmt: skip
    with pytest.raises(ServeError, match=r"has no ftdeploy/serve/zygote\.py") as caught:
        check(old.path)
    assert f"`bentoml serve {old.path.absolute()}`" in caught.value.fix  # it takes no relative one


def test_a_process_that_cannot_be_started_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In three parts, and nothing stays open."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(ServeError, match=r"no process can be started to serve .*: No such file"):
        spawn(tmp_path, "tiny", number=1, sockets=(), totals=tmp_path, environment=os.environ)
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_signature_that_is_none_is_an_error(tmp_path: Path) -> None:
    """Sealed or not."""
    bundle = write_bundle(tmp_path / "bundle", replaced={"model/signature.json": b"[1, 2]"})
    with pytest.raises(ArtifactError, match=r"signature\.json cannot be read"):
        signature_of(bundle.path)


def test_libraries_have_one_thread_under_bentoml_too() -> None:
    """Its processes import `service.py` before any of them: numpy's threads would spin beside the lanes, which took a
    seventh of a request's time."""
    service = (Path(__file__).resolve().parents[1] / "bentos" / "service.py").read_text(encoding="utf-8")
    ahead, _, _ = service.partition("import bentoml")
    for name, value in ONE_THREAD.items():
        assert f'os.environ.setdefault("{name}", "{value}")' in ahead
