"""Making the candidates' model folders, one child process a tool; a failure is a result with its reason."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.child import run_module
from ftdeploy.compress.candidates import Candidate
from ftdeploy.signature import read_signature, write_signature
from ftdeploy.stage import out_of_space

#: Tools that run at once. Each loads its framework for seconds on one processor.
AT_ONCE = 2
#: A tool that takes longer (seconds) hangs.
TIMEOUT = 1800


@dataclass(frozen=True, kw_only=True)
class Built:
    """A candidate's model folder, or the reason why there is none."""

    candidate: Candidate
    folder: Path | None
    reason: str = ""


def build_all(candidates: Sequence[Candidate], onnx: Artifact, config: Path, work: Path) -> list[Built]:
    """Make every candidate's folder below ``work``; those that a killed run finished are taken as they are.

    Args:
        candidates: what to make.
        onnx: the fp32 export.
        config: the checkpoint's config.json, which Optimum wants.
        work: the stage's work folder.
    """
    tools = sorted({candidate.tool for candidate in candidates if candidate.tool is not None})
    with progress.task("make candidates", len(tools)) as advance, ThreadPoolExecutor(AT_ONCE) as pool:

        def run(tool: str) -> str:
            reason = _run_tool(tool, onnx.file("model.onnx"), config, work / tool)
            advance(1)
            return reason

        reasons = dict(zip(tools, pool.map(run, tools), strict=True))
    return [_folder(candidate, reasons.get(candidate.tool or "", ""), onnx, work) for candidate in candidates]


def _run_tool(tool: str, source: Path, config: Path, folder: Path) -> str:
    """Run one tool; an empty string, or the reason why it made no model."""
    done = folder / "model.onnx"
    if done.exists():
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = folder / "unfinished.onnx"
    # Absolute, because the child has a working directory of its own: the tools write into it.
    arguments: list[str | Path] = [tool, *(path.resolve() for path in (source, config, made))]
    try:
        found = run_module("ftdeploy.compress.worker", arguments, cwd=folder, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"took longer than {TIMEOUT} s"
    (folder / "log.txt").write_text(found.stdout + found.stderr, encoding="utf-8")
    if found.returncode == 0 and made.is_file() and made.stat().st_size:
        made.rename(done)
        return ""
    if out_of_space(folder):
        # Not this candidate's fault; without it, a full disk would choose the model.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(folder))
    return _reason(found)


def _reason(found: subprocess.CompletedProcess[str]) -> str:
    if found.returncode == 0:
        return "ended without an error and without a model"
    if found.returncode < 0:
        return f"killed by signal {-found.returncode} (9 is often the system, out of memory)"
    lines = found.stderr.strip().splitlines() or ["it said nothing"]
    return f"exit status {found.returncode}: {lines[-1][:300]}"


def _folder(candidate: Candidate, reason: str, onnx: Artifact, work: Path) -> Built:
    if reason:
        return Built(candidate=candidate, folder=None, reason=reason)
    if candidate.tool is None:
        return Built(candidate=candidate, folder=onnx.path)
    folder = work / f"candidate-{candidate.name}"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(work / candidate.tool / "model.onnx", folder / "model.onnx")
    shutil.copyfile(onnx.file("tokenizer.json"), folder / "tokenizer.json")
    signature = read_signature(onnx.path)
    write_signature(folder, signature.model_copy(update={"session": candidate.session}))
    return Built(candidate=candidate, folder=folder)
