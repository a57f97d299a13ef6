"""Recovery by distillation: a pruned student learns from the fine-tuned model what pruning took.

Each step asks teacher and student about the same rows. The student is held to the teacher's softened answers (Hinton et
al. 2015), to its hidden states after every layer that both have (Sun et al. 2019; Jiao et al. 2020), and to the labels.
Beside the training rows it learns copies of them, with words masked or cut away, or of two rows joined: their labels
may no longer hold, but the teacher answers them, so nothing wrong is taught, and there are ever new ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import pad
from ftdeploy.compress.fewer_tokens import chosen_tokens
from ftdeploy.errors import CompressionError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from ftdeploy.compress.gradual import Hooks
    from ftdeploy.recipe import Distillation

#: Rows are shuffled, cut into pools of this many batches, and sorted by length within a pool.
POOL = 50
#: Share of a copy's words that are masked, share of the copies that are cut to a part.
MASKED, CUT = 0.1, 0.5
WARMUP = 0.06
WEIGHT_DECAY = 0.01
#: Copies beside a row, as the recipe has it.
MOST_COPIES = 4.0
#: Batches that are timed for the plan.
PROBED = 8


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """What is learned from.

    Attributes:
        rows: token ids of the training rows, special tokens at both ends.
        targets: class ids, int64 (rows,).
        pad_id: fills short rows.
        mask_id: stands for a masked word; None leaves the word out.
        unlabelled: token ids of texts that only the teacher answers.
        between: ids of what stands between two texts of a row, where rows have two; it stays in copies.
    """

    rows: Sequence[Sequence[int]]
    targets: NDArray[np.int64]
    pad_id: int
    mask_id: int | None
    unlabelled: Sequence[Sequence[int]] = ()
    between: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Pupil:
    """A student beside its teacher.

    Attributes:
        student: trained in place.
        teacher: asked only; in evaluation mode, and in bfloat16 where ``bf16`` (autocast would convert it each time).
        layers: for each of the student's layers, the teacher's that it was.
        device: ``cpu`` or ``cuda``.
        bf16: whether passes run under bf16 autocast.
        rounding: of a model, a context in which it runs as if quantized; for the last epoch.
        pruning: of the number of steps, hooks that prune while it learns. They keep masks of their own, so that a
            training with them begins anew when it was killed.
    """

    student: PreTrainedModel
    teacher: PreTrainedModel
    layers: Sequence[int]
    device: str
    bf16: bool
    rounding: Callable[[PreTrainedModel], AbstractContextManager[Any]] | None = None
    pruning: Callable[[int], Sequence[Hooks]] | None = None


def what_fits(pupil: Pupil, lessons: Lessons, settings: Distillation, *, seconds: float,
              seed: int) -> tuple[int, float]:  # fmt: skip
    """Passes over the rows that take about ``seconds``, and the copies beside each row: as many as the recipe says, but
    for what a whole number of passes leaves over. Measured on some steps, whose learning is undone. At least one pass.

    Args:
        pupil: who learns.
        lessons: what.
        settings: the recipe's.
        seconds: that there are.
        seed: of the batches.
    """
    import copy

    before = copy.deepcopy(pupil.student.state_dict())
    optimizer = _optimizer(pupil.student, settings)
    batches = list(_batches(_epoch_rows(lessons, settings, seed=seed, epoch=0), settings.batch_size, seed=seed))
    # Batches are alike in length within themselves: some of all lengths stand for the rest.
    batches.sort(key=lambda batch: max(len(row.ids) for row in batch))
    probes = [batches[int((at + 0.5) * len(batches) / PROBED)] for at in range(PROBED)]
    took = []
    for batch in probes * 2:
        began = time.perf_counter()
        _step(pupil, batch, lessons, settings, optimizer)
        took.append(time.perf_counter() - began)
    pupil.student.load_state_dict(before)
    # A shape that is new takes far longer, and a training sees each again and again: the second time counts.
    return _passes(seconds / (float(np.mean(took[PROBED:])) * len(batches)), lessons, settings)


def _passes(fitting: float, lessons: Lessons, settings: Distillation) -> tuple[int, float]:
    """The nearest whole number of passes to ``fitting``, and the copies with which they take as long."""
    epochs = max(1, round(fitting))
    if not settings.augment:
        return max(1, int(fitting)), 0.0
    others = 1 + len(lessons.unlabelled) / len(lessons.rows)
    copies = fitting * (others + settings.augment) / epochs - others
    return epochs, round(min(max(copies, 0.0), MOST_COPIES), 2)


def distil(pupil: Pupil, lessons: Lessons, settings: Distillation, *, epochs: int, seed: int, work: Path,
           advance: Callable[[int], None]) -> None:  # fmt: skip
    """Train the student in place; killed at any moment, it goes on from the last whole epoch to the same weights.

    Args:
        pupil: who learns.
        lessons: what.
        settings: the recipe's.
        epochs: passes over the rows.
        seed: of order, copies and dropout.
        work: holds ``epoch.pt`` between epochs.
        advance: told the share of an epoch after each step, in thousandths of all epochs.

    Raises:
        CompressionError: the loss is not a number.
    """
    import torch

    student = pupil.student
    _without_dropout(student)
    optimizer = _optimizer(student, settings)
    per_epoch = len(list(_batches(_epoch_rows(lessons, settings, seed=seed, epoch=0), settings.batch_size, seed=seed)))
    total = per_epoch * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    hooks = pupil.pruning(total) if pupil.pruning else ()
    saved, begin = work / "epoch.pt", 0
    if saved.exists() and not hooks:
        found = torch.load(saved, weights_only=True)
        student.load_state_dict(found["student"])
        optimizer.load_state_dict(found["optimizer"])
        schedule.load_state_dict(found["schedule"])
        begin = int(found["epoch"])
        progress.say(f"resuming after epoch {begin}")
    for epoch in range(begin, epochs):
        rounded = pupil.rounding if settings.quantization_aware and epoch == epochs - 1 else None
        with rounded(student) if rounded else nullcontext():
            rows = _epoch_rows(lessons, settings, seed=seed, epoch=epoch)
            for batch in _batches(rows, settings.batch_size, seed=seed + epoch):
                _step(pupil, batch, lessons, settings, optimizer, hooks)
                schedule.step()
                advance(1)
        unfinished = saved.with_suffix(".partial")
        state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(),
                 "schedule": schedule.state_dict(), "epoch": epoch + 1}  # fmt: skip
        torch.save(state, unfinished)
        unfinished.rename(saved)
    student.eval()


def steps_in(lessons: Lessons, settings: Distillation, *, epochs: int) -> int:
    """Steps of a training, for progress."""
    copies = round(len(lessons.rows) * settings.augment)
    return -(-(len(lessons.rows) + copies + len(lessons.unlabelled)) // settings.batch_size) * epochs


@dataclass(frozen=True)
class _Row:
    ids: Sequence[int]
    target: int  # -1: the teacher alone knows


def _epoch_rows(lessons: Lessons, settings: Distillation, *, seed: int, epoch: int) -> list[_Row]:
    """The training rows, their copies of this epoch, and the unlabelled texts."""
    rows = [_Row(ids, int(target)) for ids, target in zip(lessons.rows, lessons.targets, strict=True)]
    others = [_Row(ids, -1) for ids in lessons.unlabelled]
    draw = np.random.default_rng([seed, epoch])
    whole = int(settings.augment)
    chosen = [index for _ in range(whole) for index in range(len(rows))]
    chosen += draw.permutation(len(rows))[: round((settings.augment - whole) * len(rows))].tolist()
    return rows + [_Row(_copy(lessons, index, settings.joined, draw), -1) for index in chosen] + others


def _copy(lessons: Lessons, index: int, joined: float, draw: np.random.Generator) -> list[int]:
    """A text that nobody wrote, for the teacher to answer: a row joined with another, or changed."""
    row = lessons.rows[index]
    if draw.random() < joined:
        other = lessons.rows[int(draw.integers(len(lessons.rows)))]
        if lessons.between.isdisjoint(row[1:-1]) and lessons.between.isdisjoint(other[1:-1]):
            return _joined(row, other, draw)
    return _changed(row, lessons.mask_id, draw, lessons.between)


def _joined(row: Sequence[int], other: Sequence[int], draw: np.random.Generator) -> list[int]:
    """The beginning of a row and the end of another one, each of any length, together no longer than the longer."""
    first, second = list(row[1:-1]), list(other[1:-1])
    start = first[: int(draw.integers(0, len(first) + 1))]
    end = second[int(draw.integers(0, len(second) + 1)) :]
    body = (start + end)[: max(len(first), len(second))] or first
    return [row[0], *body, row[-1]]


def _changed(ids: Sequence[int], mask_id: int | None, draw: np.random.Generator,
             between: frozenset[int] = frozenset()) -> list[int]:  # fmt: skip
    """A copy with words masked, and one in two cut to a part of at least half; special tokens at both ends stay. Two
    texts stay two: what is between them is not masked, and neither is cut off."""
    body = list(ids[1:-1])
    two = not between.isdisjoint(body)
    if not two and len(body) > 6 and draw.random() < CUT:  # noqa: PLR2004 - of fewer words a part says nothing
        length = int(draw.integers(len(body) // 2, len(body) + 1))
        start = int(draw.integers(0, len(body) - length + 1))
        body = body[start : start + length]
    hit = draw.random(len(body)) < MASKED
    if two:
        hit &= [token not in between for token in body]
    if mask_id is None:
        body = [token for token, masked in zip(body, hit, strict=True) if not masked] or body
    else:
        body = [mask_id if masked else token for token, masked in zip(body, hit, strict=True)]
    return [ids[0], *body, ids[-1]]


def _batches(rows: Sequence[_Row], size: int, *, seed: int) -> Iterator[list[_Row]]:
    order = np.random.default_rng([seed, 1]).permutation(len(rows)).tolist()
    batches = []
    for start in range(0, len(order), POOL * size):
        pool = sorted(order[start : start + POOL * size], key=lambda index: len(rows[index].ids))
        batches += [pool[at : at + size] for at in range(0, len(pool), size)]
    for at in np.random.default_rng([seed, 2]).permutation(len(batches)).tolist():
        yield [rows[index] for index in batches[at]]


def _step(pupil: Pupil, batch: Sequence[_Row], lessons: Lessons, settings: Distillation,  # noqa: PLR0917  # all of a step
          optimizer: torch.optim.Optimizer, hooks: Sequence[Hooks] = ()) -> None:  # fmt: skip
    import torch

    for hook in hooks:
        hook.on_step_begin()

    padded = pad([row.ids for row in batch], lessons.pad_id)
    ids, mask = (torch.from_numpy(one).to(pupil.device) for one in padded)
    asked = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
    targets = torch.tensor([row.target for row in batch], device=pupil.device)
    with torch.no_grad():
        taught = pupil.teacher(**asked)
    with torch.autocast(pupil.device, torch.bfloat16, enabled=pupil.bf16):
        answered = pupil.student(**asked)
    loss = _soft(answered.logits, taught.logits, settings.temperature)
    apart = _apart(answered.hidden_states, taught.hidden_states, pupil.layers, mask, chosen_tokens(pupil.student))
    loss = loss + settings.hidden * apart
    known = targets >= 0
    if settings.hard and bool(known.any()):
        wrong = torch.nn.functional.cross_entropy(answered.logits[known].float(), targets[known], reduction="sum")
        loss = loss + settings.hard * wrong / len(batch)
    if not bool(torch.isfinite(loss)):
        raise CompressionError(
            "the loss of a distillation is not a number",
            cause="the learning rate is too high for this model",
            fix="lower compress.distillation.learning_rate",
        )
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_([one for one in pupil.student.parameters() if one.requires_grad], 1.0)
    for hook in hooks:
        hook.before_optimizer_step()
    optimizer.step()
    for hook in hooks:
        hook.after_optimizer_step()


def _soft(logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence of the softened answers, times temperature squared (Hinton et al. 2015)."""
    from torch.nn.functional import kl_div, log_softmax

    student, teacher = (log_softmax(one.float() / temperature, dim=-1) for one in (logits, taught))
    return kl_div(student, teacher, log_target=True, reduction="batchmean") * temperature**2


