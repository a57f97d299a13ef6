"""Sources: cache, mirror, network, packages and hub, each through the real functions on real files and servers."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftdeploy.errors import SourceError, StorageError
from ftdeploy.origin import Origin, Source
from ftdeploy.recipe import ModelSettings
from ftdeploy.sources import describe, fingerprint, resolve
from ftdeploy.sources.cache import cache_folder, cached_file, digest_path, locked

ROWS = b"text,label\ngood,1\nbad,0\n"
SUM = hashlib.sha256(ROWS).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FTDEPLOY_MIRROR", raising=False)
    return tmp_path / "cache"


class _Server(http.server.ThreadingHTTPServer):
    asked: list[str]
    again: threading.Event


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if len(self.server.asked) > 1:
            self.server.again.set()
        if self.path.startswith("/slow"):
            self.server.again.wait(2)  # long enough for somebody else to ask in the meantime
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(ROWS) + (100 if self.path.startswith("/cut") else 0)))
        self.end_headers()
        self.wfile.write(ROWS)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[_Server]:
    started = _Server(("127.0.0.1", 0), _Handler)
    started.asked, started.again = [], threading.Event()
    thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield started
    started.shutdown()
    thread.join()
    started.server_close()


def _address(server: _Server, path: str = "/rows.csv") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def _mirror(folder: Path, content: bytes, *, url: str, sha256: str = SUM) -> Path:
    folder.mkdir()
    (folder / "rows.csv").write_bytes(content)
    entry = {"file": "rows.csv", "url": url, "sha256": sha256, "bytes": len(content), "licence": "CC0", "about": ""}
    (folder / "index.json").write_text(json.dumps([entry]))
    return folder


def _leftovers(cache: Path) -> list[Path]:
    return [path for path in (cache / "files").rglob("*") if path.is_file()] if (cache / "files").exists() else []


def test_path_is_given_back_and_missing_one_names_a_sibling(tmp_path: Path) -> None:
    """A file is used in place; a missing one is an error with the name that was probably meant."""
    (tmp_path / "rows.csv").write_bytes(ROWS)
    assert resolve(Origin(path=tmp_path / "rows.csv", sha256=SUM)) == tmp_path / "rows.csv"
    with pytest.raises(SourceError, match="does not exist") as caught:
        resolve(Origin(path=tmp_path / "row.csv"))
    assert "'rows.csv'" in caught.value.fix


def test_member_of_a_local_folder_and_archive(tmp_path: Path) -> None:
    """`member` reaches into a folder as into an archive."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_bytes(ROWS)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as packed:
        packed.write(tmp_path / "data" / "rows.csv", "rows.csv")
    for name in ("data", "data.zip"):
        assert resolve(Origin(path=tmp_path / name, member="rows.csv")).read_bytes() == ROWS
        with pytest.raises(SourceError, match=r"row\.csv"):
            resolve(Origin(path=tmp_path / name, member="row.csv"))


def test_path_with_another_sha256_is_refused(tmp_path: Path) -> None:
    """A stated sha256 holds for local files too, and the error names both sums."""
    (tmp_path / "rows.csv").write_bytes(ROWS)
    with pytest.raises(SourceError) as caught:
        resolve(Origin(path=tmp_path / "rows.csv", sha256="0" * 64))
    assert SUM in caught.value.what
    assert "0" * 64 in caught.value.what


