"""transformers' Trainer, told what ftdeploy promises: the same order after a resume, no silent NaN, progress shown."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from ftdeploy import progress
from ftdeploy.batching import pad
from ftdeploy.errors import TrainingError
from ftdeploy.metrics import METRICS, score
from ftdeploy.train.objective import batch_loss
from ftdeploy.train.optimizer import build_optimizer
from ftdeploy.train.resume import mark_complete
from ftdeploy.train.sampler import LengthGroupedBatches

if TYPE_CHECKING:
    import pyarrow as pa
    from torch.utils.data import DataLoader
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftdeploy.recipe import EarlyStopping, TrainSettings
    from ftdeploy.tasks import Task

Row = dict[str, Any]


def encode_rows(table: pa.Table, tokenizer: PreTrainedTokenizerBase, task: Task, labels: Sequence[str], *,
                max_length: int) -> list[Row]:  # fmt: skip
    """Rows as the network sees them: ``{"input_ids": list[int], "labels": int}``, cut at ``max_length`` tokens, and
    ``"weight": float`` where the table has such a column.

    Raises:
        DataError: a label that is not known.
    """
    targets = task.targets(table["label"].to_pylist(), labels).tolist()
    encoded = tokenizer(
        table["text"].to_pylist(), truncation=True, max_length=max_length, return_attention_mask=False,
        return_token_type_ids=False,
    )["input_ids"]  # fmt: skip
    rows: list[Row] = [{"input_ids": ids, "labels": target} for ids, target in zip(encoded, targets, strict=True)]
    if "weight" in table.column_names:
        for row, weight in zip(rows, table["weight"].to_pylist(), strict=True):
            row["weight"] = weight
    return rows


def collate(rows: Sequence[Row], *, pad_id: int) -> dict[str, torch.Tensor]:
    """A batch: ``input_ids`` and ``attention_mask`` int64 (rows, longest), ``labels`` int64 (rows,), and where the rows
    have one, ``weight`` float32 (rows,)."""
    ids, mask = pad([row["input_ids"] for row in rows], pad_id)
    batch = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.tensor([row["labels"] for row in rows]),
    }
    if "weight" in rows[0]:
        batch["weight"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
    return batch


class FineTuner(Trainer):  # type: ignore[misc]  # transformers ships no types
    """The Trainer with length-grouped batches, layer-wise rates and a loss that must be a number."""

    optimizer: torch.optim.Optimizer | None

    def __init__(self, *, settings: TrainSettings, pad_id: int, rows: Mapping[str, list[Row]], **kwargs: Any) -> None:
        self._settings = settings
        self.rows_seen = 0
        super().__init__(
            train_dataset=rows["train"],
            eval_dataset=rows["validation"],
            data_collator=lambda batch: collate(batch, pad_id=pad_id),
            **kwargs,
        )
        # Said for the Trainer to count the rows of accumulated batches, and to leave the division to compute_loss.
        self.model_accepts_loss_kwargs = True

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of alike length, in an order that a resumed run repeats."""
        rows = self.train_dataset
        batches = LengthGroupedBatches(
            [len(row["input_ids"]) for row in rows], batch_size=self._settings.batch_size, seed=self.args.seed
        )
        loader = torch.utils.data.DataLoader(rows, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]  # accelerate ships no types

    def create_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with layer-wise learning rates."""
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.model, self._settings)
        return self.optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> Any:  # fmt: skip
        """The recipe's objective; steps that are accumulated are added up so that each of their rows counts the same.

        Args:
            model: the network.
            inputs: a batch, as `collate` makes it.
            return_outputs: also return what the network answered.
            num_items_in_batch: rows in all the batches that are accumulated; None in an evaluation.
        """
        inputs = dict(inputs)
        targets, weights = inputs.pop("labels"), inputs.pop("weight", None)
        outputs = model(**inputs)
        loss = batch_loss(outputs["logits"], targets, weights, settings=self._settings)
        if num_items_in_batch is not None:
            loss = loss * (len(targets) / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One step; stops where the loss is no number, instead of training on nonsense for hours."""
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.rows_seen += len(inputs["labels"])
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1} of {self.state.max_steps}",
                cause=f"the learning rate ({self._settings.learning_rate:g}) is too high for this checkpoint, "
                "or its weights hold values that are not numbers",
                fix="lower train.learning_rate (by ten), lengthen train.warmup, or set train.precision: fp32",
            )
        return loss

    def fit(self, resumed: Path | None) -> None:
        """Train, from a checkpoint where there is one; the best (or last) weights are in ``model`` afterwards."""
        stopping = self._settings.early_stopping
        if resumed is not None and stopping is not None:
            # A run killed between its last checkpoint and its end had stopped already, and must not go on.
            state = type(self.state).load_from_json(str(resumed / "trainer_state.json"))
            if stalled(state.log_history, self.args.metric_for_best_model, stopping):
                self.args.num_train_epochs = math.ceil(state.epoch)
        with warnings.catch_warnings():
            # It falls back on the numbers in the folders' names, which is what is wanted.
            warnings.filterwarnings("ignore", "mtime may not be reliable", UserWarning)
            self.train(resume_from_checkpoint=str(resumed) if resumed else None)

    def history(self) -> list[dict[str, Any]]:
        """What was logged: loss, learning rate and validation metrics by step; nothing that depends on a clock.

        The Trainer's last entry is left out: its mean loss counts only the steps since a resume.
        """
        timed = ("runtime", "per_second", "flos")
        return [
            {name: value for name, value in entry.items() if not name.endswith(timed)}
            for entry in self.state.log_history
            if "train_runtime" not in entry
        ]


