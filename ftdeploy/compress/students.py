"""Students: the fine-tuned model with fewer layers, channels and heads, and then taught what it lost by that."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.compress.checkpoint_shape import Shape as Measures
from ftdeploy.compress.checkpoint_shape import encoder_layers, read_shape, unsupported
from ftdeploy.compress.distil import Lessons, Pupil, distil, steps_in, what_fits
from ftdeploy.compress.fewer_tokens import choosing_layer, fewer_tokens
from ftdeploy.compress.first_token import first_token_only
from ftdeploy.compress.gradual import Schedule, prune_ffn, prune_heads, slim, sparsify
from ftdeploy.compress.prune import keep_layers
from ftdeploy.compress.qat import fake_quantized
from ftdeploy.compress.reconstruct import narrow
from ftdeploy.compress.tools import graph
from ftdeploy.compress.tools.int8 import levels
from ftdeploy.files import write_json
from ftdeploy.hardware import choose_device, processors
from ftdeploy.onnx_export import export_onnx, input_names, load_model
from ftdeploy.pairs import prepare_pairs
from ftdeploy.signature import read_signature, write_signature

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from ftdeploy.compress.gradual import Hooks
    from ftdeploy.recipe import Distillation, Shape, Sparsity
    from ftdeploy.tasks import Task

#: How the names of all students begin.
STUDENT = "student"
#: Rows that prove that a classifier reads its first token only.
PROVEN = 8
#: Training rows that pruning looks at.
LOOKED_AT = 1000


@dataclass(frozen=True, kw_only=True)
class School:
    """What every student is made with.

    Attributes:
        checkpoint: folder of the fine-tuned model.
        onnx: its export; tokenizer and signature come from there.
        rows: token ids of the training rows.
        targets: class ids, int64 (rows,).
        unlabelled: token ids of texts that only the teacher answers.
        task: of the recipe.
        settings: of the recipe.
        opset: ONNX operator set.
        seed: of the recipe.
        device: ``auto``, ``cpu`` or ``cuda``.
        bf16: whether passes run under bf16 autocast.
        reduce_range: whether int8 weights shall need no VNNI (see ``tools.int8``).
        cascade: whether a student and its teacher will stand in one graph, which then need what both have only once.
    """

    checkpoint: Path
    onnx: Path
    rows: Sequence[Sequence[int]]
    targets: NDArray[np.int64]
    task: Task
    settings: Distillation
    opset: int
    seed: int
    device: str
    bf16: bool
    unlabelled: Sequence[Sequence[int]] = ()
    reduce_range: bool = False
    cascade: bool = False


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A shape in whole numbers: layers of the teacher that stay, channels and heads that stay in each; the share of
    tokens that go on from the middle; who decides which channels and heads go; and which zeros come among the rest."""

    layers: tuple[int, ...]
    channels: int
    heads: int
    tokens: float = 1.0
    pruning: str = "reconstruction"
    sparsity: Sparsity | None = None

    @property
    def name(self) -> str:
        """As in reports, and of folders."""
        parts = [STUDENT, f"{len(self.layers)}x{self.channels}x{self.heads}"]
        parts += [f"{self.tokens:g}-tokens"] if self.tokens < 1 else []
        parts += ["nc"] if self.pruning == "neural-compressor" else []
        if self.sparsity is not None:
            parts += ["sparse", self.sparsity.pattern.replace(":", "of"), f"{self.sparsity.share:g}"]
        return "-".join(parts)


def student_of(steps: Sequence[str]) -> str | None:
    """The name of the student that a candidate of these steps is made of, as `Cut.name` has it; None of another one."""
    return next((step for step in steps if step.startswith(f"{STUDENT}-")), None)


def cut_to(shape: Shape, model: PreTrainedModel) -> Cut:
    """A recipe's shares in whole numbers: at least one of each, channels in multiples of 32, layers at even distances.

    Raises:
        CompressionError: the architecture is not known.
    """
    whole = read_shape(model)
    layers = max(1, round(shape.layers * whole.layers))
    kept = [round(index * (whole.layers - 1) / max(1, layers - 1)) for index in range(layers)]
    width = whole.ffn[0]
    channels = min(width, max(32, round(shape.ffn * width / 32) * 32))
    return Cut(
        layers=tuple(kept), channels=channels, heads=max(1, round(shape.heads * whole.heads[0])), tokens=shape.tokens,
        pruning=shape.pruning, sparsity=shape.sparsity,
    )  # fmt: skip


