"""Peak memory of a model folder: in a process of its own, because memory that was once taken is seldom given back.

The child notes its peak after the imports, opens the model as the service does, and answers the fullest batches that
the service would make, in all lanes at once. What the peak has grown by since the imports is the model's.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from ftdeploy import progress
from ftdeploy.batching import SERVED, Batching
from ftdeploy.child import run_module
from ftdeploy.errors import ArtifactError
from ftdeploy.hardware import served_lanes
from ftdeploy.predictor import Predictor

#: Passes of the fullest batch in each lane; a second one takes no more, but for what the allocator keeps.
_PASSES = 2


def peak_memory(folder: Path, *, batching: Batching = SERVED, device: str = "auto") -> int:
    """Bytes of resident memory at most, above those of a process that has only imported what it needs.

    The interpreter and the libraries are left out: they are the same for every model, and would hide a small one. On
    a GPU this is the memory of the host alone.

    Args:
        folder: a model folder.
        batching: how the service runs a model: budget, threads, and passes at the same time.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ArtifactError: the folder is not a model folder or is damaged, or the model fails.
    """
    arguments = [str(folder.resolve()), json.dumps(asdict(batching)), device]
    found = run_module("ftdeploy.memory", arguments)
    if found.returncode != 0:
        lines = found.stderr.strip().splitlines() or [f"exit status {found.returncode}"]
        raise ArtifactError(
            f"the memory of {folder} cannot be measured: {lines[-1][:300]}",
            cause="the model cannot be opened or run, or the machine has too little memory for it",
            fix="make the artifact again, or lower serve.batch_tokens",
        )
    return int(found.stdout)


def peak_memories(folders: Mapping[str, Path], runs: int, *, batching: Batching = SERVED,
                  device: str = "auto") -> dict[str, tuple[int, ...]]:  # fmt: skip
    """`peak_memory` of several folders, ``runs`` times each, taking turns: name -> a value a run."""
    found: dict[str, tuple[int, ...]] = dict.fromkeys(folders, ())
    with progress.task("peak memory", total=runs * len(folders)) as advance:
        for _ in range(runs):
            for name, folder in folders.items():
                found[name] += (peak_memory(folder, batching=batching, device=device),)
                advance(1)
    return found


def _peak() -> int:
    """Bytes that this process has held at most.

    On Linux not from getrusage: its figure survives the exec, and would be the parent's (getrusage(2), proc(5)).
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _main(folder: str, batching: str, device: str) -> None:
    import onnx  # noqa: F401  # opening a model imports these, and they are not the model's
    import onnxruntime  # noqa: F401

    limits = Batching(**json.loads(batching))
    lanes, threads = served_lanes(limits, device)
    before = _peak()
    predictor = Predictor(Path(folder), threads=threads, device=device)
    longest = predictor.encode(["warm " * predictor.signature.max_length])[0].ids
    full = [longest] * max(1, min(limits.rows, limits.tokens // len(longest)))
    together = threading.Barrier(lanes)

    def answer(_lane: int) -> None:
        for _ in range(_PASSES):
            together.wait()
            predictor.run(full)

    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(answer, range(lanes)))
    sys.stdout.write(str(_peak() - before))


if __name__ == "__main__":
    _main(*sys.argv[1:])
