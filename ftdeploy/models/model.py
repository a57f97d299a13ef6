"""What every model is to an evaluation, whatever it is made of, and what the kinds of models share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ftdeploy import progress
from ftdeploy.batching import Batching, by_length
from ftdeploy.encoded import Encoded, Outputs, stacked
from ftdeploy.errors import ModelError, did_you_mean
from ftdeploy.measure import Opened, Runner
from ftdeploy.tasks.said import Said
from ftdeploy.windows import Windows, pool, pool_rows, pooled

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["bundle", "onnx", "compressed", "checkpoint", "hub", "service"]

#: A name that transformers gives to a class when nobody named it.
_UNNAMED = re.compile(r"LABEL_\d+")
#: Texts that are tokenised at a time: what a tokenizer makes of a text takes many times its ids.
_TOKENISED = 1024


def no_advance(_rows: float) -> None:
    """Progress that nobody follows."""


class Model(Protocol):
    """A classifier that can be asked, closed with `close`."""

    @property
    def name(self) -> str:
        """As the user gave it, without credentials."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def about(self) -> str:
        """One line on what was opened: which file formats, commit or protocol."""

    @property
    def digest(self) -> str:
        """sha256, hexadecimal, of what decides its answers: the artifact's digest, the checkpoint's files, the commit
        on the hub, or what a service states of itself."""

    @property
    def cacheable(self) -> bool:
        """Whether another model would have another digest. A service that states none could be another one tomorrow."""

    @property
    def conditions(self) -> Mapping[str, str | int]:
        """What beside the digest has a say in the answers: batches, and the runtime with its version."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class id -> label."""

    @property
    def max_length(self) -> int | None:
        """Longest input in tokens; None where it is not known."""

    @property
    def pairs(self) -> bool | None:
        """Whether it reads two texts a row (`ftdeploy.pairs`); None where it takes what it is given, or is silent."""

    @property
    def folder(self) -> Path | None:
        """The model folder (model.onnx, tokenizer.json, signature.json), where there is one."""

    @property
    def provider(self) -> str:
        """What runs it."""

    def scores(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> NDArray[np.float32]:
        """Probabilities, temperature applied, batched as the model is served.

        Args:
            texts: the rows; none gives an array without rows.
            advance: told the rows done.

        Returns:
            float32, shape (rows, labels), in the order of the texts.
        """

    def alone(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `scores`, each text in a pass, or a request, of its own: batch-mates have no say."""

    def said(self, texts: Sequence[str], *, advance: Callable[[float], None] = no_advance) -> Said:
        """Answers as the data writes its labels; for tasks whose answers are no probabilities of few labels.

        Raises:
            ModelError: this kind of model cannot be asked so.
        """

    def said_alone(self, texts: Sequence[str]) -> Said:
        """As `said`, each piece of a text in a pass, or a request, of its own."""

    def timed(self) -> Path | Opened:
        """What ``ftdeploy.measure.measure`` takes."""

    def close(self) -> None:
        """Let go of the model."""


class OneLabel:
    """What models share that answer with probabilities of labels only."""

    name: str
    pairs: bool | None = None

    def said(self, texts: Sequence[str], *,  # noqa: ARG002 - the protocol's
             advance: Callable[[float], None] = no_advance) -> Said:  # noqa: ARG002  # fmt: skip
        """Not of this kind of model."""
        raise ModelError(
            f"{self.name} can be asked for one label a text only",
            cause="it was opened as a model of that task",
            fix="say the task where it is opened: a suite does by its `task`",
        )

    def said_alone(self, texts: Sequence[str]) -> Said:
        """Not of this kind of model."""
        return self.said(texts)


class Tokenised(Runner, Protocol):
    """A model that is open here: token ids in, logits out."""

    @property
    def windows(self) -> Windows | None:
        """How it reads texts that are longer than its input; None cuts them."""

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of one forward pass, padded to the longest row: float32, shape (rows, labels); called by several
        threads at once."""


def batched_logits(runner: Tokenised, texts: Sequence[str], *, classes: int, batching: Batching, lanes: int,
                   advance: Callable[[float], None]) -> NDArray[np.float32]:  # fmt: skip
    """Logits of many texts, in batches of alike length (`by_length`), several passes at a time.

    Args:
        runner: the model.
        texts: the rows.
        classes: labels of the model.
        batching: the budget of a batch.
        lanes: passes at the same time.
        advance: told the rows done.

    Returns:
        float32, shape (rows, classes), in the order of the texts.
    """
    ids, owners = [], []
    for start in range(0, len(texts), _TOKENISED):
        for row in runner.encode(texts[start : start + _TOKENISED]):
            ids.append(row.ids)
            owners.append(start + row.text)
    plan = list(by_length([len(row) for row in ids], tokens=batching.tokens, rows=batching.rows))
    found = np.empty((len(ids), classes), dtype=np.float32)
    passes = ThreadPoolExecutor(lanes)
    try:
        answers = passes.map(lambda batch: runner.logits([ids[index] for index in batch]), plan)
        for batch, logits in zip(plan, answers, strict=True):
            found[batch] = logits
            advance(len(batch) * len(texts) / len(ids))
    finally:  # whoever interrupts does not wait for what has not begun
        passes.shutdown(cancel_futures=True)
    if runner.windows is None or len(ids) == len(texts):
        return found
    return pool(found, owners, [len(row) for row in ids], runner.windows.pooling)


def single_logits(runner: Tokenised, texts: Sequence[str], *, classes: int) -> NDArray[np.float32]:
    """Logits of each text in a pass of its own: float32, shape (rows, classes)."""
    rows = runner.encode(texts)
    if not rows:
        return np.empty((0, classes), dtype=np.float32)
    found = np.concatenate([runner.logits([row.ids]) for row in rows])
    return found if runner.windows is None else pool_rows(found, rows, runner.windows)


def run_alone(run: Callable[[Sequence[Sequence[int]]], Outputs], rows: Sequence[Encoded],
              windows: Windows | None) -> Outputs:  # fmt: skip
    """Outputs of texts of which each row had a pass of its own.

    Args:
        run: one forward pass over token ids.
        rows: of the texts; at least one.
        windows: how long texts are read.
    """
    found = [run([row.ids]) for row in rows]
    logits, embedding = stacked([one.logits for one in found]), np.concatenate([one.embedding for one in found])
    outputs = Outputs(logits=logits, embedding=embedding, rows=rows)
    return outputs if windows is None else pooled(outputs, windows)


def label_order(stated: Sequence[str], wanted: Sequence[str] | None, *, name: str) -> tuple[str, ...]:
    """The labels of a model that states its own, held against those that are wanted of it.

    Args:
        stated: class id -> label, by the model.
        wanted: the labels that it should have, class id -> label; None takes what is stated.
        name: of the model, for messages.

    Returns:
        The stated labels; or the wanted ones where the model only counts (``LABEL_0``, ``LABEL_1``).

    Raises:
        ModelError: it has others.
    """
    if wanted is None or set(stated) == set(wanted):
        return tuple(stated)
    if len(stated) == len(wanted) and all(_UNNAMED.fullmatch(label) for label in stated):
        taken = {label: wanted[int(label.removeprefix("LABEL_")) % len(wanted)] for label in stated}
        listed = ", ".join(f"{label} is {meant!r}" for label, meant in sorted(taken.items()))
        progress.say(f"{name} does not name its labels; taken in the order of their ids: {listed}")
        return tuple(taken[label] for label in stated)
    missing = [label for label in wanted if label not in stated]
    odd = missing[0] if missing else next(label for label in stated if label not in wanted)
    raise ModelError(
        f"{name} has the labels {', '.join(map(repr, stated))}, and {odd!r} is "
        + ("not among them" if missing else "not wanted"),
        cause="it was trained for another task, or with other names for the labels",
        fix=did_you_mean(odd, stated if missing else wanted) or "name a model with the labels of the data",
    )
