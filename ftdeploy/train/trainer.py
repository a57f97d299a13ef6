"""transformers' Trainer, told what ftdeploy promises: the same order after a resume, no silent NaN, progress shown."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from ftdeploy.tasks.token_classification import IGNORED
from ftdeploy.train.averaging import AverageWeights, choose_average
from ftdeploy.train.cache import ActivationCache, choose_boundaries
from ftdeploy.train.callbacks import Stop, Watch, stalled
from ftdeploy.train.divergence import check_finite, check_log
from ftdeploy.train.objective import batch_loss
from ftdeploy.train.optimizer import build_optimizer, layer_count
from ftdeploy.train.regularize import layer_matrices, mix_out
from ftdeploy.train.resume import seconds_before
from ftdeploy.train.sampler import LengthGroupedBatches, TokenBudgetBatches
from ftdeploy.train.schedule import Plan, build_schedule, plan_steps
from ftdeploy.train.tokens import Row, collate, mean_weight, row_lengths
from ftdeploy.train.unfreeze import Stages, plan_unfreezing, rates
from ftdeploy.train.validation import evaluated_batches, pool_of, validation_metrics, watched_metric

if TYPE_CHECKING:
    from torch.utils.data import DataLoader
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ftdeploy.recipe import TrainSettings
    from ftdeploy.tasks import Task
    from ftdeploy.windows import Pooling

#: Labels of which guessing has about the loss that it has of numbers with a variance of 1.
_OF_A_NUMBER = 3


class FineTuner(Trainer):  # type: ignore[misc]  # transformers ships no types
    """The Trainer with length-grouped batches, layer-wise rates and a loss that must be a number."""

    optimizer: torch.optim.Optimizer | None
    lr_scheduler: Any

    def __init__(self, *, settings: TrainSettings, pad_id: int, rows: Mapping[str, Sequence[Row]],
                 batches: LengthGroupedBatches | TokenBudgetBatches, plan: Plan, stages: Stages | None,
                 average: AverageWeights | None, watch: Watch, **kwargs: Any) -> None:  # fmt: skip
        self._settings = settings
        self._batches = batches
        self._plan = plan
        self._stages = stages
        self._average = average
        self._weight = mean_weight(rows["train"])
        self.rows_seen = 0
        self.watch = watch
        super().__init__(
            train_dataset=rows["train"],
            eval_dataset=rows["validation"],
            data_collator=lambda batch: collate(batch, pad_id=pad_id),
            **kwargs,
        )
        # Said for the Trainer to count the rows of accumulated batches, and to leave the division to compute_loss.
        self.model_accepts_loss_kwargs = True
        # The one place that is handed the gradients' norm before the optimizer uses them.
        clip = self.accelerator.clip_grad_norm_
        self.accelerator.clip_grad_norm_ = lambda *args, **kwargs: self._check(clip(*args, **kwargs), "the norm of the "
                                                                               "gradients")  # fmt: skip
        # Taken here: on the device by now, and not yet those of a checkpoint that is resumed from.
        self._kept = layer_matrices(self.model) if settings.mixout else {}

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of alike length, in an order that a resumed run repeats."""
        return self._loader(self.train_dataset, self._batches)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Batches of alike length and large: without gradients there is room.

        Args:
            eval_dataset: rows; None is the validation rows.
        """
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(rows, evaluated_batches(rows))

    def _loader(self, rows: Any, batches: Any) -> DataLoader[Any]:
        loader = torch.utils.data.DataLoader(rows, batch_sampler=batches, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)  # type: ignore[no-any-return]  # accelerate ships no types

    def create_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with layer-wise learning rates."""
        if self.optimizer is None:
            self.optimizer = build_optimizer(self.model, self._settings)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The recipe's schedule, over the steps of the whole training.

        Args:
            num_training_steps: the Trainer's count; less than the whole when a run resumes that had stopped early.
            optimizer: None is the Trainer's own.
        """
        if self.lr_scheduler is None:
            chosen = optimizer or self.create_optimizer()
            higher = self.args.greater_is_better
            self.lr_scheduler = build_schedule(chosen, self._settings, self._plan, higher_is_better=higher)
            self._created_lr_scheduler = True
        return self.lr_scheduler

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
        targets, weights, teacher = inputs.pop("labels"), inputs.pop("weight", None), inputs.pop("teacher", None)
        row = inputs.pop("row", None)
        with self._stages.running(row, inputs["input_ids"]) if self._stages and model.training else nullcontext():
            outputs = self._answer(model, inputs)
            again = self._answer(model, inputs)["logits"] if self._settings.r_drop and model.training else None
        logits = outputs["logits"]
        if (
            targets.dim() > 1 and not targets.is_floating_point()
        ):  # a label for each token: the words of the batch are its rows
            words = targets != IGNORED
            weights = None if weights is None else weights[:, None].expand_as(targets)[words]
            logits, again, targets = logits[words], None if again is None else again[words], targets[words]
        loss = batch_loss(logits, targets, weights, settings=self._settings, again=again, teacher=teacher)
        if num_items_in_batch is not None:
            loss = loss * (len(targets) / num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _answer(self, model: Any, inputs: dict[str, Any]) -> Any:
        if not (self._kept and model.training):
            return model(**inputs)
        mixed = mix_out(model, self._kept, share=self._settings.mixout)
        return torch.func.functional_call(model, mixed, args=(), kwargs=inputs)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The metrics on the validation rows; of the average of the weights, where the recipe asks for one."""
        with self._average.evaluated(self.model) if self._average else nullcontext():
            found: dict[str, float] = super().evaluate(*args, **kwargs)
        return found

    def prediction_step(self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool,
                        ignore_keys: Any = None) -> tuple[None, torch.Tensor, torch.Tensor]:  # fmt: skip
        """Logits and targets of a batch; the loss is computed from all rows at once (`validation_metrics`).

        Args:
            model: the network.
            inputs: a batch.
            prediction_loss_only: not looked at.
            ignore_keys: not looked at.
        """
        inputs = self._prepare_inputs(inputs)
        asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = model(**asked)["logits"]
        return None, logits.float(), inputs["labels"]

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """One step; stops where the loss is no number, instead of training on nonsense for hours."""
        if self._stages:
            self._stages.begin(self.state.global_step)
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.rows_seen += len(inputs["labels"])
        return self._check(loss, "the loss")

    def _check(self, value: torch.Tensor, what: str) -> torch.Tensor:
        step, steps = self.state.global_step + 1, self.state.max_steps
        check_finite(float(value), what, step=step, steps=steps, rate=self._settings.learning_rate)
        return value

    def log(self, logs: dict[str, Any], start_time: float | None = None) -> None:
        """Also which layer groups are frozen, and their rates where they differ; stops a training that diverges.

        Args:
            logs: of the last steps, or of an evaluation.
            start_time: of the training.

        Raises:
            TrainingError: the training diverges.
        """
        if "learning_rate" in logs:
            plan, step = (self._stages.plan if self._stages else None), self.state.global_step - 1
            frozen = list(plan.frozen(step)) if plan else []
            found = rates(self.optimizer, plan, step, shown=logs["learning_rate"], layers=layer_count(self.model))
            logs |= ({"frozen": frozen} if frozen else {}) | ({"learning_rates": found} if found else {})
        super().log(logs, start_time)
        check_log(
            self.state.log_history, classes=max(_OF_A_NUMBER, self.model.config.num_labels), weight=self._weight,
            max_grad_norm=self._settings.max_grad_norm, rate=self._settings.learning_rate,
        )  # fmt: skip

    def _fill_cache(self) -> None:
        """Keep the outputs of frozen layers where that pays."""
        if self._stages is None:
            return
        rows, network = self.train_dataset, self.model
        boundaries = choose_boundaries(
            self._stages.plan, steps=self._plan.total, steps_per_epoch=self._plan.epoch, tokens=sum(row_lengths(rows)),
            width=int(getattr(network.config, "hidden_size", 0)), budget=self._settings.activation_cache_bytes,
        )  # fmt: skip
        if boundaries:
            cache = ActivationCache(network, boundaries, rows, Path(self.args.output_dir))
            cache.fill(
                network, lambda found: self._prepare_inputs(self.data_collator(found)),
                lambda: torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16),
            )  # fmt: skip
            self._stages.cache = cache

    def fit(self, resumed: Path | None) -> None:
        """Train, from a checkpoint where there is one; the best (or last) weights are in ``model`` afterwards."""
        self.watch.before = seconds_before(resumed)
        self._fill_cache()
        stopping = self._settings.early_stopping
        if resumed is not None and stopping is not None:
            # A run killed between its last checkpoint and its end had stopped already, and must not go on.
            state = type(self.state).load_from_json(str(resumed / "trainer_state.json"))
            if stalled(state.log_history, self.args.metric_for_best_model, stopping):
                self.args.num_train_epochs = int(state.epoch)  # no epoch is left to be entered
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


