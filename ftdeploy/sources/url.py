"""A file behind an address: cache, mirror, network."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from ftdeploy import __version__, progress
from ftdeploy.errors import SourceError
from ftdeploy.sources.cache import add_file, cache_folder, cached_file, locked
from ftdeploy.sources.mirror import absence, mirrored_file

_TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 20


def fetch(address: str, *, sha256: str) -> Path:
    """The local copy of an address, checked against its sha256.

    Raises:
        SourceError: neither cache, mirror nor network has it, or its sha256 is another one.
    """
    found = cached_file(sha256) or mirrored_file(address, sha256=sha256)
    if found is not None:
        return found
    with locked(sha256):
        # Another process may have fetched it while this one waited.
        found = cached_file(sha256)
        if found is not None:
            return found
        name = unquote(Path(urlsplit(address).path).name) or "download"
        return add_file(name, sha256=sha256, write=lambda part: download(address, part))


def download(address: str, target: Path) -> None:
    """Write what stands behind an address to ``target``, showing progress.

    Raises:
        SourceError: no answer, an error status, or fewer bytes than announced.
    """
    # S310 warns of file: and other schemes; Origin.url admits http and https only.
    request = urllib.request.Request(address, headers={"User-Agent": f"ftdeploy/{__version__}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - as above
            announced = answer.headers.get("Content-Length")
            total = int(announced) if announced and announced.isdigit() else None
            with target.open("wb") as handle, progress.task(f"fetch {target_name(address)}", total) as advance:
                received = _copy(answer, handle, advance)
    except urllib.error.HTTPError as error:
        raise _unavailable(address, f"the server answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, TimeoutError, ConnectionError) as error:
        raise _unavailable(address, f"the network failed: {getattr(error, 'reason', None) or error}") from error
    if total is not None and received != total:
        raise _unavailable(address, f"the connection ended after {received:,} of {total:,} bytes")


def target_name(address: str) -> str:
    """The last part of an address, for progress."""
    return unquote(Path(urlsplit(address).path).name) or address


def _copy(answer: BinaryIO, handle: BinaryIO, advance: progress.Advance) -> int:
    received = 0
    while piece := answer.read(_PIECE):
        handle.write(piece)
        received += len(piece)
        advance(len(piece))
    return received


def _unavailable(address: str, why: str) -> SourceError:
    return SourceError(
        f"{address} cannot be had: it is not in the cache ({cache_folder()}), {absence()}, and {why}",
        cause="this machine is offline or behind a proxy, or the address no longer exists",
        fix="connect it (HTTPS_PROXY is respected), or put the file into a mirror folder that FTDEPLOY_MIRROR names",
    )
