# ruff: noqa: ARG002 - callbacks take what the Trainer hands them, by its names
"""What happens around the steps: progress, the log, when a checkpoint is whole, when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from ftdeploy import progress
from ftdeploy.train.resume import mark_complete, write_seconds

if TYPE_CHECKING:
    from ftdeploy.recipe import EarlyStopping


def stalled(log: Sequence[Mapping[str, Any]], metric: str, stopping: EarlyStopping) -> bool:
    """Whether the last ``patience`` evaluations brought nothing; from the log alone, so a resume changes nothing.

    Args:
        log: entries of the training.
        metric: its key in them; of ``eval_loss`` less is better, of all others more.
        stopping: patience, and what counts as improvement.
    """
    sign = -1 if metric == "eval_loss" else 1
    best, since = -math.inf, 0
    for value in (sign * entry[metric] for entry in log if metric in entry):
        if value > best + stopping.min_delta:
            best, since = value, 0
        else:
            since += 1
    return since >= stopping.patience


class Stop(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Early stopping.

    Args:
        metric: key in the log.
        stopping: the recipe's section.
    """

    def __init__(self, metric: str, stopping: EarlyStopping) -> None:
        self._metric, self._stopping = metric, stopping

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop when nothing was gained for a while."""
        if stalled(state.log_history, self._metric, self._stopping):
            control.should_training_stop = True


class Watch(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Shows progress, has the log written where a run may resume, and marks checkpoints that are whole.

    Attributes:
        before: seconds that earlier runs of this training took.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self._began = time.monotonic()
        self._open = ExitStack()
        self._advance: progress.Advance = lambda _steps: None

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show what a resumed run has done already."""
        self._advance = self._open.enter_context(progress.task("train", state.max_steps))
        self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """One step further; the last weights are evaluated, also when steps do not divide evenly."""
        self._advance(1)
        if state.global_step >= state.max_steps and args.eval_strategy == "steps":
            control.should_evaluate = True
        # The loss since the last entry is not part of a checkpoint; logged here, nothing of it is lost by a resume.
        control.should_log = control.should_log or control.should_save

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Likewise at the end of an epoch."""
        control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The checkpoint is whole."""
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_seconds(checkpoint, self.seconds)
        mark_complete(checkpoint)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **_: Any) -> None:
        """Say what was found."""
        shown = {name.removeprefix("eval_"): value for name, value in metrics.items() if "per_second" not in name}
        found = {name: value for name, value in shown.items() if name not in ("runtime", "epoch")}
        progress.say(f"epoch {round(state.epoch, 2):g}: {', '.join(f'{n} {v:.4f}' for n, v in found.items())}")
        progress.evaluated(step=state.global_step, epoch=state.epoch, metrics=found)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Nothing more to show."""
        self._open.close()
