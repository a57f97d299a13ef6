"""A dry run of `prepare` on the first rows: what every rule would do, with examples; nothing is written.

The preview is a dictionary of sections, each made by a function of `SECTIONS` from what was read. A part of `prepare`
that has something to show adds its function there; an empty section is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from ftdeploy.errors import DataError
from ftdeploy.pairs import parts
from ftdeploy.prepare.clean import NO_LABEL, CleanText, Counts, Tally, make_cleaner, make_rules
from ftdeploy.prepare.cleaning.counts import difference, visible
from ftdeploy.prepare.decide import Decision
from ftdeploy.prepare.peek import BEGINNING, Sample, read_sample
from ftdeploy.prepare.privacy import report as privacy
from ftdeploy.prepare.privacy.guard import censored
from ftdeploy.prepare.profile import quantiles
from ftdeploy.prepare.report import report
from ftdeploy.prepare.split import CONFLICT, DUPLICATE, NEAR_DUPLICATE, SAMPLED_OUT
from ftdeploy.prepare.stream import open_sources
from ftdeploy.recipe import Clean, Recipe
from ftdeploy.recipe.clean import Boilerplate, LanguageOutliers, LengthOutliers
from ftdeploy.sources import describe

Style = Literal["title", "line", "before", "after"]
_LISTED = 20


@dataclass(kw_only=True)
class Seen:
    """What the sections are made from.

    Attributes:
        sample: the first rows.
        recipe: the whole recipe.
        decision: what `prepare` would do with these rows if they were all; None where it would refuse them.
        refusal: why it would.
        unused: what rules that are off would do with the cleaned texts.
    """

    sample: Sample
    recipe: Recipe
    decision: Decision | None = None
    refusal: DataError | None = None
    unused: Counts = field(default_factory=Counts)


def preview(recipe: Recipe, *, rows: int = BEGINNING) -> dict[str, Any]:
    """What `prepare` would do with the first rows.

    Args:
        recipe: already valid by itself.
        rows: how many to read, of all sources together; 0 is all, which then stay in memory.

    Returns:
        Plain data by section; where privacy is on, every text as it would be written.

    Raises:
        SourceError: the rows cannot be had.
        DataError: they cannot be read, or lack a column. Rows that are not fit for the task are a section.
    """
    unused, trial = Counts(), _trial(recipe.data.clean)
    sample = read_sample(
        recipe.data, open_sources(recipe.data), task=recipe.task, seed=recipe.seed, most=rows,
        visit=lambda text: [trial(one, unused) for one in parts(text)],
    )  # fmt: skip
    with censored(sample.builder.guard):
        sample.builder.check_columns(sample.read)
    seen = Seen(sample=sample, recipe=recipe, unused=unused)
    try:
        sample.builder.check_labels(whole=sample.whole)
        if sample.rows:
            seen.decision = sample.decide(recipe.task)
    except DataError as error:
        seen.refusal = error
    made = {name: dict(section(seen)) for name, section in SECTIONS.items()}
    guard = sample.builder.guard
    if guard is not None:
        # Once more over everything: a label or an error may quote an identifier as well.
        made = {name: found if name == "rows" else guard.scrub(found) for name, found in made.items()}
    return {name: found for name, found in made.items() if found}


def as_lines(found: Mapping[str, Any]) -> Iterator[tuple[Style, str]]:
    """A preview as lines for people, each with what it is."""
    for name, section in found.items():
        yield "title", name.replace("_", " ")
        yield from _entries(section, "")


def _entries(section: Mapping[Any, Any], indent: str) -> Iterator[tuple[Style, str]]:
    width = max((len(visible(str(key))) for key in section), default=0)
    for key, value in section.items():
        name = indent + visible(str(key)).ljust(width)
        if isinstance(value, Mapping) and "share" in value:
            yield from _rule(name, value)
        elif _is_flat(value):
            yield "line", f"{name}  {_short(value)}"
        else:
            yield "line", name.rstrip()
            inner = value if isinstance(value, Mapping) else dict(enumerate(value, start=1))
            yield from _entries(inner, indent + "  ")


def _rule(name: str, value: Mapping[str, Any]) -> Iterator[tuple[Style, str]]:
    share = f"  {value['share']:.2%}" if value["rows"] else ""
    yield "line", f"{name}  {value['rows']:>7,}{share}"
    for example in value.get("examples", ()):
        if "after" in example:
            yield "before", f"    - {example['before']}"
            yield "after", f"    + {example['after']}"
        else:
            yield "line", f"      {example['text']}"


def _is_flat(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return not any(isinstance(one, (Mapping, list, tuple)) for one in inner)


def _short(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no" if value is False else "none"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (Mapping, list, tuple)):
        pairs = value.items() if isinstance(value, Mapping) else (("", one) for one in value)
        listed = [visible(f"{key} ") + _short(one) for key, one in pairs]
        return ", ".join(one.strip() for one in listed[:_LISTED]) + (" ..." if len(listed) > _LISTED else "") or "none"
    return visible(str(value))


def _trial(rules: Clean) -> CleanText:
    """A cleaner of those rules that are off, look at one text alone, and have their library installed."""
    on: dict[str, Any] = {
        "fix_mojibake": True, "strip_html": True, "strip_invisible": True, "straight_quotes": True, "urls": "replace",
        "emails": "replace", "handles": "replace", "hashtags": "replace", "repeated_letters": 3,
        "repeated_punctuation": 3,
    }  # fmt: skip
    off = {key: value for key, value in on.items() if getattr(rules, key) == Clean.model_fields[key].default}
    if rules.language is None and find_spec("py3langid") is not None:
        off["language"] = {}
    if find_spec("ftfy") is None:
        off.pop("fix_mojibake", None)
    return make_cleaner(Clean.model_validate({"normalize": False, "max_chars": 10**9} | off))


def _tallies(counted: Mapping[str, Tally], rows: int) -> dict[str, Any]:
    return {
        name: {"rows": tally.rows, "share": tally.rows / max(1, rows), "examples": _pairs(tally)}
        for name, tally in sorted(counted.items(), key=lambda item: -item[1].rows)
    }


def _pairs(tally: Tally) -> list[dict[str, str]]:
    pairs = [difference(before, after) for before, after in tally.examples]
    return [{"text": before} if after is None else {"before": before, "after": after} for before, after in pairs]


def _rows(seen: Seen) -> Mapping[str, Any]:
    sample = seen.sample
    sources = [describe(source.entry)["source"] for source in sample.sources]
    made = {"source": "; ".join(sources), "read": sample.read, "all": sample.whole, "cleaned": len(sample.rows)}
    if seen.decision is not None:
        where = seen.decision.where
        made |= {
            "kept": int((where < DUPLICATE).sum()),
            "duplicates": int((where == DUPLICATE).sum()),
            "near_duplicates_dropped": int((where == NEAR_DUPLICATE).sum()),
            "same_text_another_label": int((where == CONFLICT).sum()),
            "sampled_out": int((where == SAMPLED_OUT).sum()),
        }
    return made


def _refusal(seen: Seen) -> Mapping[str, Any]:
    if seen.refusal is None:
        return {}
    # Of a few rows only, some labels may be missing that come later.
    certain = "yes" if seen.sample.whole else "only if the other rows are like these"
    return {"what": seen.refusal.what, "cause": seen.refusal.cause, "fix": seen.refusal.fix, "certain": certain}


def _labels(seen: Seen) -> Mapping[str, int]:
    if not seen.sample.rows:
        return {}
    index = seen.sample.builder.index()
    counted = Counter(index.counts(np.ones(len(index.label), dtype=bool)))
    return {name: rows for name, rows in counted.most_common() if rows}


def _lengths(seen: Seen) -> Mapping[str, Any]:
    chars = Counter(len(text) for _, text in seen.sample.rows)
    words = Counter(len(text.split()) for _, text in seen.sample.rows)
    return {"chars": quantiles(chars), "words": quantiles(words)} if chars else {}


def _changed(seen: Seen) -> Mapping[str, Any]:
    counts, rules = seen.sample.counts, make_rules(seen.recipe.data.clean, seen.sample.builder.survey)
    silent = {rule.name: Tally() for rule in rules if not rule.reports}
    return _tallies(silent | counts.changed, seen.sample.read)


def _set_aside(seen: Seen) -> Mapping[str, Any]:
    rules = seen.recipe.data.clean
    possible = {
        "text is missing": True,
        "text is empty": True,
        "second text is missing": seen.recipe.data.pairs is not None,
        "second text is empty": seen.recipe.data.pairs is not None,
        NO_LABEL: True,
        "text is shorter than min_chars": rules.min_chars > 1,
        "text is longer than max_chars": True,
        "text has fewer words than min_words": rules.min_words is not None,
        "text has more words than max_words": rules.max_words is not None,
        "text is of unusual length": _does(rules.length_outliers, "drop"),
        "text is in another language": _does(rules.language, "drop"),
    }
    silent = {reason: Tally() for reason, on in possible.items() if on}
    return _tallies(silent | seen.sample.counts.rejected, seen.sample.read)


def _does(section: LengthOutliers | LanguageOutliers | Boilerplate | None, action: str) -> bool:
    return section is not None and section.action == action


def _reported(seen: Seen) -> Mapping[str, Any]:
    rules = seen.recipe.data.clean
    silent = {
        name: Tally()
        for name in ("length_outliers", "language", "boilerplate")
        if _does(getattr(rules, name), "report")
    }
    return _tallies(silent | seen.sample.counts.reported, seen.sample.read)


def _found(seen: Seen) -> Mapping[str, Any]:
    return seen.sample.builder.survey.as_dict(seen.recipe.data.clean, seen.sample.counts.mask)


def _unused(seen: Seen) -> Mapping[str, Any]:
    return _tallies(seen.unused.changed | seen.unused.reported, seen.sample.read)


def _decided(seen: Seen) -> Mapping[str, Any]:
    if seen.decision is None:
        return {}
    sample = seen.sample
    return report(
        sample.builder.index(), seen.decision, sample.data, lambda rows: {row: sample.rows[row] for row in rows}
    )


def _privacy(seen: Seen) -> Mapping[str, Any]:
    builder, rows = seen.sample.builder, len(seen.sample.rows)
    if builder.guard is None or not rows:
        return {}
    where = np.zeros(rows, dtype=np.uint8) if seen.decision is None else seen.decision.where
    found = privacy.report(builder.guard, builder.index(), where)
    return {"types": {}} | {name: part for name, part in found.items() if part}


Section = Callable[[Seen], Mapping[str, Any]]
#: In the order in which they are shown.
SECTIONS: Mapping[str, Section] = {
    "rows": _rows,
    "prepare_would_refuse_these_rows": _refusal,
    "labels": _labels,
    "lengths": _lengths,
    "changed": _changed,
    "set_aside": _set_aside,
    "reported": _reported,
    "found_in_all_rows": _found,
    "duplicates_and_splits": _decided,
    "privacy": _privacy,
    "rules_that_are_off_would_change_or_report": _unused,
}
