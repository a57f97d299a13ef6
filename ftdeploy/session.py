"""Opening an ONNX model with ONNX Runtime: checked first, with threads that fit the container, provider chosen."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ftdeploy.errors import ArtifactError, DeviceError
from ftdeploy.hardware import CPU, OPENVINO, choose_provider, processors, saturates_int8
from ftdeploy.signature import SessionOptions

if TYPE_CHECKING:
    import onnx
    import onnxruntime

log = logging.getLogger(__name__)

#: Most characters of a reason.
_REASON = 300
_LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def open_session(model: Path, options: SessionOptions | None = None, *, threads: int = 0,
                 device: str = "auto") -> onnxruntime.InferenceSession:  # fmt: skip
    """Open a model for inference.

    Args:
        model: the ``.onnx`` file; data beside it must be a regular file of the same folder.
        options: session options that were measured with the model.
        threads: intra-op threads; 0 takes the processors this process may use. ONNX Runtime by itself would count
            the host's, not the container's.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ArtifactError: no such file, truncated, not ONNX, or external data outside its folder.
        DeviceError: a device was forced that is not there.
    """
    import onnxruntime

    _refuse_outside_data(model)
    options = options or SessionOptions()
    chosen = choose_provider(device, preferred=options.provider)
    if options.provider and chosen.name == CPU:
        log.warning("the model runs on %s: %s", CPU, chosen.reason)
    exact = options.exact_int8 and saturates_int8()
    if exact:
        _warn_once(f"{model}: {_int8_here(options, chosen.name)}")
    threads = threads or processors()
    settings = _settings(options.model_copy(update={"exact_int8": exact}), threads)
    providers: list[str | tuple[str, dict[str, str]]] = [CPU]
    if chosen.name == OPENVINO:
        # By itself it would take 8 threads, and bfloat16 where the processor has it, which changes answers.
        providers = [(OPENVINO, {"device_type": "CPU", "num_of_threads": str(threads), "precision": "ACCURACY"}), CPU]
    elif chosen.name != CPU:
        providers = [chosen.name, CPU]
    try:
        session = onnxruntime.InferenceSession(
            _apart(model) if exact else os.fspath(model),
            settings,
            providers=providers,
            disabled_optimizers=list(options.disabled_optimizers),
        )
    except Exception as error:  # onnxruntime raises classes of its C++ core that share no public base
        raise ArtifactError(
            f"{model} cannot be opened by ONNX Runtime: {reason_of(error)}",
            cause="the file is truncated or not an ONNX model, or it needs a newer onnxruntime",
            fix="make the artifact again, or install the onnxruntime it was made with",
        ) from error
    # ONNX Runtime falls back to the CPU without a word where CUDA's libraries cannot be loaded.
    got = session.get_providers()[0]
    if got != chosen.name:
        if device != "auto" or os.environ.get("FTDEPLOY_DEVICE", "auto") != "auto":
            raise DeviceError(
                f"provider {chosen.name} is forced and could not be loaded; ONNX Runtime took {got}",
                cause="libraries of CUDA or cuDNN are missing, or are of another version than onnxruntime-gpu wants",
                fix="install those that its release notes name, or do not force the device",
            )
        log.warning("%s could not be loaded, the model runs on %s", chosen.name, got)
    return session


def reason_of(error: Exception) -> str:
    """What an error of ONNX Runtime's core says: the end, as it begins with places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (lines or [type(error).__name__])[-1]
    return said if len(said) <= _REASON else f"... {said[-_REASON:]}"


def _apart(model: Path) -> bytes | str:
    """The model with weights of its own for each node that reads int8 ones: the optimizer that makes their products
    exact puts its own in their place, and stops at the second node that reads the same."""
    import onnx

    proto = onnx.load(os.fspath(model))
    # Their zero points are replaced alike.
    int8 = [one for one in proto.graph.initializer if one.data_type == onnx.TensorProto.INT8]
    return proto.SerializeToString() if own_weights(proto, int8) else os.fspath(model)


