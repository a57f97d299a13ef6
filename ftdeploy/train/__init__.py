"""train: fine-tune the checkpoint with transformers' Trainer; killed at any moment, it resumes to the same weights."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftdeploy import progress
from ftdeploy.artifact import Artifact
from ftdeploy.checkpoints import check_checkpoint, check_trainable
from ftdeploy.dataset import label_names, pair_columns, read_split
from ftdeploy.errors import ModelError
from ftdeploy.hardware import choose_device, has_bf16, processors
from ftdeploy.onnx_export import note_pairs, pairs_in, require_pairs, tell_texts_apart
from ftdeploy.pooling import choose_pooling, note_pooling
from ftdeploy.recipe import Device, ModelSettings, Recipe, TrainSettings, wanted_layers
from ftdeploy.sources import fingerprint, resolve
from ftdeploy.stage import Facts, stage
from ftdeploy.tasks import TASKS, Task
from ftdeploy.train.distill import add_teacher
from ftdeploy.train.lora import add_lora, merge_lora
from ftdeploy.train.objective import weigh_labels
from ftdeploy.train.precision import choose_precision
from ftdeploy.train.regularize import reinitialize_layers
from ftdeploy.train.resume import last_complete_checkpoint
from ftdeploy.train.standardize import note_units, standardize
from ftdeploy.train.tokens import ArrowRows, encode_to_file

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def _outside(recipe: Recipe) -> Mapping[str, str]:
    chosen = choose_device(recipe.device)
    # The order in which threads add up decides the last bits of the weights.
    machine = {"device": chosen.name, "bf16": str(has_bf16()), "threads": str(processors())}
    return fingerprint(recipe.model) | machine | _asked_for(recipe.train)


def _asked_for(settings: TrainSettings) -> dict[str, str]:
    """What decides the result only where the recipe asks for it."""
    found = {}
    if settings.lora is not None:
        found["peft"] = version("peft") if find_spec("peft") else "absent"
    if settings.teacher is not None:
        found["teacher"] = fingerprint(settings.teacher)["content"]
    return found


def _refuse(recipe: Recipe) -> None:
    """Refuse, before hours of training, what later stages would: train itself does not read their sections, because a
    change there must not train anew."""
    folder = resolve(recipe.model)
    check_checkpoint(folder)
    check_trainable(folder, task=recipe.task, max_length=recipe.model.max_length, layers=wanted_layers(recipe))
    if TASKS[recipe.task].vectors:
        choose_pooling(folder, recipe.model.pooling)
    if recipe.data.pairs is not None:
        require_pairs(folder, recipe.data.pairs)


@stage(writes="checkpoint", version=3, outside=_outside, before=_refuse,
       libraries=("torch", "transformers", "accelerate", "tokenizers"))  # fmt: skip
def train(dataset: Artifact, *, model: ModelSettings, train: TrainSettings, task: str, seed: int, device: Device,
          out: Path, work: Path) -> Facts:  # fmt: skip
    """Fine-tune on the train split; the best evaluation on the validation split is kept, by the metric of early
    stopping or the task's first. ``history.json`` is a list of what was logged, by step: ``loss``, ``grad_norm``,
    ``learning_rate`` (of the head), ``learning_rates`` by layer group where they differ, ``frozen`` groups where there
    are any, and the metrics as ``eval_*``; ``history.jsonl`` has the same entries, one a line. Where an answer is a
    vector the checkpoint is taken as it is: there is no history.

    Raises:
        ConfigError: class weights, adapters or layers are named that this data or checkpoint does not have.
        ModelError: the checkpoint or the teacher is refused, or has no head for this task.
        DependencyError: the extra `lora` is wanted and missing.
        DeviceError: a device is forced that is not there.
        TrainingError: the loss or a gradient is not a number, the training diverges, its warm-up is longer than it, or
            more layers are to be frozen than there are.
    """
    chosen, folder = TASKS[task], resolve(model)
    if chosen.vectors:
        return _as_it_is(folder, model, chosen, seed=seed, out=out)
    where = choose_device(device)
    progress.say(f"device: {where.name} ({where.reason})")
    # Imported here, because it takes seconds; a checkpoint is refused before.
    import torch

    from ftdeploy.train.trainer import build_trainer

    torch.set_num_threads(processors())  # torch by itself counts the host's, not the container's

    tokenizer = _load_tokenizer(folder)
    labels, columns = label_names(dataset), pair_columns(dataset)
    tables = {split: read_split(dataset, split) for split in ("train", "validation")}
    tables["train"] = weigh_labels(tables["train"], labels, chosen, train)
    tables["train"] = add_teacher(tables["train"], train.teacher, labels, task=task, device=device, work=work,
                                  pairs=columns is not None)  # fmt: skip
    units = None
    if chosen.number:
        tables, units = standardize(tables)
        progress.say(f"labels: mean {units.offset:.4g}, standard deviation {units.scale:.4g}; learned standardised")
    rows = {
        split: encode_to_file(
            tables.pop(split),
            tokenizer,
            chosen,
            labels,
            max_length=model.max_length,
            file=work / f"{split}.arrow",
            windows=model.windows,
            pairs=columns is not None,
        )
        for split in ("train", "validation")
    }
    network = _load_network(folder, chosen, labels, seed=seed)
    network.config.pad_token_id = tokenizer.pad_token_id
    note_pairs(network.config, columns and pairs_in(tokenizer, network.config, columns))
    tell_texts_apart(network)
    reinitialize_layers(network, train.reinitialize_layers)
    adapters = add_lora(network, train.lora) if train.lora is not None else None
    precision = choose_precision(
        train.precision, where.name, network, rows["train"], work=work,
        batch_size=_rows_in_a_batch(train, rows["train"]),
    )  # fmt: skip
    progress.say(f"precision: {precision.name} ({precision.reason})")

    started = time.monotonic()
    trainer = build_trainer(
        network, rows, chosen, train, tokenizer=tokenizer, seed=seed, device=where.name, precision=precision.name,
        work=work, pooling=model.windows.pooling if model.windows else None,
    )  # fmt: skip
    resumed = last_complete_checkpoint(work)
    if resumed is not None:
        progress.say(f"resuming after step {resumed.name.rpartition('-')[2]}")
    trainer.fit(resumed)
    seconds = time.monotonic() - started
    whole = trainer.watch.seconds  # with what killed runs of it took
    if adapters is not None:
        merge_lora(adapters)
    if units is not None:
        note_units(trainer.model.config, units)
    _save(trainer.model, tokenizer, out)
    history = trainer.history()
    (out / "history.json").write_text(json.dumps(history, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in history)
    (out / "history.jsonl").write_text(lines, encoding="utf-8")
    return _facts(history, chosen, train) | {
        "device": where.name,
        "precision": precision.name,
        "seconds": round(whole, 1),
        "rows_per_second": round(trainer.rows_seen / seconds, 1),
    }


def _as_it_is(folder: Path, settings: ModelSettings, task: Task, *, seed: int, out: Path) -> Facts:
    """The checkpoint without a change, as a task wants it that trains nothing."""
    pooling, reason = choose_pooling(folder, settings.pooling)
    progress.say(f"nothing is trained: the checkpoint is taken as it is; pooling: {pooling} ({reason})")
    tokenizer = _load_tokenizer(folder)
    network = _load_network(folder, task, (), seed=seed)
    network.config.pad_token_id = tokenizer.pad_token_id
    note_pooling(network.config, pooling)
    _save(network, tokenizer, out)
    (out / "history.json").write_text("[]\n", encoding="utf-8")
    return {"trained": False, "pooling": pooling}


def _rows_in_a_batch(settings: TrainSettings, rows: ArrowRows) -> int:
    """On average, with a budget of tokens."""
    if settings.batch_tokens is None:
        return settings.batch_size
    return max(1, settings.batch_tokens * len(rows) // max(1, sum(rows.lengths)))


def _facts(history: list[dict[str, Any]], task: Task, settings: TrainSettings) -> dict[str, float | str]:
    evaluations = [entry for entry in history if f"eval_{task.metrics[0]}" in entry]
    stopping = settings.early_stopping
    if stopping is None:
        kept = evaluations[-1]
    else:
        followed = f"eval_{stopping.metric or task.metrics[0]}"
        sign = -1 if followed == "eval_loss" else 1
        kept = max(evaluations, key=lambda entry: sign * float(entry[followed]))
    facts: dict[str, float | str] = {f"validation_{name}": kept[f"eval_{name}"] for name in task.metrics}
    return facts | {"epochs": _epochs(evaluations[-1]), "best_epoch": _epochs(kept)}


def _epochs(entry: Mapping[str, Any]) -> float:
    """Whole where an evaluation ended an epoch."""
    passed = round(float(entry["epoch"]), 2)
    return int(passed) if passed.is_integer() else passed


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False, local_files_only=True)
    if tokenizer.pad_token_id is None:
        # Decoder-only checkpoints often have none; any id does, because padded positions are masked.
        if tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer of {folder} has neither a padding nor an end-of-text token",
                cause="the checkpoint was saved without its special tokens",
                fix="name one in tokenizer_config.json (`pad_token`), or choose another checkpoint",
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _load_network(folder: Path, task: Task, labels: tuple[str, ...], *, seed: int) -> PreTrainedModel:
    import torch
    import transformers
    from transformers.utils import logging as transformers_logging

    # The new head's weights come from the global generator.
    transformers.set_seed(seed)
    ids = dict(enumerate(labels))
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # it warns that the head is new; that is the point of fine-tuning
    head: dict[str, Any] = {} if task.vectors else {
        "num_labels": len(labels),
        "id2label": ids,
        "label2id": {label: index for index, label in ids.items()},
        "problem_type": task.problem_type,  # whatever the checkpoint was tuned for before
        "ignore_mismatched_sizes": True,  # a head for other labels is replaced
    }  # fmt: skip
    try:
        network: PreTrainedModel = getattr(transformers, task.auto_class).from_pretrained(
            folder,
            **head,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            torch_dtype=torch.float32,
        )
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"transformers cannot load {folder} as {task.auto_class}: {str(error).splitlines()[0][:300]}",
            cause="the architecture has no such head, or config.json and the weights disagree",
            fix="choose another checkpoint; `ftdeploy check` says beforehand",
        ) from error
    finally:
        transformers_logging.set_verbosity(before)
    return network


def _save(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    network.config._name_or_path = ""  # noqa: SLF001  # else a path of this machine is saved
    network.config.problem_type = None  # noted in the first step, which a resumed run may not have; inferred again
    network.save_pretrained(out, safe_serialization=True)
    tokenizer.name_or_path = ""
    tokenizer.save_pretrained(out)
