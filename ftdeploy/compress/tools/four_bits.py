"""Int8 weights that are stored in four bits, and are int8 again when the model is opened.

Blocks of `BLOCK` inputs have a whole factor each: an int8 weight is four bits times the factor, both integers, and the
output's scale stands beside it as for any int8 weight. (QLoRA quantizes its scales likewise, Dettmers et al. 2023.)
What unpacks them are plain operators on constants, which ONNX Runtime computes once, when it opens the model: products
are the same int8 kernels, as fast as with weights stored in int8, where kernels that read four bits (MatMulNBits) are
slower for more than a few rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy.compress.tools import graph
from ftdeploy.compress.tools.int8 import PAIR, pair_sums, symmetric

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

#: Inputs whose weights share a factor.
BLOCK = 32
#: Least and greatest of four bits.
_LOW, _HIGH = -8, 7
#: Largest factor: 8 * 16 is as large as int8 goes.
_FACTORS = 16
#: How often the scales are widened, until no sum of a pair can saturate.
_TRIES = 8


def fits(weights: NDArray[np.float32]) -> bool:
    """Whether a matrix, shape (inputs, outputs), can be cut into whole blocks, two weights to a byte."""
    return len(weights) % (2 * BLOCK) == 0


def packed(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.int8], NDArray[np.float32]]:
    """Weights as integers of four bits, a factor a block, and a scale an output, such that no sum of a pair can
    saturate (see `ftdeploy.compress.tools.int8`).

    Each is rounded to the nearest. GPTQ (Frantar et al. 2022) took a quarter off the logits' squared error of a
    six-layer encoder, changed as many answers, and makes other integers of a layer in every model that has it.

    Args:
        weights: float32, shape (inputs, outputs), for which `fits` holds.

    Returns:
        integers from -8 to 7, int8, of that shape; factors from 1 to 16, int8, (inputs / `BLOCK`, outputs); scales,
        float32, (outputs,).
    """
    _, scales = symmetric(weights)
    for _ in range(_TRIES):
        integers, factors = _in_blocks(weights / scales)
        made = unpacked(integers, factors).astype(np.float32)
        sums = pair_sums(made)
        if sums.max(initial=0) <= PAIR:
            break
        # Rounding has made some sums larger than what they are rounded from.
        scales = np.where(sums > PAIR, scales * (sums / (PAIR - 1)), scales).astype(np.float32)
    # Of these integers, the scale of least squared error.
    fitted = (made * weights).sum(axis=0) / np.maximum(np.square(made).sum(axis=0), 1)
    return integers, factors, np.where(fitted > 0, fitted, scales).astype(np.float32)


def unpacked(integers: NDArray[np.int8], factors: NDArray[np.int8]) -> NDArray[np.int8]:
    """The int8 weights, shape (inputs, outputs)."""
    made: NDArray[np.int8] = integers * np.repeat(factors, BLOCK, axis=0)
    return made


def _in_blocks(levels: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Weights in units of int8, each block by the factor of least squared error."""
    blocks = levels.reshape(-1, BLOCK, levels.shape[1])
    least = np.full((len(blocks), 1, levels.shape[1]), np.inf, dtype=np.float32)
    factors = np.ones_like(least)
    for factor in range(1, _FACTORS + 1):
        rounded = np.rint(blocks / factor).clip(_LOW, _HIGH)
        error = np.square(rounded * factor - blocks).sum(axis=1, keepdims=True)
        better = error < least
        least, factors = np.where(better, error, least), np.where(better, factor, factors)
    integers = np.rint(blocks / factors).clip(_LOW, _HIGH)
    return integers.reshape(levels.shape).astype(np.int8), factors[:, 0].astype(np.int8)


def unpacking(name: str, integers: NDArray[np.int8],
              factors: NDArray[np.int8]) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:  # fmt: skip
    """Nodes that make the int8 weights ``name`` of shape (inputs, outputs), and the constants that they read. They
    compute in eight bits: what they make stays in memory until the last of them has run."""
    from onnx import TensorProto

    rows, width = integers.shape
    halves = (integers - _LOW).astype(np.uint8).reshape(2, rows // BLOCK // 2, BLOCK, width)
    constants: dict[str, NDArray[Any]] = {
        f"{name}.nibbles": halves[0] | (halves[1] << 4),
        f"{name}.factors": factors[:, None],
        f"unpack.rows.{width}": np.array([-1, width]),
        "unpack.lower": np.array(15, dtype=np.uint8), "unpack.four": np.array(4, dtype=np.uint8),
        "unpack.eight": np.array(-_LOW, dtype=np.int8),
    }  # fmt: skip
    steps: tuple[tuple[str, tuple[str, ...], str, dict[str, Any]], ...] = (
        ("BitwiseAnd", (f"{name}.nibbles", "unpack.lower"), f"{name}.low", {}),
        ("BitShift", (f"{name}.nibbles", "unpack.four"), f"{name}.high", {"direction": "RIGHT"}),
        ("Concat", (f"{name}.low", f"{name}.high"), f"{name}.both", {"axis": 0}),
        ("Cast", (f"{name}.both",), f"{name}.numbers", {"to": TensorProto.INT8}),
        ("Sub", (f"{name}.numbers", "unpack.eight"), f"{name}.centred", {}),
        ("Mul", (f"{name}.centred", f"{name}.factors"), f"{name}.levels", {}),
        ("Reshape", (f"{name}.levels", f"unpack.rows.{width}"), name, {}),
    )
    return [graph.node(kind, *read, makes=made, **settings) for kind, read, made, settings in steps], constants