def make_student(school: School, cut: Cut, *, seconds: float, work: Path, out: Path) -> dict[str, Any]:
    """Prune, teach, export: a model folder in ``out``.

    Args:
        school: what it is made with.
        cut: its shape.
        seconds: that there are for teaching, where the recipe does not say how many epochs.
        work: survives a crash; holds the plan and the last whole epoch.
        out: an empty folder.

    Returns:
        what was done, for the log: shape, parameters, epochs, seconds.

    Raises:
        CompressionError: the architecture is not known, or the loss is not a number.
    """
    import torch

    torch.set_num_threads(processors())
    torch.manual_seed(school.seed)
    began = time.monotonic()
    teacher = load_model(school.checkpoint, school.task)
    student = copy.deepcopy(teacher)
    signature = read_signature(school.onnx)
    keep_layers(student, cut.layers)
    if school.settings.embedding_bits is not None:
        _round_embeddings(student, bits=school.settings.embedding_bits)
    # A layer that computes one token only is not worth pruning.
    spared = first_token_only(copy.deepcopy(student), school.rows[:PROVEN])
    gradually = cut.pruning == "neural-compressor"
    if not gradually:
        _prune(student, cut, school, pad_id=signature.pad_id, spared=int(spared))
    if spared and not gradually:  # Neural Compressor's pruners know a layer by what it is made of
        first_token_only(student, school.rows[:PROVEN])
        first_token_only(teacher, school.rows[:PROVEN])
    if cut.tokens < 1:
        if not spared:
            raise unsupported(student.config.model_type, "reads more than the first token, so that all go on")
        fewer_tokens(student, cut.tokens)
    if school.cascade and spared:
        _leave_what_is_shared(student)
    where = choose_device(school.device).name
    teacher = teacher.to(where, torch.bfloat16 if school.bf16 else torch.float32)
    rounding = partial(fake_quantized, level=levels(reduce_range=school.reduce_range))
    pupil = Pupil(student=student.to(where), teacher=teacher, layers=cut.layers, device=where,
                  bf16=school.bf16, rounding=rounding,
                  pruning=lambda steps: _hooks(student, cut, steps))  # fmt: skip
    lessons = Lessons(rows=school.rows, targets=school.targets, pad_id=signature.pad_id,
                      mask_id=_mask_id(school.onnx), unlabelled=school.unlabelled,
                      between=_between(school.onnx) if signature.pairs else frozenset())  # fmt: skip
    left = seconds - (time.monotonic() - began)
    epochs, copies = school.settings.epochs, school.settings.augment
    if epochs is None:
        epochs, copies = _plan(pupil, lessons, school, left, work)
    settings = school.settings.model_copy(update={"augment": copies})
    steps = steps_in(lessons, settings, epochs=epochs)
    progress.say(f"{cut.name}: {read_shape(student)}, {epochs} epochs with {copies:g} copies of each row")
    with progress.task(f"teach {cut.name}", steps) as advance:
        distil(pupil, lessons, settings, epochs=epochs, seed=school.seed, work=work, advance=advance)
    student = student.to("cpu").eval()
    if gradually and _to_prune(read_shape(student), cut):
        slim(student)
    if gradually and spared:
        first_token_only(student, school.rows[:PROVEN])
    layer = _embedding_layer(signature.embedding_layer, cut)
    _export(student, school, layer=layer, out=out)
    return {"shape": str(read_shape(student)), "epochs": epochs, "seconds": time.monotonic() - began}


def spare_last_layer(school: School, *, out: Path) -> bool:
    """The fine-tuned model as it is, but for the last layer's work on all tokens after the first: a model folder.

    Args:
        school: what it is made with.
        out: an empty folder.

    Returns:
        whether it was made; not where the model reads other tokens, too.
    """
    model = load_model(school.checkpoint, school.task)
    if not first_token_only(model, school.rows[:PROVEN]):
        return False
    _export(model, school, layer=read_signature(school.onnx).embedding_layer, out=out)
    return True


def _export(model: PreTrainedModel, school: School, *, layer: int, out: Path) -> None:
    export_onnx(model, school.task, opset=school.opset, embedding_layer=layer, out=out)
    shutil.copyfile(school.onnx / "tokenizer.json", out / "tokenizer.json")
    told = {"embedding_layer": layer, "inputs": input_names(out / "model.onnx")}
    write_signature(out, read_signature(school.onnx).model_copy(update=told))


