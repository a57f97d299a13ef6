"""The rows of a split as tokens in an Arrow file: tokenised once, also when training is killed and run again, and
mapped into memory instead of held there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ftdeploy.batching import pad
from ftdeploy.tasks.token_classification import IGNORED
from ftdeploy.windows import Windows, shares

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase

    from ftdeploy.tasks import Task

#: Rows that are tokenised, written and mapped together.
CHUNK = 1000

Row = dict[str, Any]
#: What rows may have beside tokens and label: for the objective, not for the network.
_EXTRAS = ("weight", "teacher")


def encode_rows(table: pa.Table, tokenizer: PreTrainedTokenizerBase, task: Task, labels: Sequence[str], *,
                max_length: int, windows: Windows | None = None, pairs: bool = False) -> list[Row]:  # fmt: skip
    """Rows as the network sees them, made by the task as the bundle's are: ``{"input_ids": list[int], "labels": int}``,
    cut at ``max_length`` tokens, and ``"weight": float`` and ``"teacher": list[float]`` where the table has such
    columns. Where each token has a label, ``labels`` is a list, and a text is as many rows as the task makes of it.
    With windows each has the label of its text, ``"text": int`` says which that is, and their weights add up to that of
    the text. With pairs a text is two (`ftdeploy.pairs`).

    Raises:
        DataError: a label that is not known.
    """
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())  # a copy: the other one is saved with the model
    task.prepare_tokenizer(backend, max_length, windows, pairs=pairs)
    pieces = task.encode(
        backend, table["text"].to_pylist(), unknown=None, windows=windows, pair_length=max_length if pairs else None
    )
    targets = task.targets(table["label"].to_pylist(), labels, pieces)
    rows: list[Row] = [
        {"input_ids": piece.ids, "labels": target}
        for piece, target in zip(pieces, targets if task.per_token else targets.tolist(), strict=True)
    ]
    for name in (name for name in _EXTRAS if name in table.column_names):
        values = table[name].to_pylist()
        for row, piece in zip(rows, pieces, strict=True):
            row[name] = values[piece.text]
    if windows is not None:
        owners = [piece.text for piece in pieces]
        for row, owner, share in zip(rows, owners, shares(owners, [len(one.ids) for one in pieces]), strict=True):
            row |= {"text": owner, "weight": row.get("weight", 1.0) * float(share)}
    return rows


def collate(rows: Sequence[Row], *, pad_id: int) -> dict[str, torch.Tensor]:
    """A batch: ``input_ids`` and ``attention_mask`` int64 (rows, longest); ``labels`` int64 (rows,), or (rows, longest)
    where each token has one (-100 has none), or float32 (rows, labels) where any number hold, or float32 (rows,) of
    numbers; and where the rows have
    them, ``weight`` float32 (rows,), ``teacher`` float32 (rows, labels), and ``row``, their index."""
    import torch

    ids, mask = pad([row["input_ids"] for row in rows], pad_id)
    targets: Any = [row["labels"] for row in rows]
    if isinstance(targets[0], list) and not isinstance(targets[0][0], float):
        targets, _ = pad(targets, IGNORED)
    batch = {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.as_tensor(targets),
    }
    if "row" in rows[0]:
        batch["row"] = torch.tensor([row["row"] for row in rows])
    for name in (name for name in _EXTRAS if name in rows[0]):
        batch[name] = torch.tensor([row[name] for row in rows], dtype=torch.float32)
    return batch


class ArrowRows(Sequence[Row]):
    """Encoded rows in a memory-mapped Arrow file; a row also has its ``row``, the index in the file.

    Args:
        file: written by `encode_to_file`.
    """

    def __init__(self, file: Path) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        self._chunks = table.to_batches()
        #: Tokens of each row.
        self.lengths: list[int] = pc.list_value_length(table["input_ids"]).to_pylist()
        #: The text of each row, where a text may be several windows.
        self.owners: list[int] | None = table["text"].to_pylist() if "text" in table.column_names else None
        #: Of the rows that there are; 1 where they have none.
        self.mean_weight = float(pc.mean(table["weight"]).as_py() or 1) if "weight" in table.column_names else 1.0

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        chunk, at = divmod(index, CHUNK)
        (row,) = self._chunks[chunk].slice(at, 1).to_pylist()
        return {**row, "row": index}

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))


def encode_to_file(table: pa.Table, tokenizer: PreTrainedTokenizerBase, task: Task, labels: Sequence[str], *,
                   max_length: int, file: Path, windows: Windows | None = None,
                   pairs: bool = False) -> ArrowRows:  # fmt: skip
    """Rows as `encode_rows` gives them, in a file that is reused when it is there.

    A stage's work folder is the place for it: that is emptied when anything of dataset, checkpoint or recipe changes.

    Args:
        table: with the columns ``text``, ``label``, and those that the objective wants.
        tokenizer: of the checkpoint.
        task: turns labels into targets.
        labels: in the order of their ids.
        max_length: tokens of the longest row; longer ones are cut.
        file: appears when it is whole.
        windows: how longer rows are read instead; None cuts them.
        pairs: whether a text is two.

    Raises:
        DataError: a label that is not known.
    """
    import pyarrow as pa

    # A call leaves its truncation in the tokenizer, which is saved with the model: so it is made on reuse as well.
    tokenizer("", truncation=True, max_length=max_length)
    if not file.exists():
        unfinished = file.with_suffix(".partial")
        schema: pa.Schema | None = None
        with pa.OSFile(str(unfinished), "wb") as sink:
            writer = None
            waiting: list[Row] = []
            for start in range(0, max(1, table.num_rows), CHUNK):
                some = table.slice(start, CHUNK)
                found = encode_rows(some, tokenizer, task, labels, max_length=max_length, windows=windows, pairs=pairs)
                waiting += found if windows is None else [{**row, "text": start + row["text"]} for row in found]
                schema = schema or _schema(waiting, pa)
                writer = writer or pa.ipc.new_file(sink, schema)
                last = start + CHUNK >= table.num_rows
                while len(waiting) >= CHUNK or last:  # `ArrowRows` counts on whole chunks
                    writer.write_batch(pa.RecordBatch.from_pylist(waiting[:CHUNK], schema=schema))
                    waiting = waiting[CHUNK:]
                    if not waiting:
                        break
            assert writer is not None  # noqa: S101  # the loop runs at least once; for the type checker
            writer.close()
        unfinished.rename(file)
    return ArrowRows(file)


def row_lengths(rows: Sequence[Row]) -> list[int]:
    """Tokens of each row."""
    return rows.lengths if isinstance(rows, ArrowRows) else [len(row["input_ids"]) for row in rows]


def mean_weight(rows: Sequence[Row]) -> float:
    """The mean of the rows' weights; 1 where they have none."""
    if isinstance(rows, ArrowRows):
        return rows.mean_weight
    return sum(float(row.get("weight", 1.0)) for row in rows) / max(1, len(rows)) or 1.0


def _schema(rows: Sequence[Row], pa: Any) -> pa.Schema:
    several = bool(rows) and isinstance(rows[0]["labels"], list)
    number = bool(rows) and isinstance(rows[0]["labels"], float)
    hot = several and isinstance(rows[0]["labels"][0], float)
    types = {
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.float32() if hot else pa.int32()) if several else pa.float32() if number else pa.int64(),
    }
    if rows and "text" in rows[0]:
        types["text"] = pa.int64()
    extras = {name: value for name, value in (rows[0] if rows else {}).items() if name not in types}
    for name, value in extras.items():
        types[name] = pa.list_(pa.float32()) if isinstance(value, list) else pa.float32()
    return pa.schema(list(types.items()))