def _apart(answered: Sequence[torch.Tensor], taught: Sequence[torch.Tensor], layers: Sequence[int],
           mask: torch.Tensor, chosen: tuple[int, torch.Tensor] | None) -> torch.Tensor:  # fmt: skip
    """How far the hidden states are apart, relative to the teacher's: mean over the layers of a squared error. Of a
    layer that computes some tokens only, these count; ``chosen`` says from which layer on, and which."""
    import torch

    errors = []
    for at, layer in enumerate(layers, start=1):
        ours, theirs, real = answered[at].float(), taught[layer + 1], mask.unsqueeze(-1)
        # Of one token it is the first, which is the first of the chosen ones.
        if chosen is not None and at > chosen[0] and ours.shape[1] > 1:
            places = chosen[1].unsqueeze(-1)
            theirs, real = theirs.gather(1, places.expand(-1, -1, theirs.shape[2])), real.gather(1, places)
        theirs, counted = theirs[:, : ours.shape[1]].float(), real[:, : ours.shape[1]].float()
        errors.append(((ours - theirs).square() * counted).sum() / (theirs.square() * counted).sum())
    return torch.stack(errors).mean()


def _optimizer(student: PreTrainedModel, settings: Distillation) -> torch.optim.Optimizer:
    """AdamW. The embeddings are the teacher's and stay: they are most of the parameters, so that an update of them
    would take as long as a pass."""
    import torch

    student.get_input_embeddings().requires_grad_(False)
    learned = [parameter for parameter in student.parameters() if parameter.requires_grad]
    plain = [parameter for parameter in learned if parameter.ndim < 2]  # noqa: PLR2004 - biases, norms are vectors
    decayed = [parameter for parameter in learned if parameter.ndim >= 2]  # noqa: PLR2004 - the others are matrices
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def _rate(step: int, total: int) -> float:
    """Linear warm-up, then linearly to zero."""
    rising = max(1, round(WARMUP * total))
    return min((step + 1) / rising, max(0.0, (total - step) / max(1, total - rising)))


def _without_dropout(student: PreTrainedModel) -> None:
    """What a step learns is what the teacher does; noise in the student would be learned around."""
    import torch

    for module in student.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout_prob", None), float):
            module.dropout_prob = 0.0  # attention that torch computes in one piece has its own
    student.train()
