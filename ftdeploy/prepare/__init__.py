"""The first stage: rows from wherever they are, tidied, checked and divided into train, validation and test.

The rows pass through in batches and twice: first read, cleaned and spooled, with a few numbers per row kept in memory;
then, when duplicates and splits are decided on those numbers, into the files of the splits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftdeploy import progress
from ftdeploy.dataset import SPLITS
from ftdeploy.prepare import bias, quality, unlabelled
from ftdeploy.prepare.clean import libraries
from ftdeploy.prepare.decide import decide
from ftdeploy.prepare.privacy import report as privacy
from ftdeploy.prepare.profile import profile_numbers, tallies
from ftdeploy.prepare.report import balance, look_up_in, report, say_balance
from ftdeploy.prepare.split import CONFLICT, DUPLICATE, SAMPLED_OUT
from ftdeploy.prepare.spool import distribute, fill, profile_sources
from ftdeploy.recipe import DataSettings, Recipe
from ftdeploy.serve.process import trim_heap
from ftdeploy.sources import describe, fingerprints
from ftdeploy.stage import Facts, stage
from ftdeploy.tasks import TASKS


def _outside(recipe: Recipe) -> Mapping[str, str]:
    first = privacy.outside(recipe.data.privacy)  # a missing secret is told before a source is read
    sources = fingerprints(recipe.data.entries)
    # Datasets of CSV files of the hub that were made before lack the rows with a label or a text as `NA` or `None`.
    every = (*recipe.data.entries, *recipe.data.unlabelled)
    hub = {"cells of the hub": "as written"} if any(entry.hub is not None for entry in every) else {}
    return {**first, **sources, **hub, **libraries(recipe.data.clean), **quality.outside(recipe.data.quality),
            **bias.outside(recipe.data.bias), **unlabelled.outside(recipe.data)}  # fmt: skip


@stage(writes="dataset", version=5, libraries=("pyarrow",), outside=_outside)
def prepare(*, data: DataSettings, task: str, seed: int, out: Path) -> Facts:
    """Write the splits, the rows that were set aside, the texts without labels, and the profile.

    Args:
        data: where the rows come from and how they become splits.
        task: decides which labels can be learned from.
        seed: of the splits and the sample.
        out: the folder of the dataset artifact.

    Raises:
        ConfigError: the secret of `data.privacy` is missing.
        SourceError: the rows cannot be had.
        DataError: they are not fit for the task.
    """
    spool = fill(data, seed=seed, folder=out, task=TASKS[task])
    look_up = look_up_in(spool.file)
    decision = decide(spool.index, data, task, look_up)
    where = decision.where
    found = report(spool.index, decision, data, look_up)
    trim_heap()  # what deciding took is not to stand beside what writing takes
    splits = distribute(spool, where)
    labels = spool.index.labels
    found |= quality.assess(out, data.quality, labels, splits, seed=seed)
    found |= bias.assess(out, data.bias, labels, splits, columns=spool.slices)
    texts = unlabelled.add_texts(data, spool, where, seed=seed, out=out)

    duplicates, conflicts = int((where == DUPLICATE).sum()), int((where == CONFLICT).sum())
    sampled_out = int((where == SAMPLED_OUT).sum())
    facts: dict[str, int] = {name: splits[name].rows for name in SPLITS}
    facts |= {
        "rows": sum(facts.values()),
        "rejected": spool.rejected.rows - duplicates,
        "duplicates": duplicates,
    }
    if not TASKS[task].number:  # of numbers the index has fifths
        facts["labels"] = len(TASKS[task].known_names(spool.head) or labels)
    only = spool.sources[0].entry
    profile: dict[str, Any] = (
        {"sources": profile_sources(spool, where)} if data.sources else describe(only) | {"encoding": only.encoding}
    )
    profile |= {
        "read": spool.read,
        "kept": facts["rows"],
        "changed": tallies(spool.counts.changed),
        "rejected": tallies(spool.counts.rejected),
        "duplicates": duplicates,
        "conflicts": conflicts,
        "sampled_out": sampled_out,
        "labels": list(spool.head),
        "splits": {name: splits[name].as_dict() for name in SPLITS},
    }
    if data.pairs is not None:
        profile["pairs"] = list(data.pairs)
    profile |= found
    if TASKS[task].probabilities:  # of labels that are learned as such, and may be too rare
        balanced = balance({name: splits[name].labels for name in SPLITS}, facts["rows"])
        if balanced["rare"]:
            profile["balance"] = balanced
        say_balance(balanced)
    if spool.index.value is not None:
        profile["numbers"] = profile_numbers(spool.index.value, where)
    profile |= spool.survey.as_dict(data.clean, spool.counts.mask)
    if spool.counts.reported:
        profile["reported"] = tallies(spool.counts.reported)
    if spool.guard is not None:
        profile = privacy.add_to(profile, spool.guard, spool.index, where)
    if texts:
        profile |= texts
        facts["unlabelled"] = texts["unlabelled"]["kept"]
    text = json.dumps(profile, indent=1, ensure_ascii=False)
    (out / "profile.json").write_text(text + "\n", encoding="utf-8")
    progress.say(
        f"{facts['rows']:,} of {spool.read:,} rows: {facts['train']:,} train, {facts['validation']:,} validation, "
        f"{facts['test']:,} test; {facts['rejected']:,} set aside, {facts['duplicates']:,} duplicates dropped"
        + (f", {sampled_out:,} not in the sample" if sampled_out else "")
    )
    return facts
