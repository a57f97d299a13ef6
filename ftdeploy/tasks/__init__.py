"""What differs between tasks, and nothing else: a Protocol and a dict. No other module asks which task it is.

A further task is one file with one class, and one line in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ftdeploy.errors import ConfigError, did_you_mean
from ftdeploy.tasks.feature_extraction import FeatureExtraction
from ftdeploy.tasks.multi_label_classification import MultiLabelClassification
from ftdeploy.tasks.said import Function, Said
from ftdeploy.tasks.text_classification import TextClassification
from ftdeploy.tasks.text_regression import TextRegression
from ftdeploy.tasks.token_classification import TokenClassification

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from ftdeploy.encoded import Encoded, Outputs
    from ftdeploy.signature import Signature
    from ftdeploy.windows import Windows

    Ids = NDArray[np.int64]

__all__ = ["TASKS", "Function", "Said", "Task", "known_task", "parts_of", "require_one_label", "require_training"]


class Task(Protocol):
    """One task through the whole of FLOW and of the bundle.

    A row's *label* is one string, whatever the task: the name of its class, or its spans (`ftdeploy.spans`). The
    *names* are what labels are made of, as in the recipe's ``data.labels``: classes, or kinds of spans. The network has
    a *head* of outputs made of the names. A *summary* of a label is one of few words, for what counts rows: splits,
    slices, traffic and drift.
    """

    name: str
    """A key of `TASKS` and of the recipe; as transformers calls it, where it has a name for it."""
    exported_as: str
    """What the ONNX export of Optimum calls it."""
    auto_class: str
    """The transformers class that loads a checkpoint for this task."""
    problem_type: str | None
    """``problem_type`` of the checkpoint's config."""
    metrics: tuple[str, ...]
    """Names of metrics (``ftdeploy.metrics``), the deciding one first; higher is better."""
    beyond_chance: str | None
    """One that nothing is gained of by learning how frequent each label is, or what numbers are on average; None where
    the deciding one is such: of spans nothing is right but in its place."""
    encoder_decoder: bool
    """Whether a checkpoint with encoder and decoder can do it."""
    per_token: bool
    """Whether each token is labelled: logits are (rows, tokens, labels), a text may be several rows."""
    vectors: bool
    """Whether an answer is a vector, and no label: logits are (rows, width), of length 1. The checkpoint is taken as it
    is, rows need no labels, and answers are compared by what lies near them (`ftdeploy.neighbours`)."""
    multi_label: bool
    """Whether any number of names are a row's label, each decided by itself: a sigmoid over logits (rows, labels)."""
    number: bool
    """Whether an answer is a number, and no label: one output, of which the signature says the units. Labels are the
    numbers themselves, and answers are as good as they are near."""
    probabilities: bool
    """Whether logits become probabilities of names: what a temperature, a reliability diagram and an estimate of the
    accuracy are of."""
    one_label: bool
    """Whether a row's label is one of the network's outputs; else whole answers are compared."""
    unit: str
    """What its metrics count, for messages: spans, neighbours."""
    measures: tuple[str, ...]
    """Metrics of whole answers, where a row's label is not one of the outputs."""
    function: Function
    """What makes scores of the logits where nothing else is asked for."""
    windows: bool
    """Whether ``model.windows`` can be asked of it: a text's windows are answered as the text, and pooled."""
    pairs: bool
    """Whether a row may have a second text (``data.columns.text_pair``, `ftdeploy.pairs`)."""
    view: str
    """How the page shows an answer: ``labels``, ``sets``, ``entities``, ``vectors`` or ``numbers``."""
    misfit: tuple[str, str]
    """Why `read` may refuse a label, and what to do about it."""

    def read(self, row: Mapping[str, Any], text: str, label: str | None,
             separator: str | None = None) -> tuple[Any, Any]:  # fmt: skip
        """Text and label of a row as it was read, not yet cleaned; None for what is missing.

        Args:
            row: by column.
            text, label: the columns that the recipe names; it may name none with labels where rows need none.
            separator: between the names of a label, where there may be several and they are one string.

        Raises:
            ValueError: the label is none of this task; with the reason.
        """

    def names(self, label: str) -> tuple[str, ...]:
        """The names in a label, each once."""

    def renamed(self, label: str, called: Mapping[str, str | None]) -> str | None:
        """The label with its names as they are to be called; a name that is not among them stays.

        Args:
            label: of a row.
            called: by name; a name that is None here goes. None comes back where the label is nothing without it.
        """

    def true_label(self, given: Any, labels: Sequence[str], text: str | None = None) -> str:
        """The label that somebody says is right (`POST /feedback`), as the data writes it.

        Args:
            given: what came as JSON, of any type: what the recipe's label column may hold, but of one form.
            labels: the network's outputs.
            text: what places in the label are places in, where it is known.

        Raises:
            ValueError: it is none, or none that this network could have given; beginning with ``label``.
        """

    def true_label_schema(self, labels: Sequence[str]) -> dict[str, Any]:
        """The JSON Schema of what `true_label` takes, with one example.

        Args:
            labels: the network's outputs.
        """

    def summary(self, label: str) -> str:
        """One of `summaries`; of a label of the data one of `counted`."""

    def moved(self, label: str, before: str, after: str) -> str | None:
        """The label of a text that cleaning has changed; None where it no longer holds."""

    def masked(self, label: str, summary: str) -> str:
        """The label after identifiers of people were taken out of its summary, which may be all that there is to it.

        Args:
            label: as it was.
            summary: what is left of its summary.
        """

    def show(self, label: str, text: str) -> str:
        """A label as people read it beside its text."""

    def check_labels(self, counts: Mapping[str, int]) -> None:
        """Refuse data that nothing can be learned from.

        Args:
            counts: rows by summary.

        Raises:
            DataError: with what is wrong.
        """

    def counted(self, names: Sequence[str]) -> tuple[str, ...]:
        """All summaries of rows whose labels have these names."""

    def head(self, names: Sequence[str]) -> tuple[str, ...]:
        """The network's outputs, by class id: ``labels`` of the signature."""

    def known_names(self, labels: Sequence[str]) -> tuple[str, ...]:
        """`head` the other way: the names that a network's outputs are made of; none where labels are not of names."""

    def summaries(self, labels: Sequence[str]) -> tuple[str, ...]:
        """All summaries there are, of a model with these outputs."""

    def prepare_tokenizer(self, tokenizer: Tokenizer, max_length: int, windows: Windows | None = None, *,
                          pairs: bool = False) -> None:  # fmt: skip
        """Set truncation and padding as `encode` wants them."""

    def encode(self, tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None,
               windows: Windows | None = None, pair_length: int | None = None) -> list[Encoded]:  # fmt: skip
        """Texts as rows of the model: one each, or pieces that say of which text they are.

        Args:
            tokenizer: prepared by `prepare_tokenizer`.
            texts: any number.
            unknown: id of the unknown token, where there is one.
            windows: how texts are read that are too long for the model; None cuts them, or the task has its own pieces.
            pair_length: of texts that are pairs (`ftdeploy.pairs`) the most tokens of a row; None where they are none.
        """

    def targets(self, labels: Sequence[str], known: Sequence[str], rows: Sequence[Encoded] = ()) -> Any:
        """What the network is to answer: class ids, int64, shape (rows,); or for each row a list with one id a token;
        or, of any number of names, which of them hold: float32, shape (rows, labels), 0 or 1; or numbers, float32,
        shape (rows,).

        Args:
            labels: of the texts.
            known: the network's outputs.
            rows: of the texts; none is one a text, where no token has a target.

        Raises:
            DataError: a label that is not among the known ones.
        """

    def said(self, outputs: Outputs, signature: Signature) -> Said:
        """Answers as the data writes them, one a text."""

    def compared(self, labels: Sequence[str], answers: Sequence[Sequence[str]]) -> list[list[str]]:
        """What is right, and what each model says, as labels that metrics compare.

        Args:
            labels: of the rows, as the data writes them.
            answers: of each model to all rows, as `said` writes them; the model that the others are held against first.
        """

    def right(self, labels: Sequence[str], references: Ids, answers: Ids) -> NDArray[np.bool_]:
        """Whether a row is answered rightly, shape (rows,): for counting rows that went from right to wrong.

        Args:
            labels: class id -> label, as `compared` has it.
            references, answers: class ids, int64, shape (rows,).
        """

    def decode(self, outputs: Outputs, signature: Signature, texts: Sequence[str] = (), *, top_k: int | None = None,
               function: Function = "softmax") -> list[Any]:  # fmt: skip
        """Answers in the shape that the HTTP face shows, one a text.

        Args:
            outputs: of the model.
            signature: of the model.
            texts: where answers quote them.
            top_k: how many labels an answer holds; None is the task's default.
            function: what makes scores of the logits. The temperature belongs to the softmax alone; the others are
                those of the logits as the model gives them.
        """


