"""New labelled rows, from files and from the feedback that a service recorded: read, tidied and cleared of identifiers
as the champion's rows were, without those that it has seen.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, label_names, read_split
from ftdeploy.errors import DataError, did_you_mean
from ftdeploy.monitor.to_label import QUEUE
from ftdeploy.pairs import TEXT, TEXT_PAIR
from ftdeploy.prepare.clean import NO_LABEL, fold, text_key
from ftdeploy.prepare.privacy.guard import censored, make_guard
from ftdeploy.prepare.split import CONFLICT, mark_duplicates
from ftdeploy.prepare.spool import fill_guarded
from ftdeploy.prepare.stream import separators
from ftdeploy.recipe import RESERVED_COLUMNS, Columns, DataSettings, Recipe, SourceEntry, Split
from ftdeploy.tasks import TASKS, Task
from ftdeploy.traffic import read_traffic

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

#: How the source of feedback is called in ids.
FEEDBACK = "feedback"
_SHOWN = 5


class TooFewRows(DataError):  # noqa: N818  # nothing is wrong with them
    """There are too few labelled rows to learn from; more, later, will do."""


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """What there is to learn.

    Attributes:
        table: ``text`` (both texts of a pair), ``label``, ``group``, ``id`` and the recipe's slices, all strings.
        keys: of the texts, uint64, shape (rows, 2).
        read: rows that were read.
        rejected: of these, rows that cleaning set aside.
        unlabelled: of the rejected ones, rows that nobody has labelled.
        repeated: rows whose text stands further up, or with several labels.
        known: rows whose text the champion has seen.
        relabelled: of the known ones, those that its dataset has with another label.
        misfits: labels from feedback that are none of their text, and were left out.
    """

    table: pa.Table
    keys: NDArray[np.uint64]
    read: int
    rejected: int
    repeated: int
    known: int
    relabelled: int
    misfits: int = 0
    unlabelled: int = 0

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def digest(self) -> str:
        """sha256 over texts and labels, whatever their order."""
        pairs = zip(self.table["text"].to_pylist(), self.table["label"].to_pylist(), strict=True)
        lines = sorted(json.dumps(pair, ensure_ascii=False) for pair in pairs)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def said(self) -> str:
        """The counts in words."""
        parts = [f"{len(self):,} new of {self.read - self.unlabelled:,} labelled rows"]
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} left out, as nobody has labelled them")
        counts = {
            "set aside": self.rejected - self.unlabelled,
            "repeated": self.repeated,
            "known to the champion": self.known,
        }
        parts += [f"{count:,} {words}" for words, count in counts.items() if count]
        if self.relabelled:
            parts.append(f"of the known ones {self.relabelled:,} with another label, which is not learned")
        if self.misfits:
            parts.append(f"{self.misfits:,} from feedback left out, whose label does not fit the text")
        return "; ".join(parts)


def collect(recipe: Recipe, dataset: Artifact, *, files: Sequence[Path], traffic: Path | None,
            seen: NDArray[np.uint64], work: Path) -> NewRows:  # fmt: skip
    """Read new labelled rows.

    Args:
        recipe: the champion's; its `data` says the columns and how rows are tidied.
        dataset: the champion's.
        files: of rows; how they are written goes by their names.
        traffic: a folder of recorded traffic, whose feedback is taken; None takes none.
        seen: keys of further texts that the champion has seen, uint64, shape (rows, 2).
        work: a folder of the caller's alone, emptied before and removed after.

    Raises:
        SourceError: a file cannot be had.
        DataError: a column is missing, or a label is not the champion's.
        TooFewRows: there is no feedback, or its texts were not kept.
        TrafficError: the traffic is encrypted and the key is missing or another one.
        ConfigError: the secret of `data.privacy` is missing.
    """
    entries, misfits = [_entry(path, recipe.data) for path in files], 0
    tables = any(entry.columns is None for entry in entries)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    try:
        if traffic is not None:
            feedback = work / "feedback.jsonl"
            misfits = _write_feedback(traffic, feedback, TASKS[recipe.task])
            second = None if recipe.data.pairs is None else TEXT_PAIR
            entries.append(SourceEntry(path=feedback, name=FEEDBACK, columns=Columns(text_pair=second, id="id")))
        found = _read(_as_new(recipe.data, entries, slices=tables), recipe, dataset, folder=work, seen=seen)
        return replace(found, misfits=misfits)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _entry(path: Path, data: DataSettings) -> SourceEntry:
    """How a file is read: as the recipe says; or as the queue of `ftdeploy monitor`, where rows may be unlabelled."""
    entry = SourceEntry(path=path.absolute(), encoding="auto")
    if not _is_queue(path):
        return entry
    columns = Columns(
        text_pair=None if data.pairs is None else TEXT_PAIR,
        label_separator=_separator(data),
        empty_label="missing",
    )
    return entry.model_copy(update={"columns": columns})


def _separator(data: DataSettings) -> str | None:
    """What stands between the labels of a row; of several sources, in the first that says so."""
    return next(filter(None, separators(data)), None)


def _is_queue(path: Path) -> bool:
    """Whether a file begins as `ftdeploy monitor` begins its queue, whatever wrote it again since."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            return tuple(re.split("[,;\t]", handle.readline(1000).strip().replace('"', ""))[: len(QUEUE)]) == QUEUE
    except (OSError, UnicodeDecodeError):  # whoever reads it says what is wrong
        return False


def keys_of(texts: Iterable[str]) -> NDArray[np.uint64]:
    """What texts are told apart by, but for case and white space: uint64, shape (texts, 2)."""
    return np.array([text_key(fold(text), 0) for text in texts], dtype=np.uint64).reshape(-1, 2)


