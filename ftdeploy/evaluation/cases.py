"""The rows of a suite's cases: read once into Arrow files of the cache, memory-mapped from there.

A case is a split of a recipe, prepared by the very stage of ``ftdeploy run``, or a source of its own, whose rows are
taken as they are: what a service is asked is not tidied either. Memory does not grow with the texts; a row costs
about 40 bytes while its case is read (measured on 400,000).
"""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ftdeploy import progress
from ftdeploy.artifact import MANIFEST, open_artifact, sha256_file
from ftdeploy.errors import ArtifactError, DataError, SourceError, first_of
from ftdeploy.evaluation.faults import Faults
from ftdeploy.evaluation.origins import Given, Raw, of_dataset, of_recipe, of_source
from ftdeploy.files import whole, write_json
from ftdeploy.prepare.clean import as_text, clean_label, clean_name, fold, text_key
from ftdeploy.sources.cache import locked
from ftdeploy.suite import Case
from ftdeploy.tasks import TASKS, Task, parts_of
from ftdeploy.verdict import CaseResult

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

ROWS, FACTS = "rows.arrow", "rows.json"
#: What the name of a kept case begins with; raised when the same case would give other rows.
_FORMAT = 2
_BATCH_ROWS = 4096
#: Texts in two cases that an error lists; it counts all.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a suite is run on.

    Attributes:
        table: ``text``, ``label``, ``id``, ``case`` where there are several, and columns to cut the rows by; all
            strings, memory-mapped.
        cases: where they come from, case by case.
        labels: name of the case -> name in labels (or what rows without one count as) -> rows.
        names: the outputs of a network for them, in the order of their ids where a recipe says it, else sorted.
        pairs: ``text`` is two texts, joined (`ftdeploy.pairs`).
    """

    table: pa.Table
    cases: tuple[CaseResult, ...]
    labels: Mapping[str, Mapping[str, int]]
    names: tuple[str, ...]
    pairs: bool = False

    def __len__(self) -> int:
        return int(self.table.num_rows)


def gather(cases: Sequence[Case], *, seed: int, task: str, pooled: bool = False, refresh: bool = False) -> Rows:
    """The rows of a suite's cases.

    Args:
        cases: of the suite; at least one.
        seed: of the samples.
        task: of the suite: what its labels are.
        pooled: whether rows of all cases are judged together, so that a text may not stand in two of them either.
        refresh: read everything anew, whatever the cache holds.

    Raises:
        ConfigError: a recipe is not valid, or of another task.
        SourceError: rows cannot be had, or are not those that the suite was written for (`digest`).
        DataError: a column is missing, a row has no text or no label, two rows are the same, a label of `label_map`
            is not there.
        StorageError: the cache's disk is full.
    """
    several = len(cases) > 1
    found = []
    for case in cases:
        progress.say(f"case {case.name}")
        given = (of_source if case.recipe is None else of_recipe)(case, task)
        kept = keep(given, limit=case.limit, seed=seed, prefixed=several, refresh=refresh)
        _check_digest(case, kept.cases[0].digest)
        found.append(kept)
    return join(_apart(found, cases, TASKS[task]) if pooled and several else found)


def rows_of_run(run: Path, *, task: str, refresh: bool = False) -> Rows:
    """The test rows of a run, for a suite without cases.

    Args:
        run: the run's folder.
        task: of the suite.
        refresh: read them anew.

    Raises:
        ArtifactError: there is no dataset, or it is not as it was sealed.
        ConfigError: it is of another task.
        DataError: it has no test rows.
    """
    if not (run / "dataset" / MANIFEST).is_file():
        raise ArtifactError(
            f"the suite has no cases, and {run} holds no dataset whose test rows could be taken instead",
            cause="the model does not stand in the folder of a run",
            fix="name a model in the folder of its run, or give the suite `cases:`; `ftdeploy eval init` writes one",
        )
    dataset = open_artifact(run / "dataset", kind="dataset")
    given = of_dataset("test rows", dataset, "test", task)
    return keep(given, limit=None, seed=0, prefixed=False, refresh=refresh)


def join(parts: Sequence[Rows]) -> Rows:
    """Cases one after the other; a column that one does not have is null there.

    Raises:
        DataError: some have a second text, and some have none.
    """
    import pyarrow as pa

    single = next((part.cases[0].name for part in parts if not part.pairs), None)
    two = next((part.cases[0].name for part in parts if part.pairs), None)
    if single is not None and two is not None:
        raise DataError(
            f"the rows of case {two} have two texts, and those of case {single} have one",
            cause="a model reads single texts or pairs, and never both; a case lacks `columns.text_pair`, or has it",
            fix="name the second text's column for all cases, or make two suites",
        )
    return Rows(
        table=pa.concat_tables([part.table for part in parts], promote_options="default"),
        cases=tuple(case for part in parts for case in part.cases),
        labels={name: counts for part in parts for name, counts in part.labels.items()},
        names=tuple(dict.fromkeys(name for part in parts for name in part.names)),
        pairs=two is not None,
    )


def _apart(parts: Sequence[Rows], cases: Sequence[Case], task: Task) -> list[Rows]:
    """The rows of each case without what would count as evidence twice, were they judged together.

    Raises:
        DataError: a text stands in two cases, whatever its case and white space, and not all of these drop duplicates.
    """
    keys = [_text_keys(part.table) for part in parts]
    known, times = np.unique(np.concatenate([np.unique(one) for one in keys]), return_counts=True)
    shared: dict[int, list[tuple[int, int]]] = {}  # text -> (case, row)
    for number, one in enumerate(keys):
        for row in np.flatnonzero(np.isin(one, known[times > 1])).tolist():
            shared.setdefault(int(one[row]), []).append((number, row))
    wrong = [where for where in shared.values() if any(cases[number].duplicates != "drop" for number, _ in where)]
    if wrong:
        named = [" and ".join(str(parts[number].table["id"][row]) for number, row in where[:3]) for where in wrong]
        raise DataError(
            f"{len(wrong):,} text(s) stand in two cases, and a gate judges them together: {first_of(named, _SHOWN)}",
            cause="cases overlap, and each of these rows would count as evidence of its own",
            fix="remove the rows from one of the cases, set `duplicates: drop` in both, or let every gate name the "
            "`case` that it judges",
        )
    gone: list[list[int]] = [[] for _ in parts]
    for where in shared.values():
        agree = len({str(parts[number].table["label"][row]) for number, row in where}) == 1
        for number, row in where[1:] if agree else where:
            gone[number].append(row)
    return [_without(part, sorted(rows), task) if rows else part for part, rows in zip(parts, gone, strict=True)]


def _text_keys(table: pa.Table) -> NDArray[np.uint64]:
    keys = array("Q")
    for batch in table.select(["text"]).to_batches(max_chunksize=_BATCH_ROWS):
        keys.extend(text_key(fold(text), 0)[0] for text in batch["text"].to_pylist())
    return np.frombuffer(keys, dtype=np.uint64)


def _without(part: Rows, gone: Sequence[int], task: Task) -> Rows:
    """A case without some of its rows; the others stay where they are mapped."""
    import pyarrow as pa

    table, (case,) = part.table, part.cases
    counts = Counter(part.labels[case.name])
    for row in gone:
        counts.subtract(_counted(str(table["label"][row]), task))
    ends = pairwise((-1, *gone, len(part)))
    return replace(
        part,
        table=pa.concat_tables([table.slice(before + 1, after - before - 1) for before, after in ends]),
        cases=(case.model_copy(update={
            "rows": len(part) - len(gone),
            "source": f"{case.source}; {len(gone):,} that stand in other cases left out",
        }),),
        labels={case.name: dict(+counts)},
    )  # fmt: skip


def keep(given: Given, *, limit: int | None, seed: int, prefixed: bool, refresh: bool) -> Rows:
    """The rows of one case, from the cache where they were kept before.

    Args:
        given: the case.
        limit: at most so many rows.
        seed: of the sample.
        prefixed: there are several cases: ids begin with the case's name, which is a column, too.
        refresh: read them anew.

    Raises:
        DataError: see `gather`.
        StorageError: the cache's disk is full.
    """
    identity = {
        "format": _FORMAT,
        "rows": given.identity,
        "sample": None if limit is None else [limit, seed],
        "distinct": given.distinct,
        "case": given.name if prefixed else None,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    with locked(f"case {key}") as cache:
        folder = cache / "cases" / key
        facts = None if refresh else _kept(folder)
        if facts is None:
            facts = _write(given, folder, limit=limit, seed=seed, prefixed=prefixed)
    dropped = f"; {facts['dropped']:,} duplicates left out" if facts["dropped"] else ""
    case = CaseResult(name=given.name, rows=facts["rows"], digest=facts["digest"], source=given.source + dropped,
                      licence=given.licence)  # fmt: skip
    return Rows(table=_mapped(folder / ROWS), cases=(case,), labels={given.name: facts["labels"]},
                names=given.names or given.task.head(facts["names"]), pairs=given.pairs)  # fmt: skip


def _kept(folder: Path) -> dict[str, Any] | None:
    """What is noted of rows that were kept, if they are as they were written."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return facts if facts["sha256"] == sha256_file(folder / ROWS) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or half of it: it is read again


