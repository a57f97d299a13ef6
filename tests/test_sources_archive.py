"""Taking members out of archives: nested, cached, and nothing that an archive can do to the machine."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from ftdeploy.errors import SourceError
from ftdeploy.sources import archive
from ftdeploy.sources.archive import take


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def _tar(path: Path, files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            packed.addfile(info)
    return path


def _take(path: Path, member: str) -> Path:
    return take(path, member, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_file_and_folder_are_taken(tmp_path: Path) -> None:
    """A member is a file, or a folder with everything below it, under its own name."""
    files = {"pkg/model/config.json": b"{}", "pkg/model/sub/x": b"1", "pkg/other": b"2"}
    for packed in (_zip(tmp_path / "a.zip", files), _tar(tmp_path / "a.tar.gz", files)):
        assert _take(packed, "pkg/other").read_bytes() == b"2"
        folder = _take(packed, "pkg/model")
        assert folder.name == "model"
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert found == {"config.json", "sub/x"}


def test_member_of_an_archive_inside_an_archive(tmp_path: Path) -> None:
    """outer.zip holds inner.tar.gz holds the file."""
    inner = _tar(tmp_path / "inner.tar.gz", {"data/rows.txt": b"row"})
    outer = _zip(tmp_path / "outer.zip", {"extra/inner.tar.gz": inner.read_bytes()})
    assert _take(outer, "extra/inner.tar.gz/data/rows.txt").read_bytes() == b"row"


def test_second_take_reads_the_cache_and_a_damaged_entry_is_unpacked_anew(tmp_path: Path) -> None:
    """What stands in the cache is checked by its digest at every use."""
    packed = _zip(tmp_path / "a.zip", {"rows.txt": b"row"})
    sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
    found = take(packed, "rows.txt", sha256=sha256)
    found.write_bytes(b"rotten")
    assert take(packed, "rows.txt", sha256=sha256).read_bytes() == b"row"
    packed.unlink()
    assert take(packed, "rows.txt", sha256=sha256) == found


def test_missing_member_names_what_is_close(tmp_path: Path, cache: Path) -> None:
    """The error lists or suggests; nothing stays in the cache."""
    packed = _zip(tmp_path / "a.zip", {"data/rows.txt": b"row"})
    with pytest.raises(SourceError, match="no member") as caught:
        _take(packed, "data/row.txt")
    assert "'data/rows.txt'" in caught.value.fix
    assert not [path for path in (cache / "unpacked").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    """Zip slip: an archive with such a name is not used at all."""
    with pytest.raises(SourceError, match=r"refused|cannot be unpacked"):
        _take(_zip(tmp_path / "a.zip", {"ok": b"1", name: b"2"}), "ok")
    with pytest.raises(SourceError, match=r"refused|cannot be unpacked"):
        _take(_tar(tmp_path / "a.tar.gz", {"ok": b"1", name: b"2"}), "ok")


@pytest.mark.parametrize("name", [".//{}", "./{}", "/{}", "a/../../../../../..{}"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    """Taken as a whole, an archive puts no file where its names point to; also without tarfile's filters, which early
    patch releases of Python 3.11 lack."""
    outside = tmp_path / "evil"
    packed = _tar(tmp_path / "a.tar.gz", {"ok": b"1", name.format(outside): b"2"})
    with contextlib.suppress(SourceError):
        _take(packed, "")
    assert not outside.exists()


def test_tarfile_filters_are_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11.0 to 3.11.3 have none."""
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    assert _take(_tar(tmp_path / "a.tar.gz", {"ok": b"1"}), "ok").read_bytes() == b"1"


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in a tar is no member, so it can point nowhere."""
    packed = _tar(tmp_path / "a.tar.gz", {"ok": b"1"}, links={"link": "/etc/hostname"})
    with pytest.raises(SourceError, match="no member 'link'"):
        _take(packed, "link")
    assert _take(packed, "ok").read_bytes() == b"1"


def test_decompression_bomb_is_stopped(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is on bytes written, not on what the archive says of itself; inner archives count too."""
    monkeypatch.setattr(archive, "_MIN_BOUND", 1_000_000)
    monkeypatch.setattr(archive, "_MAX_RATIO", 1)
    zeros = {"zeros": bytes(3_000_000)}
    bombs = [_zip(tmp_path / "a.zip", zeros), _tar(tmp_path / "a.tar.gz", zeros)]
    bombs.append(_zip(tmp_path / "b.zip", {"inner.zip": bombs[0].read_bytes()}))
    for packed, member in zip(bombs, ("zeros", "zeros", "inner.zip/zeros"), strict=True):
        with pytest.raises(SourceError, match="unpacks to more than"):
            _take(packed, member)
    assert not [path for path in cache.rglob("zeros*") if path.is_file()]


def test_what_is_no_archive_or_is_cut_off_is_an_error(tmp_path: Path) -> None:
    """Plain files, truncated archives and damaged members are told apart from missing members."""
    plain = tmp_path / "rows.csv"
    plain.write_bytes(b"text,label\n")
    with pytest.raises(SourceError, match="not an archive"):
        _take(plain, "rows.csv")
    whole = _tar(tmp_path / "a.tar.gz", {"rows": bytes(range(256)) * 4000})
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(SourceError, match="cannot be unpacked"):
        _take(cut, "rows")
    damaged = _zip(tmp_path / "a.zip", {"rows": bytes(range(256)) * 4000})
    content = bytearray(damaged.read_bytes())
    content[60:80] = bytes(20)
    damaged.write_bytes(content)
    with pytest.raises(SourceError, match="cannot be unpacked"):
        _take(damaged, "rows")


def test_everything_is_taken_without_a_member(tmp_path: Path) -> None:
    """An empty member is the whole archive, for loaders that read several files."""
    packed = _zip(tmp_path / "a.zip", {"a": b"1", "b/c": b"2"})
    folder = _take(packed, "")
    assert (folder / "a").read_bytes() + (folder / "b" / "c").read_bytes() == b"12"