def _as_new(data: DataSettings, entries: Sequence[SourceEntry], *, slices: bool) -> DataSettings:
    """The recipe's section for reading new rows; what decides on whole datasets is left to `prepare`."""
    return data.model_copy(
        update={
            "source": None,
            "sources": tuple(entries),
            "unlabelled": (),
            "columns": data.columns.model_copy(
                update={"time": None, "text_pair": None if data.pairs is None else data.pairs[1]}
            ),
            "labels": (),
            "split": Split(),
            "quality": None,
            "bias": None,
            "slices": tuple(name for name in data.slices if slices and name != "source"),
            "limit": None,
        }
    )


def _read(data: DataSettings, recipe: Recipe, dataset: Artifact, *, folder: Path,
          seen: NDArray[np.uint64]) -> NewRows:  # fmt: skip
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels, task = label_names(dataset), TASKS[recipe.task]
    guard = make_guard(data.privacy, labels=task.summaries(labels))
    with censored(guard):
        spool = fill_guarded(data, guard, seed=recipe.seed, folder=folder, task=task)
    spool.rejected.close()
    marks = mark_duplicates(spool.index)
    table = pq.read_table(spool.file, memory_map=False)
    found = Counter(name for label in table["label"].to_pylist() for name in task.names(label))
    _check_labels(found, task.known_names(labels))
    keys = keys_of(table["text"].to_pylist())
    known, relabelled = _known(table, keys, dataset, seen)
    fresh = (marks == 0) & ~known
    missing = [name for name in recipe.data.slices if name not in (*RESERVED_COLUMNS, *table.column_names)]
    kept = table.filter(pa.array(fresh))
    for name in missing:
        kept = kept.append_column(name, pa.nulls(len(kept), pa.string()))
    return NewRows(
        table=kept,
        keys=keys[fresh],
        read=spool.read,
        rejected=spool.rejected.rows,
        unlabelled=spool.counts.rejected[NO_LABEL].rows if NO_LABEL in spool.counts.rejected else 0,
        repeated=int(((marks != 0) & ~known).sum()),
        known=int(((marks != CONFLICT) & known).sum()),
        relabelled=relabelled,
    )


def _known(table: pa.Table, keys: NDArray[np.uint64], dataset: Artifact,
           seen: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], int]:  # fmt: skip
    """Which rows the champion has seen, bool, shape (rows,); and how many of these have another label there."""
    there: dict[tuple[int, int], str] = dict.fromkeys(map(_pair, seen), "")
    for name in SPLITS:
        split = read_split(dataset, name, columns=["text", "label"])
        texts = map(_pair, keys_of(split["text"].to_pylist()))
        there.update(zip(texts, split["label"].to_pylist(), strict=True))
    labels = table["label"].to_pylist()
    before = [there.get(_pair(key)) for key in keys]
    relabelled = sum(bool(old) and old != new for old, new in zip(before, labels, strict=True))
    return np.array([old is not None for old in before], dtype=bool), relabelled


def _pair(key: NDArray[np.uint64]) -> tuple[int, int]:
    return int(key[0]), int(key[1])


def _check_labels(found: Mapping[str, int], labels: Sequence[str]) -> None:
    unknown = {label: rows for label, rows in found.items() if label not in labels}
    if not unknown:
        return
    worst = sorted(unknown.items(), key=lambda item: -item[1])[:_SHOWN]
    listed = ", ".join(f"{label!r} ({rows:,} rows; {did_you_mean(label, labels)})" for label, rows in worst)
    raise DataError(
        f"the new rows have labels that the champion does not have: {listed}",
        cause="misspelt labels, or a class that is new",
        fix="correct the rows; for a new class, change the recipe and make a champion with `ftdeploy run`",
    )


def _write_feedback(traffic: Path, target: Path, task: Task) -> int:
    """The texts of a service that have a true label, as JSON lines; how many others have one that does not fit them.

    A file with such a row is refused, since all of it may be shifted. This is what somebody once sent, and would stand
    in the way of every update.
    """
    answered = labelled = kept = misfits = 0
    with target.open("w", encoding="utf-8") as handle:
        for row in read_traffic(traffic):
            answered += 1
            if row["true_label"] is None:
                continue
            labelled += 1
            if row.get("text") is None:
                continue
            kept += 1
            texts = {key: row[key] for key in (TEXT, TEXT_PAIR) if key in row}
            made = {**texts, "label": row["true_label"], "id": f"{row['id']}-{row['row']}"}
            try:
                task.read(made, "text", "label")
            except ValueError:
                misfits += 1
            else:
                handle.write(json.dumps(made) + "\n")
    if not labelled:
        raise TooFewRows(
            f"none of the {answered:,} recorded answers in {traffic} has a true label",
            cause="nobody has sent any to /feedback",
            fix="label the rows of the queue of `ftdeploy monitor`, and send their labels to /feedback; or give --data",
        )
    if not kept:
        raise TooFewRows(
            f"{labelled:,} answers in {traffic} have a true label, and none of them its text",
            cause="a service keeps no texts unless `monitor.traffic.text` says so",
            fix="label rows in a file and give it with --data; or have the service keep texts",
        )
    if misfits == kept:
        raise TooFewRows(
            f"{kept:,} recorded texts in {traffic} have a true label, and none of the labels fits its text",
            cause="offsets of other texts, or feedback that was recorded for another task",
            fix="send them again, with the text beside them; of several labels for a text the last counts",
        )
    return misfits