def own_weights(model: onnx.ModelProto, weights: Iterable[onnx.TensorProto], *, but: Collection[str] = ()) -> bool:
    """Give each node a copy of its own of the weights that another one reads before it; whether there was any.

    Args:
        model: changed.
        weights: those that this is about.
        but: operators of nodes that are left as they are.
    """
    import onnx

    known = {one.name: one for one in weights}
    read: set[str] = set()
    copies = []
    for at, node in enumerate(model.graph.node):
        for place, name in enumerate(node.input if node.op_type not in but else ()):
            if name in read:
                own = onnx.TensorProto()
                own.CopyFrom(known[name])
                own.name = node.input[place] = f"{name}_of_{at}"
                copies.append(own)
            elif name in known:
                read.add(name)
    model.graph.initializer.extend(copies)
    return bool(copies)


@cache
def _warn_once(message: str) -> None:
    log.warning(message)


def _int8_here(options: SessionOptions, provider: str) -> str:
    """What int8 weights of the full range mean on a processor without VNNI."""
    # The optimizer that makes the products exact belongs to the extended ones, and to ONNX Runtime's own provider.
    exact = provider != OPENVINO and options.graph_optimization in ("extended", "all")
    here = "so they are made in 16 bits, which is slower" if exact else "so answers differ from those it was judged by"
    return (
        "its int8 weights were made for processors with VNNI; the sums of their products may not fit in this one, "
        f"{here}. `compress.int8: portable` makes weights that need no VNNI"
    )


def _settings(options: SessionOptions, threads: int) -> onnxruntime.SessionOptions:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[options.graph_optimization])
    settings.log_severity_level = 3  # errors only: its warnings name nodes that nobody can act on
    settings.enable_cpu_mem_arena = options.memory_arena
    settings.enable_mem_pattern = options.memory_pattern
    for key, value in _entries(options).items():
        settings.add_session_config_entry(key, value)
    return settings


def _entries(options: SessionOptions) -> dict[str, str]:
    """Entries of the session's configuration; what is as ONNX Runtime has it by itself is left out."""
    entries = {
        "optimization.enable_gelu_approximation": "1" if options.gelu_approximation else None,
        "session.enable_quant_qdq_cleanup": "1" if options.qdq_cleanup else None,
        "session.disable_prepacking": None if options.prepacking else "1",
        "session.intra_op.allow_spinning": None if options.spinning else "0",
        "session.inter_op.allow_spinning": None if options.spinning else "0",
        "session.dynamic_block_base": str(options.dynamic_block_base) if options.dynamic_block_base else None,
        "session.set_denormal_as_zero": "1" if options.denormal_as_zero else None,
        "session.x64quantprecision": "1" if options.exact_int8 else None,
    }
    return {key: value for key, value in entries.items() if value is not None}


def _refuse_outside_data(model: Path) -> None:
    """ONNX Runtime follows whatever path the model names for its weights; only the file's own folder is allowed."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load(os.fspath(model), load_external_data=False)
    except (OSError, DecodeError, ValueError) as error:
        raise ArtifactError(
            f"{model} is not a readable ONNX model: {str(error).splitlines()[0][:300]}",
            cause="the file is missing, truncated, or something else",
            fix="make the artifact again, or copy it again from where it was made",
        ) from error
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                data = model.parent / entry.value
                if not data.is_file():
                    raise ArtifactError(
                        f"{model} wants its weights from {entry.value!r}, which is not there",
                        cause="the model was copied without its data file",
                        fix="copy the whole folder, or export the model again",
                    )
                if data.resolve().parent != model.parent.resolve() or data.is_symlink() or data.stat().st_nlink > 1:
                    raise ArtifactError(
                        f"{model} wants its weights from {entry.value!r}",
                        cause="the model names data outside its own folder, or a link",
                        fix="refuse this model unless you know who made it; export it again with data beside it",
                    )
