"""Runs one compression tool in a process of its own: ``python -m ftdeploy.compress.worker TOOL SOURCE OUT OPTIONS``.

SOURCE is a model folder, OUT the ONNX file to make, OPTIONS a JSON object. These tools exit, log errors and return
None, change global state and write into the working directory. A child process keeps all that away, and whatever
happens becomes one reason on its last line of stderr. A file at OUT is whole: it is written beside it and renamed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy.compress.tools import TOOLS, Tool, graph, int8
from ftdeploy.errors import CompressionError


def make(tool: Tool, source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Run a tool, and put what it made at ``out``, as one file; its int8 weights need no VNNI where asked.

    Args:
        tool: what to run.
        source: a model folder.
        out: the file; its folder exists, and may be written into.
        options: of the tool; and ``reduce_range`` (see `ftdeploy.compress.tools.int8.reduced`).

    Raises:
        CompressionError: it made no model, or one that is not its source's kind.
    """
    unfinished = out.with_name(f"unfinished-{out.name}")
    tool(source, unfinished, options)
    if not unfinished.is_file() or not unfinished.stat().st_size:
        raise _no_model("ended without an error and without a model")
    before, after = graph.load(source / "model.onnx"), graph.load(unfinished)
    for role, were, are in (
        ("inputs", before.graph.input, after.graph.input),
        ("outputs", before.graph.output, after.graph.output),
    ):
        names = [[one.name for one in side] for side in (were, are)]
        if names[0] != names[1]:
            raise _no_model(f"changed the model's {role} from {', '.join(names[0])} to {', '.join(names[1]) or 'none'}")
    scaled = int8.reduced(options) and int8.fit_pairs(after, before)
    smaller = graph.drop_unread(after)
    external = [tensor for tensor in after.graph.initializer if tensor.external_data]
    if scaled or smaller or external or any(out.parent.glob(f"{unfinished.name}[_.]*data*")):
        graph.save(after, unfinished)  # the weights were loaded with it
        for data in out.parent.glob(f"{unfinished.name}[_.]*data*"):
            data.unlink()
    unfinished.replace(out)


def _no_model(what: str) -> CompressionError:
    return CompressionError(
        what, cause="the tool does not fit this model or this version", fix="leave this candidate out"
    )


def main(tool: str, source: str, out: str, options: str) -> int:
    """Make one model; the exit status says whether it stands at ``out``, the last line of stderr says why not."""
    try:
        make(TOOLS[tool], Path(source), Path(out), json.loads(options))
    except SystemExit as error:  # onnx-neural-compressor and Neural Compressor call exit(0) where they give up
        reason = f"ended without an error and without a model (it called exit({error.code!r}))"
    except Exception as error:  # noqa: BLE001  # whatever a tool raises is this candidate's reason, not the search's end
        # Some of ONNX Runtime's messages begin with an empty line.
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or ['(it says nothing)'])[0]}"
    else:
        return 0
    sys.stderr.write(f"\n{reason}\n")
    return 1


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    sys.stderr.flush()
    # The tools register functions for the end of the process; one that fails would write below our last line.
    os._exit(status)
