"""Making what a contender has to have made first: once, in a child process, kept beside the run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ftdeploy import progress
from ftdeploy.artifact import Artifact, hash_folder, open_artifact, sha256_file
from ftdeploy.bench.contenders import Contender, check_contender
from ftdeploy.child import run_module
from ftdeploy.compress.tools.calibration import write_rows
from ftdeploy.dataset import SplitName, label_names, read_split
from ftdeploy.errors import ArtifactError, CompressionError
from ftdeploy.files import write_json
from ftdeploy.models.local import version_of_runtime
from ftdeploy.predictor import Predictor

#: What was made, as name -> sha256, beside it.
_FILES = "files.json"
#: Rows that quantization calibrates with; NNCF's default.
CALIBRATION_ROWS = 300
#: Neural Compressor's own tuning begins no further trial after so long (seconds); a tool that takes longer hangs.
TUNING, TIMEOUT = 900, 1800


@dataclass(frozen=True, kw_only=True)
class Source:
    """What contenders are made from.

    Attributes:
        onnx: the fp32 export.
        checkpoint: the folder of the checkpoint artifact.
        dataset: gives rows for calibration (training) and for tuning (validation).
        fp32: the export, open.
        work: where what was made is kept.
    """

    onnx: Artifact
    checkpoint: Path
    dataset: Artifact
    fp32: Predictor
    work: Path

    def rows(self, split: SplitName, count: int | None = None) -> tuple[list[list[int]], list[int]]:
        """Token ids and class ids of a split's rows, ``count`` of them at even distances."""
        table = read_split(self.dataset, split, columns=["text", "label"])
        if count is not None and count < table.num_rows:
            table = table.take([index * table.num_rows // count for index in range(count)])
        labels = self.fp32.task.targets(table["label"].to_pylist(), label_names(self.dataset))
        return [row.ids for row in self.fp32.encode(table["text"].to_pylist())], labels.tolist()


def folder_of(name: str, contender: Contender, source: Source) -> Path:
    """The folder that a contender is opened from; made now, unless it stands already as it was made.

    Raises:
        ArtifactError: the run's checkpoint is missing or was changed, or is not the one that was exported.
        CompressionError: its tool made nothing, with the tool's reason.
        DependencyError: a library is missing.
        DeviceError: the processor cannot run it.
    """
    libraries = check_contender(contender)
    if contender.tool is None:
        return source.onnx.path if contender.source == "onnx" else _checkpoint(source)
    # ONNX Runtime quantizes in the tools of `compress`, those of other libraries too.
    key = json.dumps([source.onnx.digest, contender.tool, libraries, version_of_runtime()])
    target = source.work / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not _intact(target):
        for old in source.work.glob("*"):
            if old.name.rpartition("-")[0] == name:  # of another export or library, half made, or damaged
                shutil.rmtree(old)
        progress.say(f"making {name}")
        _make(contender, source, target)
    return target


def _checkpoint(source: Source) -> Path:
    checkpoint = open_artifact(source.checkpoint)
    if checkpoint.digest not in source.onnx.made_from:
        raise ArtifactError(
            f"{source.onnx.path} was not made of the checkpoint artifact beside it",
            cause="the run went on after the export was made, and did not end",
            fix="run the recipe to its end, and measure then",
        )
    return checkpoint.path


def _intact(target: Path) -> bool:
    """Whether what was made stands there, and as it was made."""
    try:
        files = json.loads((target / _FILES).read_bytes())
        return all(sha256_file(target / name) == digest for name, digest in files.items())
    except (OSError, ValueError):
        return False


def _make(contender: Contender, source: Source, target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    scratch = partial / "scratch"  # the child's working directory: tools write into it
    scratch.mkdir(parents=True)
    try:
        module, tool = contender.tool or ("", "")
        made = scratch / contender.files[0]
        arguments: list[str | Path] = [
            tool,
            source.onnx.path.resolve(),
            made.resolve(),
            json.dumps(_options(source, scratch)),
        ]
        try:
            found = run_module(module, arguments, cwd=scratch, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise _failed(f"took longer than {TIMEOUT} s") from error
        if found.returncode != 0 or not made.is_file():
            raise _failed(_reason(found))
        for name in contender.files:
            if (scratch / name).is_file():
                (scratch / name).rename(partial / name)
        shutil.rmtree(scratch)
        for name in ("tokenizer.json", "signature.json"):
            shutil.copyfile(source.onnx.file(name), partial / name)
        write_json(partial / _FILES, hash_folder(partial)[1])
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _options(source: Source, scratch: Path) -> dict[str, str | int]:
    """What the tools may ask for; each takes what it needs. Test rows are not among it."""
    calibration, evaluation = (scratch.resolve() / f"{name}.npz" for name in ("calibration", "evaluation"))
    write_rows(calibration, source.rows("train", CALIBRATION_ROWS)[0])
    write_rows(evaluation, *source.rows("validation"))
    config = os.fspath((source.checkpoint / "config.json").resolve())
    return {
        "calibration": os.fspath(calibration), "evaluation": os.fspath(evaluation), "config": config, "seconds": TUNING
    }  # fmt: skip


def _reason(found: subprocess.CompletedProcess[str]) -> str:
    if found.returncode == 0:
        return "ended without an error and without a model"
    if found.returncode < 0:
        return f"killed by signal {-found.returncode} (9 is often the system, out of memory)"
    lines: Sequence[str] = found.stderr.strip().splitlines() or ["it said nothing"]
    return f"exit status {found.returncode}: {lines[-1][:300]}"


def _failed(reason: str) -> CompressionError:
    return CompressionError(
        reason, cause="its tool does not fit this model or this version", fix="leave this contender out"
    )
