"""Where data and checkpoints come from: a path, an address, a package, a hub; and whether the bytes are the right ones.

Looked up in this order: a verified copy in the cache (``FTDEPLOY_CACHE``, else ``~/.cache/ftdeploy``), the mirror
folder (``FTDEPLOY_MIRROR``), the network. Whatever has a sha256 is checked against it before it is read. Nothing of
what is fetched is executed: a package is unpacked, never installed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftdeploy import progress
from ftdeploy.artifact import sha256_file
from ftdeploy.errors import SourceError, did_you_mean
from ftdeploy.origin import Origin, Source
from ftdeploy.sources import archive, hub, package, url
from ftdeploy.sources.cache import digest_path, mismatch
from ftdeploy.sources.mirror import find_entry

__all__ = ["describe", "fingerprint", "fingerprints", "resolve"]


def resolve(origin: Origin) -> Path:
    """The local file or folder that an origin names, fetched and checked where necessary; its licence and citation are
    said, where they are known.

    Raises:
        SourceError: it is missing, cannot be fetched, has another sha256, or the archive has no such member.
    """
    found = _resolve(origin)
    described = describe(origin)
    known = [described[key] for key in ("licence", "citation") if key in described]
    if known:
        progress.say(f"{described['source']}: {'; '.join(known)}")
    return found


def _resolve(origin: Origin) -> Path:
    if origin.hub is not None:
        return hub.fetch(origin.hub, revision=origin.revision, dataset=isinstance(origin, Source))
    if origin.path is not None:
        found = _existing(origin.path)
        if origin.sha256 is not None and digest_path(found) != origin.sha256:
            raise mismatch(str(found), stated=origin.sha256, found=digest_path(found))
        if origin.member is None:
            return found
        if found.is_dir():
            return _existing(found / origin.member)
        return archive.take(found, origin.member, sha256=sha256_file(found))
    if origin.url is not None:
        found = url.fetch(origin.url, sha256=str(origin.sha256))
        return found if origin.member is None else archive.take(found, origin.member, sha256=str(origin.sha256))
    found = package.fetch(str(origin.package), sha256=origin.sha256)
    return archive.take(found, origin.member or "", sha256=origin.sha256 or sha256_file(found))


def fingerprint(origin: Origin) -> dict[str, str]:
    """What identifies the bytes behind an origin, without a network; it belongs to the key of the stage that reads it.

    Returns:
        ``content``: sha256 of a local file, digest of a local folder, or the pinned sha256, version or revision;
        ``loader``: sha256 of the loader's source file, where there is one.

    Raises:
        SourceError: a local file, folder or loader is missing.
    """
    found: dict[str, str] = {}
    if origin.path is not None:
        found["content"] = digest_path(_existing(origin.path))
    elif isinstance(origin.hub, Path):
        found["content"] = digest_path(_existing(origin.hub))
    else:
        found["content"] = origin.sha256 or origin.package or f"{origin.hub}@{origin.revision or 'main'}"
    if isinstance(origin, Source) and origin.loader is not None:
        file = Path(str(origin.loader).rpartition(":")[0])
        found["loader"] = digest_path(_existing(file))
    return found


def fingerprints(origins: Sequence[Origin]) -> dict[str, str]:
    """What identifies the bytes behind several origins: that of the only one, or all with their positions.

    Raises:
        SourceError: a local file, folder or loader is missing.
    """
    if len(origins) == 1:
        return fingerprint(origins[0])
    found = [fingerprint(origin) for origin in origins]
    return {f"{place}.{key}": value for place, one in enumerate(found, start=1) for key, value in one.items()}


def describe(origin: Origin) -> dict[str, str]:
    """An origin in words, for reports and the model card: ``source``; ``licence`` and ``citation`` where the recipe
    states them, else the mirror's index (its ``about`` is the citation), else (a licence) the package's metadata or the
    README of a local folder in the hub's layout. A local path is given by its name only. Nothing is fetched.
    """
    if origin.path is not None:
        words = f"file {origin.path.name}"
    elif origin.hub is not None:
        words = f"hub {origin.hub.name if isinstance(origin.hub, Path) else origin.hub}@{origin.revision or 'main'}"
    else:
        words = f"package {origin.package}" if origin.package else str(origin.url)
    words += f", {origin.member}" if origin.member else ""
    address = origin.url or (f"pypi:{origin.package}" if origin.package else None)
    entry = find_entry(address, sha256=origin.sha256) if address else None
    licence = origin.licence or (entry.licence if entry else "")
    if isinstance(origin.hub, Path) and not licence:
        licence = hub.licence(origin.hub)
    if origin.package is not None and not licence:
        licence = package.licence(origin.package, sha256=origin.sha256)
    citation = origin.citation or (entry.about if entry else "")
    known = {"licence": licence, "citation": citation}
    return {"source": words} | {key: value for key, value in known.items() if value}


def _existing(path: Path) -> Path:
    if path.exists():
        return path
    siblings = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = did_you_mean(path.name, siblings[:200])
    raise SourceError(
        f"{path} does not exist",
        cause="the path is wrong; paths in a recipe are relative to the recipe's own folder",
        fix=hint if hint.startswith("did you mean") else "correct the path in the recipe",
    )
