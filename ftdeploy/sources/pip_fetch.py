"""Find and fetch one file of a package index with pip's own finder and session; run as a script, by path.

``python pip_fetch.py NAME VERSION SHA256-OR-EMPTY FOLDER`` prints ``{"file": NAME}`` or ``{"error": WHY}``.

pip promises nothing about its modules; these names have stood since pip 19.3. If they go, the error says so, and
wheels are still fetched with ``pip download --only-binary``, which executes nothing either.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

# Both kinds of file, of every Python: nothing of them is executed here.
_OPTIONS = ["--no-deps", "--ignore-requires-python", "--no-binary=:none:", "--only-binary=:none:", "--retries=1"]


class _Heard(logging.Handler):
    """Remembers pip's last warning, which is the only place where it says that an index did not answer."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage().strip()


def main(name: str, version: str, sha256: str, folder: str) -> dict[str, str]:
    """Fetch the file; see the module."""
    heard = _Heard(level=logging.WARNING)
    logging.getLogger().addHandler(heard)
    try:
        from pip._internal.commands import create_command
    except ImportError as error:
        return {"error": f"this Python has no usable pip ({error})"}
    command: Any = create_command("download")
    try:
        options, _ = command.parse_args([*_OPTIONS, f"{name}=={version}"])
        with command.main_context():
            session = command.get_default_session(options)
            finder = command._build_package_finder(options, session)  # noqa: SLF001 - see the module
            files = [found for found in finder.find_all_candidates(name) if str(found.version) == version]
            return _choose_and_fetch(files, session, sha256, Path(folder)) or {
                "error": heard.last or f"the index has no version {version} of {name}"
            }
    except (AttributeError, TypeError) as error:
        return _wheel_only(name, version, Path(folder)) or {"error": f"this pip is not understood: {error}"}


def _choose_and_fetch(files: list[Any], session: Any, sha256: str, folder: Path) -> dict[str, str] | None:
    if not files:
        return None
    pinned = [found for found in files if sha256 and found.link.hash == sha256]
    unknown = [found for found in files if found.link.hash is None]
    offered = pinned or (unknown if sha256 else files)
    if not offered:
        sums = ", ".join(f"{found.link.filename} sha256 {found.link.hash}" for found in files)
        return {"error": f"sha256 {sha256} is expected and the index offers {sums}"}
    link = min(offered, key=lambda found: not found.link.is_wheel).link
    answer = session.get(link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"})
    answer.raise_for_status()
    with (folder / link.filename).open("wb") as handle:
        # The bytes as sent; for a file: index, `raw` is an ordinary file.
        while piece := answer.raw.read(1 << 20):
            handle.write(piece)
    return {"file": link.filename}


def _wheel_only(name: str, version: str, folder: Path) -> dict[str, str] | None:
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["-d", str(folder), f"{name}=={version}"]
    subprocess.run(command, check=False, stdout=sys.stderr)  # noqa: S603 - a fixed program, no shell
    fetched = next(folder.glob("*.whl"), None)
    return {"file": fetched.name} if fetched else None


if __name__ == "__main__":
    try:
        result = main(*sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - whatever pip raises becomes one line for the parent
        result = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(result))
