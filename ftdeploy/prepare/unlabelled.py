"""Texts that only a teacher answers: read, tidied and cleared as the rows are, and held against them.

What stands in a split must not come back without its label: a text that equals a row of validation or test would let
students learn what they are judged by. So a text is left out that equals a row of any split, or that is a near
duplicate of one of validation or test. Groups (a patient, a document) are not known of such texts.
"""

from __future__ import annotations

import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.dataset import SPLITS, SplitName
from ftdeploy.errors import DataError, SourceError
from ftdeploy.pairs import with_two_columns
from ftdeploy.prepare.near import like_any
from ftdeploy.prepare.privacy.guard import Guard, censored
from ftdeploy.prepare.profile import tallies
from ftdeploy.prepare.split import TEST, TRAIN, VALIDATION, Index, number_keys, sample
from ftdeploy.prepare.spool import Spool, Writer, fill_guarded
from ftdeploy.privacy.kinds import IDENTIFIER_TYPES
from ftdeploy.recipe import Columns, DataSettings, SourceEntry, Split, TextSource
from ftdeploy.sources import describe, fingerprints
from ftdeploy.tasks import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH_ROWS = 4096
#: Stands where a row has its label, so that texts pass through what reads and tidies rows; it is never written.
_NO_LABEL = "unlabelled"
#: How errors about rows are said of texts without labels.
_SAID = {
    " or `data.slices`": "",
    "text and label under": "the text under",
    "data.source.": "data.unlabelled.",
    "data.columns": "data.unlabelled.columns",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which texts stay, and why the others do not.

    Attributes:
        kept: bool, shape (texts,).
        repeated: texts that stand further up.
        in_splits: by split, texts that equal one of its rows; a text can be in several.
        near: texts that are a near duplicate of a row of validation or test.
        sampled_out: texts that `rows` or `limit` leave out.
    """

    kept: NDArray[np.bool_]
    repeated: int
    in_splits: dict[SplitName, int]
    near: int
    sampled_out: int


def outside(data: DataSettings) -> dict[str, str]:
    """What identifies the sources' bytes; it belongs to the key of `prepare`. Empty without such sources.

    Raises:
        SourceError: a local file, folder or loader is missing.
    """
    with _said():
        return {f"unlabelled.{key}": value for key, value in fingerprints(data.unlabelled).items()}


def add_texts(data: DataSettings, spool: Spool, where: NDArray[np.uint8], *, seed: int, out: Path) -> dict[str, Any]:
    """Write ``unlabelled.parquet`` (``text``, ``id``, and ``text_pair`` where rows have one); nothing where the recipe
    has no such sources.

    Args:
        data: the recipe's section.
        spool: the rows; what cleaning learned of them holds for these texts, too.
        where: of each row, a constant of ``ftdeploy.prepare.split``.
        seed: of the hashes and the sample.
        out: the folder of the dataset artifact.

    Returns:
        the key ``unlabelled`` of the profile; empty where the recipe has no such sources.

    Raises:
        SourceError: a source cannot be had, or a loader cannot be found.
        DataError: a wrong column, a broken file, or no text is left after cleaning.
    """
    if not data.unlabelled:
        return {}
    folder = out / "unlabelled.tmp"
    folder.mkdir()
    guard = None if spool.guard is None else _fresh(spool.guard)
    with _said(), censored(guard):
        texts = fill_guarded(_as_rows(data), guard, seed=seed, folder=folder, survey=spool.survey,
                             task=TASKS["text-classification"])  # each has the same label  # fmt: skip
    texts.rejected.close()
    choice = _choose(texts.index, spool.index, where, data)
    _write(texts.file, choice.kept, out / "unlabelled.parquet", pairs=texts.pairs)
    shutil.rmtree(folder)
    found = _profile(texts, choice)
    progress.say(
        f"{found['kept']:,} of {found['read']:,} texts without labels; {choice.repeated:,} repeated, "
        f"{sum(choice.in_splits.values()):,} equal to a row of a split, {choice.near:,} near one of validation or test"
    )
    return {"unlabelled": found}


def _as_rows(data: DataSettings) -> DataSettings:
    """The settings under which the texts are read as rows that all have one label, and are divided by nothing."""
    return data.model_copy(
        update={
            "source": None,
            "sources": tuple(_as_entry(entry) for entry in data.text_entries),
            "unlabelled": (),
            "columns": Columns(text=data.columns.text, text_pair=data.columns.text_pair, id=data.columns.id),
            "labels": (),
            "split": Split(),
            "quality": None,
            "bias": None,
            "slices": (),
        }
    )


def _as_entry(source: TextSource) -> SourceEntry:
    fields = {name: getattr(source, name) for name in type(source).model_fields}
    if source.columns is not None:
        own = source.columns
        fields["columns"] = Columns(text=own.text, text_pair=own.text_pair, id=own.id)
    return SourceEntry.model_construct(**fields, label=_NO_LABEL)  # validated already


def _fresh(guard: Guard) -> Guard:
    """The same guard, with nothing counted: what it counts belongs to the rows of the splits."""
    return replace(guard, labels=frozenset({_NO_LABEL}), rows=array("Q"), kinds=array("B"), columns={},
                   dropped=Counter(), kept=0)  # fmt: skip


def _choose(texts: Index, rows: Index, where: NDArray[np.uint8], data: DataSettings) -> Choice:
    in_split = where <= TEST
    count = int(in_split.sum())
    first, cluster = number_keys(*np.concatenate([rows.key[in_split], texts.key]).T)
    ours, theirs, part = cluster[count:], cluster[:count], where[in_split]
    equal = {
        name: int(np.isin(ours, theirs[part == place]).sum())
        for name, place in zip(SPLITS, (TRAIN, VALIDATION, TEST), strict=True)
    }
    kept = np.zeros(len(ours), dtype=bool)
    kept[first[first >= count] - count] = True  # the rows of the splits come first, so what equals one never is
    repeated = int((~kept & ~np.isin(ours, theirs)).sum())
    near = _near_held_out(texts, rows, where, kept, threshold=data.duplicates.threshold)
    kept[near] = False
    before = int(kept.sum())
    for number, entry in enumerate(data.unlabelled):
        if entry.rows is not None:
            mine = texts.source == number
            kept &= ~mine | sample(texts, kept & mine, entry.rows)
    if data.limit is not None:
        kept = sample(texts, kept, data.limit)
    return Choice(kept=kept, repeated=repeated, in_splits=equal, near=len(near), sampled_out=before - int(kept.sum()))


def _near_held_out(texts: Index, rows: Index, where: NDArray[np.uint8], kept: NDArray[np.bool_], *,
                   threshold: float) -> NDArray[np.intp]:  # fmt: skip
    """The kept texts that are alike to a row of validation or test; none where nobody looks for near duplicates."""
    mine = np.flatnonzero(kept)
    if texts.sketch is None or rows.sketch is None:
        return mine[:0]
    held_out = rows.sketch[(where == VALIDATION) | (where == TEST)]
    return mine[like_any(texts.sketch[mine], held_out, threshold=threshold)]


def _write(spooled: Path, kept: NDArray[np.bool_], target: Path, *, pairs: bool) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string()), ("id", pa.string())])
    writer = Writer(path=target, schema=with_two_columns(schema.empty_table()).schema if pairs else schema)
    start = 0
    with pq.ParquetFile(spooled, pre_buffer=False) as file:  # else it keeps all that was read
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=["text", "id"]):
            here = batch.filter(pa.array(kept[start : start + batch.num_rows]))
            start += batch.num_rows
            rows = here.select(["text", "id"])
            writer.write(with_two_columns(rows) if pairs else rows)
    writer.close()


def _profile(texts: Spool, choice: Choice) -> dict[str, Any]:
    sources = [
        {"name": source.entry.name}
        | describe(source.entry)
        | {
            "encoding": source.entry.encoding,
            "read": source.read,
            "kept": int((texts.index.source[choice.kept] == source.number).sum()),
        }
        for source in texts.sources
    ]
    found = {
        "sources": sources,
        "read": texts.read,
        "kept": int(choice.kept.sum()),
        "changed": tallies(texts.counts.changed),
        "rejected": tallies(texts.counts.rejected),
        "duplicates": choice.repeated,
        "in_splits": choice.in_splits,
        "near_duplicates": choice.near,
        "sampled_out": choice.sampled_out,
    }
    if texts.guard is not None:
        counts = Counter(IDENTIFIER_TYPES[kind] for kind in texts.guard.kinds)
        found["identifiers"] = dict(sorted(counts.items()))
    return found


@contextmanager
def _said() -> Iterator[None]:
    """Errors that leave the block name the recipe's keys of these sources instead of those of the rows."""
    try:
        yield
    except (DataError, SourceError) as error:
        parts = [error.what, error.cause, error.fix]
        for rows, texts in _SAID.items():
            parts = [part.replace(rows, texts) for part in parts]
        what, cause, fix = parts
        # A cause that was hidden, because it may quote a person, stays hidden.
        raise type(error)(f"data.unlabelled: {what}", cause=cause, fix=fix) from error.__cause__