def _mapped(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).read_all()


def _write(given: Given, folder: Path, *, limit: int | None, seed: int, prefixed: bool) -> dict[str, Any]:
    import pyarrow as pa

    chosen, dropped = _choose(given, limit=limit, seed=seed)
    columns = ("text", "label", "id", *(("case",) if prefixed else ()), *given.slices)
    schema = pa.schema([(name, pa.string()) for name in columns])
    task, faults = given.task, Faults(given.name, tidied=given.tidied, misfit=given.task.misfit[0])
    labels, names, digest, rows = Counter[str](), set[str](), hashlib.sha256(), 0
    # A stream, and no file with an index: `datasets` maps it as it is.
    with whole(folder / ROWS) as path, path.open("wb") as sink:
        writer = pa.ipc.new_stream(sink, schema)
        checked = _checked(_chosen(given.read(), chosen), given, faults)
        while batch := list(islice(checked, _BATCH_ROWS)):
            for row in batch:
                names.update(task.names(row["label"]))
                labels.update(_counted(row["label"], task))
                record = json.dumps([row["id"], row["text"], row["label"]], ensure_ascii=False, separators=(",", ":"))
                digest.update(f"{record}\n".encode())
                if prefixed:
                    row["id"], row["case"] = f"{given.name}:{row['id']}", given.name
            rows += len(batch)
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
        writer.close()
        faults.check(rows)
    facts = {"rows": rows, "digest": digest.hexdigest(), "labels": dict(sorted(labels.items())),
             "names": sorted(names), "dropped": dropped, "sha256": sha256_file(folder / ROWS)}  # fmt: skip
    write_json(folder / FACTS, facts)
    return facts