def build_trainer(network: PreTrainedModel, rows: Mapping[str, Sequence[Row]], task: Task, settings: TrainSettings, *,
                  tokenizer: PreTrainedTokenizerBase, seed: int, device: str, precision: str,
                  work: Path, pooling: Pooling | None = None) -> FineTuner:  # fmt: skip
    """A Trainer for a recipe; its checkpoints go into ``work``. With a pooling the rows are windows of texts."""
    lengths = row_lengths(rows["train"])
    batches = (
        LengthGroupedBatches(lengths, batch_size=settings.batch_size, seed=seed)
        if settings.batch_tokens is None
        else TokenBudgetBatches(lengths, tokens=settings.batch_tokens, seed=seed)
    )
    plan = plan_steps(len(batches), settings)
    unfreezing = plan_unfreezing(network, settings, steps_per_epoch=plan.epoch)
    followed = watched_metric(task, settings)
    gathered = choose_average(settings)
    average = AverageWeights(gathered) if gathered is not None else None
    stopping = settings.early_stopping
    # In the order in which they are asked; a checkpoint is marked as whole when all else stands in it.
    watch = Watch()
    callbacks: tuple[TrainerCallback, ...] = (
        *([average] if average is not None else []),
        watch,
        *([Stop(followed, stopping)] if stopping is not None else []),
    )
    trainer = FineTuner(
        settings=settings,
        batches=batches,
        plan=plan,
        stages=Stages(network, unfreezing) if unfreezing is not None else None,
        average=average,
        watch=watch,
        pad_id=tokenizer.pad_token_id or 0,
        rows=rows,
        model=network,
        args=_arguments(settings, plan, followed, seed=seed, device=device, precision=precision, work=work),
        compute_metrics=validation_metrics(
            task, followed, labels=list(network.config.id2label.values()), whole=pool_of(rows["validation"], pooling)
        ),
        callbacks=list(callbacks),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(settings: TrainSettings, plan: Plan, followed: str, *, seed: int, device: str, precision: str,
               work: Path) -> TrainingArguments:  # fmt: skip
    when = "epoch" if settings.evaluate == "epoch" else "steps"
    every = None if settings.evaluate == "epoch" else settings.evaluate
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        learning_rate=settings.learning_rate,
        max_grad_norm=settings.max_grad_norm,
        bf16=precision == "bf16",
        use_cpu=device == "cpu",
        seed=seed,
        data_seed=seed,
        eval_strategy=when,
        eval_steps=every,
        save_strategy=when,
        save_steps=every or 500,  # not looked at when it is by epoch
        save_total_limit=1,  # and the best one
        load_best_model_at_end=settings.early_stopping is not None,
        metric_for_best_model=followed,
        greater_is_better=followed != "eval_loss",
        logging_steps=max(1, plan.total // 100),
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=device == "cuda",
        save_safetensors=True,
    )
