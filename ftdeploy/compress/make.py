"""Making model folders: a chain of steps from the fp32 export, each distinct beginning of a chain made once.

A step that fails leaves its reason, and whatever would have been made of it has the same. Everything stands in the
work folder, whole or not at all, so that a killed search goes on where it was.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftdeploy.child import run_module
from ftdeploy.compress.cascade import join
from ftdeploy.compress.students import Cut, School, make_student, spare_last_layer
from ftdeploy.compress.tools import graph, int8
from ftdeploy.compress.tools.quantizers import QUANTIZERS, Quantizer
from ftdeploy.compress.vocabulary import trim_vocabulary
from ftdeploy.errors import FtdeployError
from ftdeploy.files import write_json
from ftdeploy.session import reason_of
from ftdeploy.signature import SessionOptions, read_signature, write_signature
from ftdeploy.stage import out_of_space

#: A tool that takes longer (seconds) hangs.
TIMEOUT = 1800
#: What may go wrong in this process where a model is made: of torch's, no memory, no inverse, no such operator.
_FAULTS = (FtdeployError, RuntimeError, MemoryError)
VOCABULARY = "vocabulary"
CASCADE = "cascade"
FIRST_TOKEN = "first-token"  # noqa: S105  # no password: a token of a text
#: Modules that tell whether an extra is installed.
_MODULES = {"compress": "neural_compressor", "onnx-nc": "onnx_neural_compressor", "train": "optimum"}


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What a candidate is: steps from the fp32 export, and the session options that it runs with.

    Attributes:
        steps: names: a student's, ``first-token``, a quantizer's (with ``-mixed-K`` behind it for the K most sensitive
            layers in float), ``vocabulary``, ``cascade``.
        session: options; None leaves those of the model.
        label: stands behind the steps in the name, for a choice of options.
        second: of a cascade, the steps of the model that answers what the one before is not sure of.
        margin: of a cascade, how far apart the two highest logits are where it is.
    """

    steps: tuple[str, ...] = ()
    session: SessionOptions | None = None
    label: str = ""
    second: tuple[str, ...] = ()
    margin: float = 0.0

    @property
    def name(self) -> str:
        """As in reports."""
        return "+".join((*self.steps, self.label) if self.label else self.steps) or "fp32"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A model folder, or the reason why there is none; and the seconds that its last step took."""

    folder: Path | None
    reason: str = ""
    seconds: float = 0.0
    absent: bool = False
    """The reason is that something is not installed."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What steps need.

    Attributes:
        onnx: folder of the fp32 export.
        config: the checkpoint's config.json.
        calibration: file of training rows (see ``tools.calibration.write_rows``), with labels.
        texts: of the training rows.
        safety: tokens that vocabulary trimming keeps beside those of the texts.
        reduce_range: whether int8 weights shall need no VNNI (see ``tools.int8``).
        school: how students are made; None where there are none.
        work: the stage's work folder.
    """

    onnx: Path
    config: Path
    calibration: Path
    texts: Sequence[str]
    safety: int
    reduce_range: bool
    school: School | None
    work: Path

    def make(self, chain: Chain, *, exclude: Mapping[str, Sequence[str]] | None = None, cut: Cut | None = None,
             seconds: float = 0.0) -> Made:  # fmt: skip
        """The model folder of a chain.

        Args:
            chain: what to make.
            exclude: by step, the nodes that it leaves in float.
            cut: the shape of the student among the steps, when it is not made yet.
            seconds: for teaching it.
        """
        made = Made(folder=self.onnx)
        for end in range(1, len(chain.steps) + 1):
            source = made.folder
            if source is None:
                return made
            made = self._step(chain, end, source, exclude=(exclude or {}).get(chain.steps[end - 1], ()), cut=cut,
                              seconds=seconds)  # fmt: skip
        if made.folder is None or chain.session is None:
            return made
        folder = self.work / "sessions" / chain.name
        if not folder.exists():
            _with_session(made.folder, folder, chain.session)
        return Made(folder=folder, seconds=made.seconds)

    def _step(self, chain: Chain, end: int, source: Path, *, exclude: Sequence[str], cut: Cut | None,
              seconds: float) -> Made:  # fmt: skip
        """The folder behind so many steps; made when it is not there."""
        place = self.work / "made" / "+".join(chain.steps[:end])
        note = place.with_name(place.name + ".json")
        if note.exists():
            found = json.loads(note.read_text(encoding="utf-8"))
            folder = None if found["reason"] else place
            return Made(folder=folder, **{name: found[name] for name in ("reason", "seconds", "absent")})
        began = time.monotonic()
        reason, absent = self._run(chain, end, source, place, exclude=exclude, cut=cut, seconds=seconds)
        shutil.rmtree(place.with_name(place.name + ".partial"), ignore_errors=True)  # what a failed step left
        took = time.monotonic() - began
        write_json(note, {"reason": reason, "seconds": took, "absent": absent})
        return Made(folder=None if reason else place, reason=reason, seconds=took, absent=absent)

    def _run(self, chain: Chain, end: int, source: Path, place: Path, *, exclude: Sequence[str], cut: Cut | None,
             seconds: float) -> tuple[str, bool]:  # fmt: skip
        """Run the last of so many steps; why it made nothing, and whether that is for want of an installed part."""
        step = chain.steps[end - 1]
        shutil.rmtree(place, ignore_errors=True)
        if cut is not None and step == cut.name:
            return self._student(cut, place, seconds), False
        if step == VOCABULARY:
            return self._trim(source, place), False
        if step == FIRST_TOKEN:
            return self._first_token(place), False
        if step == CASCADE:
            return self._cascade(chain, source, place), False
        quantizer = QUANTIZERS[step.partition("-mixed-")[0]]
        missing = _missing(quantizer)
        if missing:
            return missing, True
        return self._quantize(quantizer, source, place, exclude), False

    def _student(self, cut: Cut, place: Path, seconds: float) -> str:
        if self.school is None:
            return "there is no checkpoint to make a student of"
        work, partial = self.work / cut.name, place.with_name(place.name + ".partial")
        work.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            found = make_student(self.school, cut, seconds=seconds, work=work, out=partial)
        except _FAULTS as error:
            return _what(error)
        (partial / "student.json").write_text(json.dumps(found), encoding="utf-8")
        partial.rename(place)
        shutil.rmtree(work, ignore_errors=True)
        return ""

    def _first_token(self, place: Path) -> str:
        if self.school is None:
            return "there is no checkpoint to export again"
        partial = place.with_name(place.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            spared = spare_last_layer(self.school, out=partial)
        except _FAULTS as error:
            return _what(error)
        if not spared:
            return "this model reads more than the first token's output, or is of an architecture that is not known"
        partial.rename(place)
        return ""

    def _cascade(self, chain: Chain, source: Path, place: Path) -> str:
        second = self.make(Chain(steps=chain.second))
        if second.folder is None:
            return f"{'+'.join(chain.second)}: {second.reason}"
        try:
            join(source, second.folder, place, margin=chain.margin)
        except FtdeployError as error:
            return error.what
        return ""

    def _trim(self, source: Path, place: Path) -> str:
        try:
            trim_vocabulary(source, place, self.texts, safety=self.safety)
        except FtdeployError as error:
            return error.what
        return ""

    def _quantize(self, quantizer: Quantizer, source: Path, place: Path, exclude: Sequence[str]) -> str:
        options: dict[str, Any] = {**quantizer.options, "reduce_range": self.reduce_range}
        files = {"calibration": (quantizer.needs_calibration, self.calibration),
                 "known": (quantizer.tool == "calibrated", self.work / "ranges"),
                 "evaluation": (quantizer.needs_labels, self.calibration),
                 "config": (quantizer.needs_config, self.config)}  # fmt: skip
        options |= {name: os.fspath(path.resolve()) for name, (wanted, path) in files.items() if wanted}
        if exclude:
            options["exclude"] = list(exclude)
        # The tools write into the folder, so it gets its name when they are through.
        partial = place.with_name(place.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "tool").mkdir(parents=True)
        made = partial / "tool" / "model.onnx"
        # Absolute, because the child has a working directory of its own.
        arguments: list[str | Path] = [quantizer.tool, source.resolve(), made.resolve(), json.dumps(options)]
        try:
            found = run_module("ftdeploy.compress.worker", arguments, cwd=partial / "tool", timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return f"took longer than {TIMEOUT} s"
        if found.returncode != 0 or not made.is_file():
            if out_of_space(partial):
                # Not this candidate's fault; without it, a full disk would choose the model.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(partial))
            return _reason(found)
        made.rename(partial / "model.onnx")
        signature = read_signature(source)
        exact = int8.may_saturate(graph.load(partial / "model.onnx"))
        session = signature.session.model_copy(update={"exact_int8": exact})
        write_signature(partial, signature.model_copy(update={"session": session}))
        shutil.copyfile(source / "tokenizer.json", partial / "tokenizer.json")
        shutil.rmtree(partial / "tool")
        partial.rename(place)
        return ""


def _what(error: FtdeployError | RuntimeError | MemoryError) -> str:
    return error.what if isinstance(error, FtdeployError) else reason_of(error)


def _missing(quantizer: Quantizer) -> str:
    module = _MODULES.get(quantizer.extra or "")
    if module is None or find_spec(module) is not None:
        return ""
    return f"{module} is not installed (extra `{quantizer.extra}`)"


def _with_session(source: Path, folder: Path, session: SessionOptions) -> None:
    """The same model with other session options."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("model.onnx", "tokenizer.json"):
        shutil.copyfile(source / name, partial / name)
    write_signature(partial, read_signature(source).model_copy(update={"session": session}))
    partial.rename(folder)


def _reason(found: subprocess.CompletedProcess[str]) -> str:
    if found.returncode == 0:
        return "ended without an error and without a model"
    if found.returncode < 0:
        return f"killed by signal {-found.returncode} (9 is often the system, out of memory)"
    lines = found.stderr.strip().splitlines() or ["it said nothing"]
    return f"exit status {found.returncode}: {lines[-1][:300]}"
