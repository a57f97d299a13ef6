"""A bundle that is served or is to be, as the supervisor sees it: checked, and started as a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftdeploy.artifact import open_artifact
from ftdeploy.errors import ArtifactError, ServeError
from ftdeploy.serve.channel import Channel

#: In the source folder of every bundle that can be served like this.
ZYGOTE = "ftdeploy/serve/zygote.py"
#: Read by libraries while they are imported: none of them may start a thread before the forks.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "ORT_DISABLE_TELEMETRY": "1"}


@dataclass(eq=False, kw_only=True)
class Generation:
    """A zygote and its workers.

    Attributes:
        folder: the bundle's, without links.
        about: its name and the beginning of its digest.
        began: on the monotonic clock.
        ready: it has been.
        leaving: it was told to end, or has given up.
        seconds: that its workers may take to end.
    """

    folder: Path
    about: str
    process: subprocess.Popen[bytes]
    channel: Channel
    began: float
    ready: bool = False
    leaving: bool = False
    seconds: float = 0.0

    def leave(self, how: str) -> None:
        """Have it answer its clients and end."""
        self.channel.send({"do": how})
        self.leaving = True

    def kill(self) -> None:
        """End it at once, workers and all."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def ended(self, status: int) -> None:
        """Take note of its wait status."""
        self.process.returncode = os.waitstatus_to_exitcode(status)

    def finish(self) -> None:
        """Kill it, and wait until it is gone."""
        self.kill()
        self.process.wait()
        self.channel.close()


def check(folder: Path) -> str:
    """Make sure that a bundle is whole and can be served by this supervisor; gives its name and digest in short.

    Raises:
        ArtifactError: it is not a bundle, or not as it was sealed.
        ServeError: it was made before bundles could be served like this.
    """
    digest = open_artifact(folder, kind="bundle").digest
    if not (folder / "src" / ZYGOTE).is_file():
        raise ServeError(
            f"the bundle in {folder} has no {ZYGOTE}",
            cause="it was made by an older ftdeploy",
            # BentoML 1.4 takes a relative path for a module's name.
            fix=f"make it again, or serve it with `bentoml serve {shlex.quote(str(folder.absolute()))}`",
        )
    return f"{signature_of(folder).get('name')} {digest[:12]}"


def signature_of(folder: Path) -> dict[str, Any]:
    """A bundle's signature as it was written; `read_signature` would import more than the supervisor wants to hold.

    Raises:
        ArtifactError: it cannot be read.
    """
    path = folder / "src" / "model" / "signature.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {error}",
            cause="the bundle is not complete",
            fix="make the bundle again",
        ) from error


def spawn(folder: Path, about: str, *, number: int, sockets: Sequence[socket.socket], totals: Path,
          environment: Mapping[str, str]) -> Generation:  # fmt: skip
    """Start the zygote of a bundle that was checked.

    Args:
        folder: the bundle's.
        about: what `check` said of it.
        number: of this generation, never used twice.
        sockets: listening.
        totals: the folder of the metrics.
        environment: of the zygote.

    Raises:
        ServeError: the machine lets no more processes be started.
    """
    ours, theirs = socket.socketpair()
    order = {
        "control": theirs.fileno(),
        "sockets": [one.fileno() for one in sockets],
        "totals": os.fspath(totals),
        "generation": number,
    }
    paths = [os.fspath(folder / "src"), *filter(None, [environment.get("PYTHONPATH")])]
    try:
        process = subprocess.Popen(  # noqa: S603  # a fixed program, no shell
            # -P: nothing is taken of a folder ftdeploy in the working directory; the bundle's own comes first.
            [sys.executable, "-P", "-m", "ftdeploy.serve.zygote", json.dumps(order)],
            env=dict(environment) | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), *(one.fileno() for one in sockets)],
            process_group=0,  # a terminal's Ctrl-C is for the supervisor, and what does not end is killed as a group
        )
    except OSError as error:
        ours.close()
        raise ServeError(
            f"no process can be started to serve {folder}: {error.strerror}",
            cause="there is no memory, or there are too many processes or open files",
            fix="look at the limits of this user and of the container (ulimit -a)",
        ) from error
    finally:
        theirs.close()
    return Generation(folder=folder, about=about, process=process, channel=Channel(ours), began=time.monotonic())