@pytest.mark.parametrize("mirrored", ["none", "empty"])
def test_neither_mirror_nor_network_is_said_in_these_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirrored: str
) -> None:
    """A closed port, and no mirror or one that does not list the file: the error names all that was tried."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/rows.csv"
    words = "no mirror is set"
    if mirrored == "empty":
        (tmp_path / "mirror").mkdir()
        (tmp_path / "mirror" / "index.json").write_text("[]")
        monkeypatch.setenv("FTDEPLOY_MIRROR", str(tmp_path / "mirror"))
        words = f"the mirror {tmp_path / 'mirror'} does not list it"
    with pytest.raises(SourceError) as caught:
        resolve(Source(url=address, sha256=SUM))
    assert address in caught.value.what
    assert "it is not in the cache" in caught.value.what
    assert words in caught.value.what
    assert "the network failed" in caught.value.what
    assert "FTDEPLOY_MIRROR" in caught.value.fix


def test_licence_and_citation_are_the_recipes_else_the_mirrors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirror: Path
) -> None:
    """Of the real mirror: what its index says, unless the recipe says otherwise; nothing without either."""
    listed = json.loads((mirror / "index.json").read_text())
    entry = next(one for one in listed if one["file"] == "finance-phrasebank.txt")
    origin = Source(url=entry["url"], sha256=entry["sha256"])
    assert resolve(origin) == mirror / "finance-phrasebank.txt"
    assert describe(origin) == {"source": entry["url"], "licence": entry["licence"], "citation": entry["about"]}
    stated = origin.model_copy(update={"licence": "ours", "citation": "us"})
    assert describe(stated) == {"source": entry["url"], "licence": "ours", "citation": "us"}
    monkeypatch.delenv("FTDEPLOY_MIRROR")
    assert describe(origin) == {"source": entry["url"]}
    (tmp_path / "rows.csv").write_bytes(ROWS)
    assert describe(Source(path=tmp_path / "rows.csv", licence="CC0")) == {"source": "file rows.csv", "licence": "CC0"}


def test_url_is_fetched_once_and_then_comes_from_the_cache(server: _Server) -> None:
    """The second resolve asks nobody."""
    origin = Source(url=_address(server), sha256=SUM)
    first = resolve(origin)
    assert first.read_bytes() == ROWS
    assert first.name == "rows.csv"
    assert resolve(origin) == first
    assert server.asked == ["/rows.csv"]


def test_url_with_another_sha256_is_not_kept(server: _Server, cache: Path) -> None:
    """A file that is not the stated one is an error with both sums, and nothing of it stays."""
    with pytest.raises(SourceError) as caught:
        resolve(Origin(url=_address(server), sha256="1" * 64))
    assert SUM in caught.value.what
    assert "1" * 64 in caught.value.what
    assert not _leftovers(cache)


def test_damaged_cache_entry_is_fetched_anew(server: _Server) -> None:
    """A cached file is checked before every use."""
    origin = Origin(url=_address(server), sha256=SUM)
    resolve(origin).write_bytes(b"rotten")
    assert resolve(origin).read_bytes() == ROWS
    assert len(server.asked) == 2


@pytest.mark.parametrize(("path", "why"), [("/missing", "404"), ("/cut", "of 124 bytes")])
def test_failed_download_says_why_and_keeps_nothing(server: _Server, cache: Path, path: str, why: str) -> None:
    """An error status and a cut connection are source errors."""
    with pytest.raises(SourceError, match=why):
        resolve(Origin(url=_address(server, path), sha256=SUM))
    assert not _leftovers(cache)


def test_offline_says_that_neither_cache_nor_mirror_nor_network_has_it(cache: Path) -> None:
    """Without a network the message names all three places."""
    with pytest.raises(SourceError) as caught:
        resolve(Origin(url="http://127.0.0.1:9/rows.csv", sha256=SUM))
    assert str(cache) in caught.value.what
    assert "FTDEPLOY_MIRROR" in caught.value.what
    assert "network failed" in caught.value.what


def test_mirror_serves_without_network_and_states_the_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is listed in the mirror's index.json is read from there."""
    url = "http://127.0.0.1:9/rows.csv"
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(_mirror(tmp_path / "mirror", ROWS, url=url)))
    origin = Origin(url=url, sha256=SUM)
    assert resolve(origin) == tmp_path / "mirror" / "rows.csv"
    assert describe(origin) == {"source": url, "licence": "CC0"}


