"""A data set or checkpoint of the Hugging Face hub, or a local folder laid out as one."""

from __future__ import annotations

import errno
from pathlib import Path

import yaml

from ftdeploy import progress
from ftdeploy.errors import DependencyError, SourceError

_README = 100_000  # characters that are looked at
# Never weights as pickles, never code.
_MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")


def fetch(name: str | Path, *, revision: str | None, dataset: bool) -> Path:
    """The local folder of a hub repository. ``HF_HUB_OFFLINE`` and the hub's own cache are respected.

    Args:
        name: ``owner/name``, or a local folder in the hub's layout.
        revision: commit, tag or branch; None is ``main``.
        dataset: a data set, and not a model.

    Raises:
        SourceError: no such repository or folder, or no network.
        DependencyError: huggingface_hub is not installed.
    """
    if isinstance(name, Path):
        if not name.is_dir():
            raise SourceError(
                f"{name} is not a folder",
                cause="`hub` takes a name on the hub or a local folder in the hub's layout",
                fix="correct the path (it is relative to the recipe's folder), or use `path:` for a file",
            )
        return name
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import (
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
        )
    except ImportError as error:
        raise DependencyError(
            f"`hub: {name}` needs the package huggingface_hub",
            cause="ftdeploy was installed without its training extra",
            fix="pip install 'ftdeploy[train]'",
        ) from error
    kind = "dataset" if dataset else "model"
    patterns = None if dataset else list(_MODEL_FILES)
    try:
        with progress.task(f"fetch {name} from the hub"):
            folder = snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=patterns)
    except HFValidationError as error:
        raise SourceError(
            f"{name!r} is not a name on the hub",
            cause="names there are `owner/name`",
            fix="correct it; a local folder begins with ./ or /",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        if error.errno == errno.ENOSPC:
            raise
        # Connection errors of requests are OSErrors, and so are the hub's answers of 401 and 404.
        refused = isinstance(error, HfHubHTTPError)
        why = str(error).splitlines()[0] if refused else "the hub cannot be reached, or HF_HUB_OFFLINE is set"
        raise SourceError(
            f"{kind} {name}@{revision or 'main'} cannot be had from the hub: {why}",
            cause="the name or revision is wrong, or it wants a login"
            if refused
            else "this machine is offline, and the hub's cache has no copy",
            fix="check the name on the hub, and `huggingface-cli login`"
            if refused
            else "fetch it where there is a "
            "network and name the folder (`hub: ./folder`), or use `package:` or `url:` with a mirror",
        ) from error
    return Path(folder)


def licence(folder: Path) -> str:
    """The licence that the YAML at the top of a local folder's README.md states, as the hub shows it; else empty."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:_README]
        document = yaml.safe_load(text.split("---", 2)[1]) if text.startswith("---") else None
    except (OSError, yaml.YAMLError, IndexError):
        return ""
    stated = document.get("license") if isinstance(document, dict) else None
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or "")