def _counted(label: str, task: Task) -> list[str]:
    """What a row counts as where rows are counted by names in labels; nothing, where it has no label."""
    return [name for name in parts_of(task, label) if name]


def _checked(rows: Iterator[Raw], given: Given, faults: Faults) -> Iterator[dict[str, str]]:
    for row in rows:
        text, label = as_text(row.text), clean_label(row.label)
        name = clean_name(row.id)
        if faults.note(row.place, text, label, name):
            continue
        assert isinstance(text, str) and isinstance(label, str)  # noqa: S101, PT018 - else it was a fault
        slices = {column: clean_name(row.slices.get(column)) or "" for column in given.slices}
        yield {"text": text, "label": label, "id": name or f"row-{row.place}", **slices}


def _choose(given: Given, *, limit: int | None, seed: int) -> tuple[list[int] | None, int]:
    """Numbers of the rows that are used, in order, or None for all; and how many duplicates are left out."""
    if limit is None and not given.distinct:
        return None, 0
    texts, labels = array("Q"), array("Q")
    for row in given.read():
        texts.append(text_key(fold(str(row.text)), 0)[0])
        labels.append(text_key(str(row.label), 0)[0])
    numbers = range(len(texts))
    left = distinct(texts, labels) if given.distinct else numbers
    return _sample(left, limit, seed), len(numbers) - len(left)


def distinct(texts: Sequence[int], labels: Sequence[int]) -> list[int]:
    """Numbers of the rows that stay of those with one text: the first, or none where their labels differ.

    Args:
        texts, labels: hashes, 64 bits, one a row.
    """
    key, label = (np.asarray(part, dtype=np.uint64) for part in (texts, labels))
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    agree = np.ones(len(first), dtype=bool)
    agree[group[label != label[first][group]]] = False
    return sorted(first[agree].tolist())


def _sample(numbers: Sequence[int], limit: int | None, seed: int) -> list[int]:
    """``limit`` of the numbers, each set equally likely (Vitter 1985, algorithm R); all, where there are no more."""
    if limit is None:
        return list(numbers)
    draw = random.Random(seed)  # noqa: S311 - a sample, and no secret
    kept: list[int] = []
    for seen, number in enumerate(numbers):
        if seen < limit:
            kept.append(number)
        elif (place := int(draw.random() * (seen + 1))) < limit:  # random() is the same in every Python
            kept[place] = number
    return sorted(kept)


def _chosen(rows: Iterator[Raw], numbers: Sequence[int] | None) -> Iterator[Raw]:
    if numbers is None:
        yield from rows
        return
    wanted = iter(numbers)
    following = next(wanted, None)
    for number, row in enumerate(rows):
        if number == following:
            yield row
            following = next(wanted, None)


def _check_digest(case: Case, found: str) -> None:
    if case.digest is not None and case.digest != found:
        raise SourceError(
            f"the rows of case {case.name} have the digest {found}, and {case.digest} is expected",
            cause="the data, the recipe or the suite changed since the suite was written, so that figures of then and "
            "now are of other rows",
            fix="find out what changed; if the new rows are right, state the new digest in the suite",
        )