def test_mirrored_file_that_was_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror is not trusted more than the network."""
    url = "http://127.0.0.1:9/rows.csv"
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(_mirror(tmp_path / "mirror", ROWS + b"more", url=url)))
    with pytest.raises(SourceError, match=SUM):
        resolve(Origin(url=url, sha256=SUM))


@pytest.mark.parametrize(
    "index", ["not json", '{"file": 1}', '[{"file": "x"}]', '[{"file": "../x", "url": "u", "sha256": "s"}]']
)
def test_broken_mirror_index_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: str) -> None:
    """A mirror that cannot be used says so, rather than being passed over."""
    (tmp_path / "index.json").write_text(index)
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(tmp_path))
    with pytest.raises(SourceError, match=r"index\.json"):
        resolve(Origin(url="http://127.0.0.1:9/rows.csv", sha256=SUM))


def test_two_processes_that_want_the_same_file_fetch_it_once(server: _Server, cache: Path) -> None:
    """The cache is locked while it is filled, and holds one whole file afterwards."""
    code = (
        "import sys; from ftdeploy.origin import Origin; from ftdeploy.sources import resolve; "
        "sys.stdout.write(resolve(Origin(url=sys.argv[1], sha256=sys.argv[2])).read_text())"
    )
    command = [sys.executable, "-c", code, _address(server, "/slow/rows.csv"), SUM]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[0] for process in running] == [ROWS] * 3
    assert server.asked == ["/slow/rows.csv"]
    assert [path.read_bytes() for path in _leftovers(cache)] == [ROWS]


def _sdist(path: Path, *, trap: Path) -> str:
    """A source distribution whose setup.py leaves a trace when it is run; returns its sha256."""
    files = {
        "demo-1.0/setup.py": f"open({str(trap)!r}, 'w').write('ran'); raise SystemExit('ran')",
        "demo-1.0/PKG-INFO": "Metadata-Version: 1.0\nName: demo\nVersion: 1.0\nLicense: MIT\n",
        "demo-1.0/data/rows.csv": ROWS.decode(),
    }
    with tarfile.open(path, "w:gz") as packed:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            packed.addfile(info, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, which pip is configured to ask alone."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    project = tmp_path / "simple" / "demo"
    project.mkdir(parents=True)
    return project


def test_package_is_fetched_through_pips_configuration_without_running_its_code(index: Path, tmp_path: Path) -> None:
    """A source distribution is found on the user's index and unpacked; its setup.py does not run."""
    trap = tmp_path / "trap"
    sha256 = _sdist(index / "demo-1.0.tar.gz", trap=trap)
    (index / "index.html").write_text(f'<a href="demo-1.0.tar.gz#sha256={sha256}">demo-1.0.tar.gz</a>')
    found = resolve(Source(package="demo==1.0", sha256=sha256, member="demo-1.0/data/rows.csv"))
    assert found.read_bytes() == ROWS
    assert not trap.exists()
    words = "package demo==1.0, demo-1.0/data/rows.csv"
    origin = Source(package="demo==1.0", sha256=sha256, member="demo-1.0/data/rows.csv")
    assert describe(origin) == {"source": words, "licence": "MIT"}


def test_package_comes_from_the_cache_when_the_index_is_gone(index: Path, tmp_path: Path) -> None:
    """Pinned by sha256 or only by version, the second resolve needs no index."""
    sha256 = _sdist(index / "demo-1.0.tar.gz", trap=tmp_path / "trap")
    (index / "index.html").write_text('<a href="demo-1.0.tar.gz">demo-1.0.tar.gz</a>')
    by_version = Source(package="demo==1.0", member="demo-1.0/data/rows.csv")
    first = resolve(by_version)
    (index / "index.html").unlink()
    assert resolve(by_version) == first
    assert resolve(by_version.model_copy(update={"sha256": sha256})) == first


def test_package_with_another_sha256_is_refused(index: Path, tmp_path: Path, cache: Path) -> None:
    """Whether the index states a sum or not, the file must have the recipe's one."""
    sha256 = _sdist(index / "demo-1.0.tar.gz", trap=tmp_path / "trap")
    for fragment in ("", f"#sha256={sha256}"):
        (index / "index.html").write_text(f'<a href="demo-1.0.tar.gz{fragment}">demo-1.0.tar.gz</a>')
        with pytest.raises(SourceError) as caught:
            resolve(Origin(package="demo==1.0", sha256="2" * 64))
        assert sha256 in caught.value.what
        assert "2" * 64 in caught.value.what
    assert not _leftovers(cache)


def test_package_that_no_index_has_names_every_place(index: Path, cache: Path) -> None:
    """No such version, and no such index, are source errors."""
    (index / "index.html").write_text("")
    with pytest.raises(SourceError, match=r"no version 1\.0 of demo") as caught:
        resolve(Origin(package="demo==1.0"))
    assert str(cache) in caught.value.what
    assert "pypi:demo==1.0" in caught.value.fix


