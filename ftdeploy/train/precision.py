"""bf16 autocast where the processor has it *and* it is measured faster."""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy.hardware import has_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: bf16 must be this much faster: it also costs accuracy in the last digits.
WORTH = 1.15
ROUNDS = 3


@dataclass(frozen=True)
class Precision:
    """``fp32`` or ``bf16``, and why."""

    name: str
    reason: str


def choose_precision(wanted: str, device: str, network: PreTrainedModel, rows: Sequence[dict[str, Any]], *,
                     batch_size: int, work: Path) -> Precision:  # fmt: skip
    """The precision of the forward and backward passes.

    The choice is kept in ``work``: a run that resumes must go on in the precision it began with.

    Args:
        wanted: ``auto``, ``fp32`` or ``bf16``.
        device: ``cpu`` or ``cuda``.
        network: measured on a copy.
        rows: encoded training rows, as ``encode_rows`` gives them.
        batch_size: rows in a step.
        work: the stage's work folder.
    """
    note = work / "precision.json"
    if note.exists():
        return Precision(**json.loads(note.read_text(encoding="utf-8")))
    chosen = _choose(wanted, device, network, rows, batch_size)
    written = note.with_suffix(".partial")  # a full disk may cut it short
    written.write_text(json.dumps(asdict(chosen)), encoding="utf-8")
    written.rename(note)
    return chosen


def _choose(wanted: str, device: str, network: PreTrainedModel, rows: Sequence[dict[str, Any]],
            batch_size: int) -> Precision:  # fmt: skip
    import torch

    if wanted != "auto":
        return Precision(wanted, "set by the recipe")
    if device == "cuda":
        usable = torch.cuda.is_bf16_supported()
        return Precision("bf16", "the GPU has it") if usable else Precision("fp32", "this GPU has no bf16")
    if not has_bf16():
        return Precision("fp32", "this processor has no bf16 instructions")
    gain = round(_measure_gain(network, rows, batch_size), 2)  # what is shown is what was decided on
    return Precision("bf16" if gain >= WORTH else "fp32", f"bf16 autocast measured at {gain:.2f}x the speed of fp32")


def _measure_gain(network: PreTrainedModel, rows: Sequence[dict[str, Any]], batch_size: int) -> float:
    """Seconds of a training step in fp32 over seconds in bf16, alternating, on a batch of middling length."""
    import torch

    from ftdeploy.train.tokens import collate, row_lengths

    trial = copy.deepcopy(network).train()
    lengths = row_lengths(rows)
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    start = max(0, len(rows) // 2 - batch_size // 2)
    collated = collate([rows[index] for index in order[start : start + batch_size]], pad_id=0)
    batch = {name: collated[name] for name in ("input_ids", "attention_mask", "labels")}  # no weights, no teacher

    def step(dtype: torch.dtype | None) -> None:
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = trial(**batch).loss
        loss.backward()
        trial.zero_grad()

    with torch.random.fork_rng():
        step(None)
        step(torch.bfloat16)
        pairs = [(_seconds(step, None), _seconds(step, torch.bfloat16)) for _ in range(ROUNDS)]
    return statistics.median(slow / fast for slow, fast in pairs)


def _seconds(step: Callable[[Any], None], dtype: Any) -> float:
    started = time.perf_counter()
    step(dtype)
    return time.perf_counter() - started