def build_trainer(network: PreTrainedModel, rows: Mapping[str, list[Row]], task: Task, settings: TrainSettings, *,
                  tokenizer: PreTrainedTokenizerBase, seed: int, device: str, precision: str,
                  work: Path) -> FineTuner:  # fmt: skip
    """A Trainer for a recipe; its checkpoints go into ``work``."""
    stopping = settings.early_stopping
    steps = math.ceil(len(rows["train"]) / settings.batch_size) * settings.epochs
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=precision == "bf16",
        use_cpu=device == "cpu",
        seed=seed,
        data_seed=seed,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,  # and the best one
        load_best_model_at_end=stopping is not None,
        metric_for_best_model=f"eval_{task.metrics[0]}",
        greater_is_better=True,
        logging_steps=max(1, steps // 100),
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        save_safetensors=True,
    )
    classes = len(network.config.id2label)

    def metrics(found: Any) -> dict[str, float]:
        guesses = task.predictions(found.predictions)
        return {name: score(METRICS[name], found.label_ids, guesses, classes) for name in task.metrics}

    # In the order in which they are asked.
    callbacks: tuple[TrainerCallback, ...] = (
        _Watch(),
        *([_Stop(f"eval_{task.metrics[0]}", stopping)] if stopping is not None else []),
    )
    trainer = FineTuner(
        settings=settings,
        pad_id=tokenizer.pad_token_id or 0,
        rows=rows,
        model=network,
        args=arguments,
        compute_metrics=metrics,
        callbacks=list(callbacks),
    )
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def stalled(log: Sequence[Mapping[str, Any]], metric: str, stopping: EarlyStopping) -> bool:
    """Whether the last ``patience`` evaluations brought nothing; from the log alone, so a resume changes nothing."""
    best, since = -math.inf, 0
    for value in (entry[metric] for entry in log if metric in entry):
        if value > best + stopping.min_delta:
            best, since = value, 0
        else:
            since += 1
    return since >= stopping.patience


class _Stop(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    def __init__(self, metric: str, stopping: EarlyStopping) -> None:
        self._metric, self._stopping = metric, stopping

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if stalled(state.log_history, self._metric, self._stopping):
            control.should_training_stop = True


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers ships no types
    """Shows progress, and marks checkpoints that are whole."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._advance: progress.Advance = lambda _steps: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._advance = self._open.enter_context(progress.task("train", state.max_steps))
        self._advance(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._advance(1)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # The loss since the last entry is not part of a checkpoint; logged here, nothing of it is lost by a resume.
        control.should_log = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **_: Any) -> None:
        shown = {name.removeprefix("eval_"): value for name, value in metrics.items() if "per_second" not in name}
        found = {name: value for name, value in shown.items() if name not in ("runtime", "epoch")}
        progress.say(f"epoch {round(state.epoch)}: {', '.join(f'{n} {v:.4f}' for n, v in found.items())}")
        progress.evaluated(step=state.global_step, epoch=state.epoch, metrics=found)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._open.close()