@pytest.mark.usefixtures("index")
def test_package_offline_is_a_source_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that does not answer is told from one that does not have the package."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SourceError, match=r"(?i)connect"):
        resolve(Origin(package="demo==1.0"))


@pytest.mark.usefixtures("index")
def test_package_in_the_mirror_needs_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror lists packages as pypi:name==version, in any spelling of the name."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    sha256 = _sdist(mirror / "demo.tar.gz", trap=tmp_path / "trap")
    entry = {"file": "demo.tar.gz", "url": "pypi:De_Mo==1.0", "sha256": sha256}
    (mirror / "index.json").write_text(json.dumps([entry]))
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(mirror))
    assert resolve(Source(package="de-mo==1.0", member="demo-1.0/data/rows.csv")).read_bytes() == ROWS


def test_hub_takes_a_local_folder(tmp_path: Path) -> None:
    """A folder in the hub's layout stands in for a name, relative to the recipe."""
    (tmp_path / "model").mkdir()
    origin = ModelSettings.model_validate({"hub": "./model"}, context={"folder": tmp_path})
    assert resolve(origin) == tmp_path / "model"
    with pytest.raises(SourceError, match="not a folder"):
        resolve(ModelSettings.model_validate({"hub": "./other"}, context={"folder": tmp_path}))


def test_hub_without_network_is_a_source_error(tmp_path: Path) -> None:
    """HF_HUB_OFFLINE is respected: the hub library reads it when it is imported, hence a process of its own."""
    code = (
        "from ftdeploy.origin import Source; from ftdeploy.sources import resolve\n"
        "from ftdeploy.errors import SourceError\n"
        "try: resolve(Source(hub='owner/name'))\n"
        "except SourceError as error: print(error.what)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "dataset owner/name@main cannot be had from the hub" in done.stdout


def test_fingerprint_follows_content_and_loader_and_needs_no_network(tmp_path: Path) -> None:
    """The key of a stage changes with the bytes that are read, and with the loader's code."""
    (tmp_path / "rows.csv").write_bytes(ROWS)
    (tmp_path / "rows.py").write_text("def load(path): ...")
    source = Source(path=tmp_path / "rows.csv", loader=Path(f"{tmp_path}/rows.py:load"))
    before = fingerprint(source)
    assert before["content"] == SUM
    (tmp_path / "rows.py").write_text("def load(path): return []")
    assert fingerprint(source)["loader"] != before["loader"]
    (tmp_path / "rows.csv").write_bytes(ROWS + b"fine,1\n")
    assert fingerprint(source)["content"] != before["content"]
    assert fingerprint(Source(url="http://127.0.0.1:9/x", sha256=SUM)) == {"content": SUM}
    assert fingerprint(Origin(package="demo==1.0")) == {"content": "demo==1.0"}
    assert fingerprint(Origin(hub="owner/name", revision="abc")) == {"content": "owner/name@abc"}


def test_folder_digest_does_not_depend_on_its_place_and_follows_links(tmp_path: Path) -> None:
    """Hub caches link files; what counts is relative names and content."""
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "x").write_text("1")
    (tmp_path / "b" / "sub" / "x").symlink_to(tmp_path / "a" / "sub" / "x")
    assert digest_path(tmp_path / "a") == digest_path(tmp_path / "b")
    (tmp_path / "a" / "sub" / "x").rename(tmp_path / "a" / "x")
    (tmp_path / "b" / "sub" / "x").unlink()
    (tmp_path / "b" / "sub" / "x").write_text("1")
    assert digest_path(tmp_path / "a") != digest_path(tmp_path / "b")


def test_wheel_is_preferred_without_a_sha256(index: Path, tmp_path: Path) -> None:
    """With both kinds of file on the index and no sum to choose by, the wheel is taken."""
    _sdist(index / "demo-1.0.tar.gz", trap=tmp_path / "trap")
    with zipfile.ZipFile(index / "demo-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demo/rows.csv", ROWS)
    names = ("demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl")
    (index / "index.html").write_text("".join(f'<a href="{name}">{name}</a>' for name in names))
    assert resolve(Source(package="demo==1.0", member="demo/rows.csv")).read_bytes() == ROWS