_EVERY: tuple[Task, ...] = (
    TextClassification(),
    TokenClassification(),
    FeatureExtraction(),
    MultiLabelClassification(),
    TextRegression(),
)
TASKS: Mapping[str, Task] = {task.name: task for task in _EVERY}


def parts_of(task: Task, label: str) -> tuple[str, ...]:
    """What a label counts as where rows with each name are counted: its names, or the summary of one without any.

    Args:
        task: says what a label is.
        label: of a row.
    """
    return task.names(label) or (task.summary(label),)


def require_one_label(task: Task, what: str) -> None:
    """Refuse what compares classes of rows where words have labels.

    Args:
        task: of the recipe or the model.
        what: is asked for, as people call it.

    Raises:
        ConfigError: a row's label is not one of the network's outputs.
    """
    if not task.one_label:
        raise ConfigError(
            f"{what} does not go with {task.name} yet",
            cause=f"it compares one label a row, and these rows have {task.unit}",
            fix=f"use `ftdeploy run` and `ftdeploy eval`, which know metrics of {task.unit}",
        )


def require_training(task: Task, what: str) -> None:
    """Refuse what trains models where nothing is trained.

    Args:
        task: of the recipe.
        what: is asked for, as people call it.

    Raises:
        ConfigError: the task takes the checkpoint as it is.
    """
    if task.vectors:
        raise ConfigError(
            f"{what} does not go with {task.name}",
            cause="the checkpoint is taken as it is, so there is nothing to learn and nothing to search",
            fix="change the recipe, and use `ftdeploy run`",
        )


def known_task(name: str) -> str:
    """The name itself, of a task.

    Raises:
        ValueError: there is no such task; with what was probably meant.
    """
    if name not in TASKS:
        raise ValueError(f"{name!r} is not a task; {did_you_mean(name, TASKS)}")
    return name
