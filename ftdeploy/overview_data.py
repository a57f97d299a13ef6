"""The page's part about the data: what was read, changed, set aside and found, as tables that a person reads."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ftdeploy.artifact import Artifact
from ftdeploy.dataset import SPLITS, read_profile
from ftdeploy.page import Part, Table

_SUSPECTS_SHOWN = 10
Profile = Mapping[str, Any]


def data_parts(dataset: Artifact) -> Iterator[Part]:
    """What the page shows of a dataset; rules that found nothing are left out.

    Args:
        dataset: whose profile is read, and whose suspects.
    """
    profile = read_profile(dataset)
    yield _splits(profile)
    rules = list(_cleaning(profile))
    if rules:
        columns = ("rule", "what it did", "#rows", "examples")
        yield Part(heading="Cleaning", table=Table(columns=columns, rows=rules))
    if profile.get("quality"):
        yield _quality(profile["quality"], dataset)
    for key, (heading, make) in _RULES.items():
        found = profile.get(key, {})
        if any(found.get(one) for one in _SAYS.get(key, found)):
            yield make(heading, found)


#: Of labels that are numbers, in `profile.json`.
_OF_NUMBERS = ("mean", "deviation", "least", "greatest")


def _splits(profile: Profile) -> Part:
    sources = profile.get("sources") or [profile]
    origins = "; ".join(
        ", ".join(str(one[key]) for key in ("source", "licence", "citation", "encoding") if one.get(key))
        for one in sources
    )
    labels, texts, numbers = _counted(profile), profile.get("unlabelled"), profile.get("numbers")

    def told(split: str, found: Profile) -> list[str]:
        if numbers is None:
            return [f"{found['labels'].get(label, 0):,}" for label in labels]
        return [f"{numbers.get(split, {}).get(name, 0):.4g}" for name in _OF_NUMBERS]

    rows = [
        [split, f"{found['rows']:,}", *told(split, found)]
        for split, found in ((split, profile["splits"][split]) for split in SPLITS)
    ]
    return Part(
        heading="Data",
        text=f"{origins}. {profile['read']:,} rows were read, {profile['kept']:,} are used; "
        f"{profile['duplicates']:,} duplicates and {profile['conflicts']:,} contradicting rows were dropped."
        + (" {kept:,} of {read:,} texts without labels stand beside them.".format_map(texts) if texts else ""),
        table=Table(
            columns=("split", "#rows", *(f"#{name}" for name in (labels if numbers is None else _OF_NUMBERS))),
            rows=rows,
        ),
    )


def _counted(profile: Profile) -> list[str]:
    """What rows are counted by: the network's outputs, or the kinds that these are tags of, and rows without any."""
    seen = {name for split in SPLITS for name in profile["splits"][split]["labels"]}
    outputs = [name for name in profile["labels"] if name in seen]
    return [*outputs, *sorted(seen.difference(outputs))] if profile["labels"] else []


def _cleaning(profile: Profile) -> Iterator[Sequence[str]]:
    for key, done in (("changed", "changed"), ("rejected", "set aside"), ("reported", "reported")):
        for rule, tally in profile.get(key, {}).items():
            before, after = tally.get("examples", []), tally.get("after", [])
            examples = [f"{a} → {b}" for a, b in zip(before, after, strict=False)] if after else before
            yield rule.replace("_", " "), done, f"{tally['rows']:,}", " | ".join(examples)


def _quality(found: Mapping[str, Any], dataset: Artifact) -> Part:
    """How many rows are suspect, and the first of them."""
    with dataset.file("suspects.csv").open(encoding="utf-8", newline="") as handle:
        wrong = (row for row in csv.DictReader(handle) if row["issue"] == "label")
        rows = [[row[name] for name in _SUSPECT] for row in islice(wrong, _SUSPECTS_SHOWN)]
    told = "; ".join(
        f"{split}: {one['suspects']:,} labels of {one['judged']:,} suspect, {one['ambiguous']:,} rows ambiguous, "
        f"{one['outliers']:,} unlike the others"
        for split, one in found["splits"].items()
    )
    return Part(
        heading="Suspicious rows",
        text=f"Judged by {found['models']}, which are right in {found['accuracy']:.1%} of the rows that they had not "
        f"learned from: the fewer that are, the more of these labels are right after all. {told}. Action: "
        f"{found['action']}, {found['acted_on']:,} rows. The surest ones; all are in {dataset.path.name}/suspects.csv.",
        table=Table(columns=tuple(_SUSPECT.values()), rows=rows),
    )


