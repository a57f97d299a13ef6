"""Intel Neural Compressor 3.7: dynamic, static, SmoothQuant, weight-only, and its own autotuned result.

(https://github.com/intel/neural-compressor/tree/v3.7/docs/source)
"""

from __future__ import annotations

import logging
import os
import re
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.compress.tools import graph
from ftdeploy.compress.tools.calibration import MOST_ROWS, SEARCH_ROWS, Loader, batches, feeds, read_rows
from ftdeploy.errors import CompressionError
from ftdeploy.signature import read_signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

_FLOAT = {"weight": {"dtype": ["fp32"]}, "activation": {"dtype": ["fp32"]}}
#: Its default fuses the graph first, which made int8 slower wherever it was measured.
_UNFUSED = {"graph_optimization_level": "ENABLE_BASIC"}


def dynamic(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Post-training dynamic int8: weights per channel, activations by their range in the batch; embeddings uint8.

    Options: ``exclude``.
    """
    excluded = _kept(options.get("exclude", ()))
    _fit(
        source,
        out,
        {"approach": "dynamic", "recipes": dict(_UNFUSED), **({"op_name_dict": excluded} if excluded else {})},
    )


def static(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Post-training static int8: activations by ranges seen in calibration.

    Options: ``calibration``; ``method`` (``minmax``, ``percentile``, ``kl``); ``format`` (``QDQ``, ``QOperator``);
    ``per_channel``; ``products``; ``exclude``; ``embeddings`` (bits).
    """
    bits, exclude = options.get("embeddings"), options.get("exclude", ())
    _fit(source, out, _static(source, options), loader=_loader(source, options), embeddings=bits, exclude=exclude)


def smooth(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """SmoothQuant (Xiao et al. 2023, https://arxiv.org/abs/2211.10438) before static int8.

    Options: as of `static`; ``alpha``: between 0 and 1, or ``auto``, which searches it for each layer by the error of
    its output between ``alpha_min`` and ``alpha_max`` in steps of ``alpha_step``.
    """
    source = graph.with_room_for_factors(source, out.with_name("wide"))
    alpha = options.get("alpha", "auto")
    settings = _static(source, options)
    between = {name: options[name] for name in ("alpha_min", "alpha_max", "alpha_step") if name in options}
    with _alpha_between(between):
        settings["recipes"] |= {"smooth_quant": True, "smooth_quant_args": {"alpha": alpha, "folding": True}}
        most = SEARCH_ROWS if alpha == "auto" else MOST_ROWS
        loader = _loader(source, options, one_length=True, most=most)
        exclude = options.get("exclude", ())
        _fit(source, out, settings, loader=loader, embeddings=options.get("embeddings"), exclude=exclude)


def weight_only(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """Weights in blocks of 4 or 8 bits, activations float or, in ONNX Runtime's kernel, int8 by block.

    Options: ``algorithm``: ``RTN`` (round to nearest), ``GPTQ`` (Frantar et al. 2023, https://arxiv.org/abs/2210.17323)
    or ``AWQ`` (Lin et al. 2024, https://arxiv.org/abs/2306.00978); ``bits``; ``block``; ``calibration`` for the last
    two; ``exclude``; ``embeddings`` (bits).

    It packs 4 bits only: with 8 it rounds the weights and leaves them in float, so these are packed here.
    """
    algorithm, bits, block = options.get("algorithm", "RTN"), options.get("bits", 4), options.get("block", 32)
    if algorithm == "AWQ":
        source = graph.with_room_for_factors(source, out.with_name("wide"))
    weight = {"dtype": ["int"], "bits": [bits], "group_size": [block], "scheme": ["sym"], "algorithm": [algorithm]}
    exclude = options.get("exclude", ())
    settings = {
        "approach": "weight_only",
        # Level 1 drops `bits` and `group_size` (its sampler lists the items of int8 alone), and fails for want of them.
        "quant_level": "auto",
        "op_type_dict": {".*": {"weight": weight}},
        "op_name_dict": _kept(exclude),
        "recipes": {**_UNFUSED, **{f"{name}_args": {"accuracy_level": 4} for name in ("rtn", "gptq", "awq")}},
    }
    most = SEARCH_ROWS if algorithm == "AWQ" else MOST_ROWS
    loader = None if algorithm == "RTN" else _loader(source, options, one_length=True, most=most)
    tables = options.get("embeddings")
    _fit(source, out, settings, loader=loader, embeddings=tables, exclude=exclude, pack=(bits, block))


def tuned(source: Path, out: Path, options: Mapping[str, Any]) -> None:
    """What it finds by itself: quantization with an accuracy goal, its own order of trials, its own defaults.

    Options: ``calibration``; ``evaluation``: a calibration file with labels, on which it scores accuracy (at most
    `calibration.READ_ROWS` of them); ``max_drop``: of accuracy, absolute (0.01); ``trials``: at most so many (30);
    ``seconds``: of time (0: no limit); ``approach``: ``auto``, ``static`` or ``dynamic``.

    Raises:
        CompressionError: no trial reached the goal, with that in its words.
    """
    from_file, labels = read_rows(Path(options["evaluation"]))
    if labels is None:
        raise CompressionError(
            "the evaluation rows have no labels",
            cause="Neural Compressor tunes by accuracy",
            fix="write them with `labels`",
        )
    signature = read_signature(source)

    def accuracy(model: onnx.ModelProto) -> float:
        import onnxruntime

        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        right = 0
        for number, row in enumerate(from_file):
            logits = session.run(["logits"], feeds(row[None], signature))[0]
            right += int(np.argmax(logits[0]) == labels[number])
        return right / len(labels)

    _prepare()
    from neural_compressor.config import AccuracyCriterion, TuningCriterion

    settings = {
        "approach": options.get("approach", "auto"),
        # Its level `auto` breaks on both approaches at once: it adds a list to a dictionary.
        "quant_level": 1,
        "accuracy_criterion": AccuracyCriterion(criterion="absolute", tolerable_loss=options.get("max_drop", 0.01)),
        "tuning_criterion": TuningCriterion(max_trials=options.get("trials", 30), timeout=options.get("seconds", 0)),
    }
    _fit(source, out, settings, loader=_loader(source, options), evaluate=accuracy)


def _static(source: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """Its settings for static int8 of the matrices alone; everything between them stays in float.

    Adding the attention mask must: no row of a calibration batch is padded, so the mask's range would be empty.
    """
    model = graph.load(source / "model.onnx")
    float_types = graph.op_types(model) - set(graph.MATMULS)
    granularity = "per_channel" if options.get("per_channel", True) else "per_tensor"
    quantized = {
        "weight": {"granularity": [granularity]},
        "activation": {"algorithm": [options.get("method", "minmax")]},
    }
    products = [] if options.get("products", False) else graph.products(model)
    return {
        "approach": "static",
        "quant_format": options.get("format", "QDQ"),
        "op_type_dict": {"MatMul": quantized, **dict.fromkeys(float_types, _FLOAT)},
        "op_name_dict": _kept([*options.get("exclude", ()), *products]),
        "recipes": dict(_UNFUSED),
    }


def _kept(names: Iterable[str]) -> dict[str, Any]:
    """Its settings for nodes that stay in float; a Gemm becomes a MatMul of another name before they are read."""
    return {f"{re.escape(name)}(_MatMul)?": _FLOAT for name in names}


def _loader(source: Path, options: Mapping[str, Any], *, one_length: bool = False, most: int = MOST_ROWS) -> Loader:
    rows, _ = read_rows(Path(options["calibration"]))
    return Loader(batches(rows, read_signature(source), one_length=one_length, most=most))


def _fit(source: Path, out: Path, settings: dict[str, Any], *, loader: Loader | None = None,
         evaluate: Callable[[onnx.ModelProto], float] | None = None, embeddings: int | None = None,
         exclude: Collection[str] = (), pack: tuple[int, int] | None = None) -> None:  # fmt: skip
    """Run it, and write what it found.

    Raises:
        CompressionError: it returned None, with the error that it logged instead of raising.
    """
    _prepare()
    from neural_compressor import PostTrainingQuantConfig, quantization

    # By itself it takes 7 bits where there is no VNNI, for activations, too: eight times the error (see `int8`).
    settings = {"reduce_range": False, **settings}
    if evaluate is None:
        settings = {"domain": "nlp", "quant_level": 1, **settings}
    if loader is not None:
        settings["calibration_sampling_size"] = [len(loader)]
    given: dict[str, Any] = {} if loader is None else {"calib_dataloader": loader}
    if evaluate is not None:
        given["eval_func"] = evaluate
    with _errors() as said:
        found = quantization.fit(os.fspath(source / "model.onnx"), PostTrainingQuantConfig(**settings), **given)
    if found is None:
        # The second to last is the cause; the last says that there is no model.
        reason = next((line for line in said if "xception" in line), said[-1] if said else "it logged no error")
        raise CompressionError(
            f"Neural Compressor returned no model: {reason}",
            cause="it logs errors and returns None instead of raising",
            fix="install the pinned versions of constraints.txt, or leave this candidate out",
        )
    # SmoothQuant takes an output that a matrix reads for one of those that it added to look at, and removes it.
    graph.restore_outputs(found.model, graph.load(source / "model.onnx"))
    if pack is not None and pack[0] != 4:  # noqa: PLR2004  # bits that it packs itself
        bits, block = pack
        graph.save(graph.pack(found.model, bits=bits, block=block, exclude=exclude, embeddings=embeddings), out)
    elif embeddings:
        graph.save(graph.pack(found.model, exclude=exclude, embeddings=embeddings), out)
    else:
        found.save(os.fspath(out))


@contextmanager
def _errors() -> Iterator[list[str]]:
    """What it logs as an error, line by line."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(" ".join(record.getMessage().split()))

    keep = Keep(logging.ERROR)
    logger = logging.getLogger("neural_compressor")
    logger.addHandler(keep)
    try:
        yield said
    finally:
        logger.removeHandler(keep)


@contextmanager
def _alpha_between(settings: Mapping[str, float]) -> Iterator[None]:
    """SmoothQuant's search within other bounds: its ONNX Runtime adaptor does not hand these settings on."""
    if not settings:
        yield
        return
    from neural_compressor.adaptor.ox_utils.smooth_quant import ORTSmoothQuant

    whole = ORTSmoothQuant._auto_tune_alpha  # noqa: SLF001  # there is no other door

    def within(self: Any, calib_iter: int, **bounds: Any) -> Any:
        return whole(self, calib_iter, **{**bounds, **settings})

    ORTSmoothQuant._auto_tune_alpha = within  # noqa: SLF001
    try:
        yield
    finally:
        ORTSmoothQuant._auto_tune_alpha = whole  # noqa: SLF001


def _prepare() -> None:
    """Lend it ``onnx.mapping``, which it reads and onnx 1.19 removed; older onnx has known CVEs."""
    import onnx
    from onnx import TensorProto, helper

    if hasattr(onnx, "mapping"):
        return
    mapping = types.ModuleType("onnx.mapping")
    to_numpy = {kind: helper.tensor_dtype_to_np_dtype(kind) for kind in TensorProto.DataType.values() if kind}
    to_tensor: dict[object, int] = {}
    for kind, dtype in to_numpy.items():
        to_tensor.setdefault(dtype, kind)  # the first one wins: bfloat16 and others share a numpy type
    mapping.__dict__.update(TENSOR_TYPE_TO_NP_TYPE=to_numpy, NP_TYPE_TO_TENSOR_TYPE=to_tensor)
    sys.modules["onnx.mapping"] = mapping
    onnx.mapping = mapping