def _prune(student: PreTrainedModel, cut: Cut, school: School, *, pad_id: int, spared: int) -> None:
    """Down to the shape."""
    shape = read_shape(student)
    if (shape.ffn[0], shape.heads[0]) == (cut.channels, cut.heads):
        return
    draw = np.random.default_rng([school.seed, 7])
    chosen = draw.permutation(len(school.rows))[:LOOKED_AT].tolist()
    with progress.task(f"prune {cut.name}", len(cut.layers) - spared) as advance:
        narrow(student, [school.rows[index] for index in chosen], channels=cut.channels, heads=cut.heads,
               pad_id=pad_id, advance=advance, spared=spared)  # fmt: skip


def _round_embeddings(student: PreTrainedModel, *, bits: int) -> None:
    """As the quantizers store them; small tables are left in float, as there."""
    import torch

    table = student.get_input_embeddings().weight
    if len(table) >= graph.TABLE:
        rounded = graph.rounded_table(table.detach().numpy(), bits=bits)
        with torch.no_grad():
            table.copy_(torch.from_numpy(rounded))


def _leave_what_is_shared(student: PreTrainedModel) -> None:
    """Let only the layers below the last one learn: it is whole, as the head and the embeddings are, and stays the
    teacher's."""
    layers = encoder_layers(student)[1]
    learned = {id(parameter) for layer in layers[:-1] for parameter in layer.parameters()}
    for parameter in student.parameters():
        parameter.requires_grad_(id(parameter) in learned)


def _hooks(student: PreTrainedModel, cut: Cut, steps: int) -> list[Hooks]:
    """What prunes while a student learns: Neural Compressor's structured pruning, and zeros."""
    hooks = []
    growing = Schedule(first=max(0, steps // 20), last=max(1, steps // 2), every=max(1, steps // 60))
    if cut.pruning == "neural-compressor":
        wanted = _to_prune(read_shape(student), cut)
        hooks += [prune_ffn(student, cut.channels, growing)] if "channels" in wanted else []
        hooks += [prune_heads(student, cut.heads, growing)] if "heads" in wanted else []
    if cut.sparsity is not None:
        hooks.append(sparsify(student, cut.sparsity.pattern, cut.sparsity.share, growing))
    return hooks


def _to_prune(shape: Measures, cut: Cut) -> set[str]:
    narrower = {"channels": cut.channels < shape.ffn[0], "heads": cut.heads < shape.heads[0]}
    return {name for name, true in narrower.items() if true}


def _plan(pupil: Pupil, lessons: Lessons, school: School, seconds: float, work: Path) -> tuple[int, float]:
    """How many epochs, and copies of each row; kept, so that a run that resumes goes on with the plan it began with."""
    note = work / "plan.json"
    if not note.exists():
        epochs, copies = what_fits(pupil, lessons, school.settings, seconds=seconds, seed=school.seed)
        write_json(note, {"epochs": epochs, "augment": copies})
    plan = json.loads(note.read_text(encoding="utf-8"))
    return int(plan["epochs"]), float(plan["augment"])


def _mask_id(onnx: Path) -> int | None:
    """The id of the tokenizer's mask token, where it has one."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(onnx / "tokenizer.json"))
    return next((found for name in ("[MASK]", "<mask>") if (found := tokenizer.token_to_id(name)) is not None), None)


def _between(onnx: Path) -> frozenset[int]:
    """The ids of what the tokenizer puts around and between two texts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(onnx / "tokenizer.json"))
    prepare_pairs(tokenizer)
    encoding = tokenizer.encode("a", "a")
    return frozenset(id_ for id_, owner in zip(encoding.ids, encoding.sequence_ids, strict=True) if owner is None)


def _embedding_layer(layer: int, cut: Cut) -> int:
    """The student's layer whose output stands closest to the teacher's ``layer``, of those that all tokens go through;
    0 stays the embeddings."""
    if layer == 0:
        return 0
    chooses = choosing_layer(len(cut.layers)) if cut.tokens < 1 else None
    return 1 + min(range(chooses or len(cut.layers)), key=lambda at: abs(cut.layers[at] + 1 - layer))