_SUSPECT = {"rank": "#rank", "split": "split", "id": "id", "label": "label", "suggested": "suggested", "text": "text"}


def _privacy(heading: str, found: Mapping[str, Any]) -> Part:
    rows = [
        [kind, one["policy"], *(f"{count:,}" for count in (one["found"], one["rows"], *one["splits"].values()))]
        for kind, one in found["types"].items()
    ]  # fmt: skip
    text = "Found by patterns and words around them; what has neither is not found. Counted, never quoted."
    if found.get("dropped"):
        text += f" Rows set aside: {sum(found['dropped'].values()):,}."
    columns = ("type", "policy", "#found", "#rows", *(f"#{split}" for split in SPLITS), "#in no split")
    return Part(heading=heading, text=text, table=Table(columns=columns, rows=rows) if rows else None)


def _bias(heading: str, found: Mapping[str, Any]) -> Part:
    weights = found.get("reweigh") or {"column": None, "weights": {}}
    rows = [
        [
            column.removeprefix("terms:"), group or "(none)", f"{one['rows']:,}",
            ", ".join(f"{label} {share:.1%}" for label, share in one["labels"].items()),
            _weights(weights["weights"].get(group, {}) if column == weights["column"] else {}),
        ]
        for column, groups in found.get("columns", {}).items()
        for group, one in groups.items()
    ]  # fmt: skip
    columns = ("terms or column", "group", "#training rows", "labels", "weights of these rows")
    text = "Terms say what a text mentions, not who wrote it. Gaps between groups are gates of the suite (kind `gap`)."
    return Part(heading=heading, text=text, table=Table(columns=columns, rows=rows))


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {weight:.2f}" for label, weight in weights.items()) or "1"


def _near(heading: str, found: Mapping[str, Any]) -> Part:
    rows = [
        [f"{one['similarity']:.2f}", *(str(text) for text in one["texts"])] for one in found.get("examples", ())
    ]  # fmt: skip
    text = (
        f"{found['clusters']:,} clusters of texts that share at least {found['threshold']:.0%} of their word pairs, "
        f"with {found['rows']:,} rows, the largest with {found['largest']:,}; {found['mixed_labels']:,} of the "
        f"clusters have more than one label. Action: {found['action']}, {found['dropped']:,} rows dropped."
    )
    return Part(heading=heading, text=text, table=Table(columns=("#similarity", "one", "the other"), rows=rows))


def _plain(heading: str, found: Mapping[str, Any]) -> Part:
    return Part(heading=heading, table=Table(columns=("what", "found"), rows=list(_flat(found))))


#: Keys of a profile -> heading, and what makes a part of it.
_RULES: Mapping[str, tuple[str, Callable[[str, Mapping[str, Any]], Part]]] = {
    "near_duplicates": ("Near duplicates", _near),
    "leakage": ("Leakage across given splits", _plain),
    "split_method": ("How the rows were divided", _plain),
    "balance": ("Balance of the labels", _plain),
    "privacy": ("Identifiers of people", _privacy),
    "bias": ("Groups and terms", _bias),
    "boilerplate": ("What recurs in many texts", _plain),
}
#: Keys without which a part says nothing; for others, any.
_SAYS = {"boilerplate": ("lines", "starts", "ends", "tells_label"), "near_duplicates": ("clusters",)}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A tree of plain data as rows: (where, what)."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}, {key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for number, item in enumerate(value, start=1):
            yield from _flat(item, f"{path} {number}")
    elif isinstance(value, list):
        yield path.replace("_", " "), " | ".join(shown(item) for item in value)
    else:
        yield path.replace("_", " "), shown(value)


def shown(value: Any) -> str:
    """A value as people write it: thousands separated, four digits, yes and no."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