@pytest.mark.parametrize("note", [b"", b"\n", b"..", b"\xff", b"0" * 63, b"A" * 64])
def test_a_note_that_is_not_whole_is_no_note(index: Path, tmp_path: Path, cache: Path, note: bytes) -> None:
    """A run that was killed while it noted which file a package is leaves nothing that later runs stumble over."""
    _sdist(index / "demo-1.0.tar.gz", trap=tmp_path / "trap")
    (index / "index.html").write_text('<a href="demo-1.0.tar.gz">demo-1.0.tar.gz</a>')
    origin = Source(package="demo==1.0", member="demo-1.0/data/rows.csv")
    first = resolve(origin)
    (cache / "packages" / "demo==1.0").write_bytes(note)
    assert resolve(origin) == first
    assert len((cache / "packages" / "demo==1.0").read_bytes()) == 64
    assert [path.name for path in (cache / "packages").iterdir()] == ["demo==1.0"]


def test_a_full_disk_under_the_cache_is_told_as_such(cache: Path) -> None:
    """Not as a missing source: its exit code is that of a full disk."""
    with pytest.raises(StorageError, match=str(cache)), locked("anything"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["file", "file/below", "n" * 300])
def test_a_cache_that_cannot_be_made(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A file in the way, an impossible name: a source error that says what to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FTDEPLOY_CACHE", str(tmp_path / place))
    with pytest.raises(SourceError, match="cannot be filled") as caught:
        resolve(Origin(url=_address(server), sha256=SUM))
    assert "FTDEPLOY_CACHE" in caught.value.fix


def test_a_cache_that_others_filled_need_not_be_writable(tmp_path: Path, cache: Path, server: _Server) -> None:
    """What is there and right is used without taking a lock."""
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as packed:
        packed.writestr("rows.csv", ROWS)
    member, fetched = Origin(path=tmp_path / "data.zip", member="rows.csv"), Origin(url=_address(server), sha256=SUM)
    places = [resolve(member), resolve(fetched)]
    for lock in (cache / "locks").iterdir():
        lock.unlink()
    (cache / "locks").rmdir()
    (cache / "locks").write_text("no lock can be made here")
    assert [resolve(member), resolve(fetched)] == places


def test_what_cannot_be_read_is_not_in_the_cache(cache: Path) -> None:
    """A folder in a file's place can neither be read nor removed as one; it is passed over."""
    (cache / "files" / SUM / "rows.csv").mkdir(parents=True)
    assert cached_file(SUM) is None


def test_without_a_home_the_cache_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user without an account, in a container: the error says which variable to set."""
    for name in ("HOME", "XDG_CACHE_HOME", "FTDEPLOY_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(SourceError, match="no folder for the cache") as caught:
        cache_folder()
    assert "FTDEPLOY_CACHE" in caught.value.fix
    monkeypatch.setenv("FTDEPLOY_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(SourceError):
        cache_folder()


def test_mirror_with_several_files_of_one_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wheel and source distribution under one address: the stated sha256 picks, and its licence is told; without one
    the wheel is taken."""
    monkeypatch.setenv("FTDEPLOY_MIRROR", str(tmp_path))
    sums = {"demo.tar.gz": _sdist(tmp_path / "demo.tar.gz", trap=tmp_path / "trap")}
    with zipfile.ZipFile(tmp_path / "demo.whl", "w") as wheel:
        wheel.writestr("demo-1.0/data/rows.csv", b"of the wheel")
    sums["demo.whl"] = hashlib.sha256((tmp_path / "demo.whl").read_bytes()).hexdigest()
    entries = [{"file": f, "url": "pypi:demo==1.0", "sha256": s, "licence": f} for f, s in sums.items()]
    (tmp_path / "index.json").write_text(json.dumps(entries))
    for name, content in (("demo.tar.gz", ROWS), ("demo.whl", b"of the wheel")):
        origin = Source(package="demo==1.0", sha256=sums[name], member="demo-1.0/data/rows.csv")
        assert resolve(origin).read_bytes() == content
        assert describe(origin)["licence"] == name
    assert resolve(Source(package="demo==1.0", member="demo-1.0/data/rows.csv")).read_bytes() == b"of the wheel"
