"""Tidying one row: the rules of `data.clean` in order; and what is set aside, each rule with a count."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from ftdeploy.errors import ConfigError
from ftdeploy.prepare.cleaning import boilerplate, characters, markup, mentions
from ftdeploy.prepare.cleaning.counts import LONE_SURROGATE, Counts, Rejected, Tally
from ftdeploy.prepare.cleaning.fold import fold, text_key
from ftdeploy.prepare.cleaning.judges import Judge, judges
from ftdeploy.prepare.cleaning.survey import NOTHING, Survey, survey
from ftdeploy.recipe import Clean

__all__ = [
    "DEFAULT_RULES", "NOTHING", "NO_LABEL", "CleanText", "Counts", "Rejected", "Survey", "Tally", "as_text",
    "clean_label", "clean_name", "fold", "libraries", "look_at_all", "make_cleaner", "make_rules", "text_key",
]  # fmt: skip

#: The tidied text of a cell, or why its row is set aside.
CleanText = Callable[[Any, Counts], str | Rejected]


class Rule(NamedTuple):
    """A rule by name: what it makes of a text, and whether that is taken over or only reported."""

    name: str
    apply: Callable[[str], str]
    reports: bool = False


#: What is on by default: white space and Unicode, of which everybody knows what they become.
DEFAULT_RULES = ("unicode_nfc", "control_characters", "white_space")

#: Why a row without a label is set aside.
NO_LABEL = "label is missing"
#: A text that a round of all rules still changes after so many is set aside: only made-up ones do.
_ROUNDS = 12
#: A longer text is not surveyed; `Builder` says what is wrong with it.
_ABSURD = 1_000_000


def as_text(value: Any) -> str | Rejected | None:
    """A cell as text: None for a missing one. ``1.0`` is ``1`` (a table with gaps turns integers into floats), true is
    ``true``.
    """
    if isinstance(value, (str, Rejected)) or value is None:
        return value
    if isinstance(value, (Mapping, list, tuple, set, bytes)):
        return Rejected(reason=f"is a {type(value).__name__}, not text")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def make_rules(rules: Clean, found: Survey = NOTHING) -> tuple[Rule, ...]:
    """The rules that the recipe switches on, by name, in the order in which they are applied.

    Mojibake comes first because it needs the characters as they were decoded; HTML before Unicode because entities
    bring characters; boilerplate last but white space, because it looks at lines.
    """
    tokens, recurs, letters, signs = rules.tokens, rules.boilerplate, rules.repeated_letters, rules.repeated_punctuation
    made = (
        Rule("mojibake", characters.mojibake()) if rules.fix_mojibake else None,
        Rule("html", markup.strip) if rules.strip_html else None,
        Rule(f"unicode_{rules.unicode.lower()}", characters.unicode_form(rules.unicode)) if rules.normalize else None,
        Rule("control_characters", characters.control) if rules.normalize else None,
        Rule("invisible_characters", characters.invisible) if rules.strip_invisible else None,
        Rule("quotes", characters.quotes) if rules.straight_quotes else None,
        _mention("urls", mentions.urls, rules.urls, tokens.url),
        _mention("emails", mentions.emails, rules.emails, tokens.email),
        _mention("handles", mentions.handles, rules.handles, tokens.handle),
        Rule("hashtags", mentions.hashtag_words)
        if rules.hashtags == "word"
        else _mention("hashtags", mentions.hashtags, rules.hashtags, tokens.hashtag),
        Rule("repeated_letters", characters.repeated_letters(letters)) if letters else None,
        Rule("repeated_punctuation", characters.repeated_punctuation(signs)) if signs else None,
        Rule("boilerplate", boilerplate.remover(found.boilerplate), reports=recurs.action == "report")
        if recurs is not None and found.boilerplate
        else None,
        Rule("white_space", characters.white_space) if rules.normalize else None,
    )
    return tuple(rule for rule in made if rule is not None)


def _mention(name: str, make: Callable[[str], Callable[[str], str]], policy: str, token: str) -> Rule | None:
    return None if policy == "keep" else Rule(name, make(token if policy == "replace" else " "))


def make_cleaner(rules: Clean, found: Survey = NOTHING) -> CleanText:
    """The function that tidies a text as the recipe says; everything is compiled once.

    Args:
        rules: the recipe's section.
        found: what `look_at_all` learned; without it boilerplate and length outliers are left alone.

    Raises:
        ConfigError: a token that another rule would change, or an unknown language.
        ModuleNotFoundError: a library of the extra `data` is not installed.
    """
    tidy, judge_all = _tidier(rules, found), judges(rules, found.bounds)
    low, high = rules.min_chars, rules.max_chars
    # Most rows of most recipes: then the first judge, who counts characters, is the only one.
    simple = rules.normalize and len(judge_all) == 1

    def clean(value: Any, counts: Counts) -> str | Rejected:
        raw = value if isinstance(value, str) else as_text(value)
        if not isinstance(raw, str):
            return Rejected(reason="text is missing" if raw is None else f"text {raw.reason}")
        text = tidy(raw, counts)
        if isinstance(text, Rejected) or (simple and low <= len(text) <= high):
            return text
        return _judged(text, judge_all, counts)

    return clean


def _judged(text: str, judge_all: tuple[Judge, ...], counts: Counts) -> str | Rejected:
    if not text or text.isspace():
        return Rejected(reason="text is empty")
    for judge in judge_all:
        verdict = judge(text)
        if verdict is not None:
            if verdict.drop:
                return Rejected(reason=verdict.reason)
            counts.report(verdict.rule, f"{verdict.detail}: {text}")
    return text


def libraries(rules: Clean) -> dict[str, str]:
    """The versions of the libraries that decide what these rules do; they belong to the key of `prepare`.

    Raises:
        ModuleNotFoundError: one of them, of the extra `data`, is not installed.
    """
    used = {"ftfy": rules.fix_mojibake, "py3langid": rules.language is not None}
    return {name: version(name) for name, on in used.items() if on}


def look_at_all(rules: Clean, values: Callable[[], Iterable[tuple[Any, Any]]]) -> Survey:
    """What some rules must know of all rows before the first is cleaned; at once `NOTHING` where no such rule is on.

    Args:
        rules: the recipe's section.
        values: the cells with text and label, from the beginning at each call.
    """
    if rules.length_outliers is None and rules.boilerplate is None:
        return NOTHING
    # Lines are looked at, so white space stays for now.
    steps = tuple(rule for rule in make_rules(rules) if rule.name != "white_space")

    def rows() -> Iterator[tuple[str, str]]:
        for value, label in values():
            raw = as_text(value)
            if isinstance(raw, str) and len(raw) <= max(_ABSURD, rules.max_chars):
                text = _settle(LONE_SURROGATE.sub("\ufffd", raw), steps, Counts())
                if isinstance(text, str) and rules.min_chars <= len(text.strip()) <= rules.max_chars:
                    yield text, clean_name(label) or ""

    return survey(rules, rows)


def clean_label(value: Any) -> str | Rejected:
    """The label of a row as text, or why the row is set aside."""
    raw = as_text(value)
    if isinstance(raw, Rejected):
        return Rejected(reason=f"label {raw.reason}")
    label = clean_name(raw)
    return Rejected(reason=NO_LABEL) if label is None else label


def clean_name(value: Any) -> str | None:
    """A label, group, id or slice value: NFC, no control characters, nothing that cannot be seen, single spaces; None
    when nothing is left."""
    raw = as_text(value)
    if raw is None or isinstance(raw, Rejected):
        return None
    # Whatever `data.clean` leaves in texts: nobody would find what tells two names apart that look the same.
    seen = characters.invisible(characters.CONTROL.sub("", unicodedata.normalize("NFC", raw)))
    return " ".join(unicodedata.normalize("NFC", seen).split()) or None


def _tidier(rules: Clean, found: Survey) -> Callable[[str, Counts], str | Rejected]:
    steps = make_rules(rules, found)
    if tuple(step.name for step in steps) == DEFAULT_RULES:
        return _normalize
    for policy, key, token in (
        (rules.urls, "url", rules.tokens.url),
        (rules.emails, "email", rules.tokens.email),
        (rules.handles, "handle", rules.tokens.handle),
        (rules.hashtags, "hashtag", rules.tokens.hashtag),
    ):
        if policy == "replace" and _settle(token, steps, Counts()) != token:
            raise ConfigError(
                f"data.clean.tokens.{key} is {token!r}, which another rule of data.clean would change",
                cause="the token looks like HTML, an address, a handle or a hashtag itself",
                fix="choose one in square brackets, as [URL]",
            )
    if not rules.normalize:
        return lambda raw, counts: _settle(LONE_SURROGATE.sub("\ufffd", raw), steps, counts)
    return lambda raw, counts: _settle(raw, steps, counts)


def _normalize(raw: str, counts: Counts) -> str:
    """The rules that are on by default: they need no second round, and most texts no change at all."""
    text = raw
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
        counts.change("unicode_nfc", raw, text)
    if characters.CONTROL.search(text):
        # Without what stood between, a letter and its accent may compose.
        text = unicodedata.normalize("NFC", characters.CONTROL.sub("", text))
        counts.change("control_characters", raw, text)
    folded = " ".join(text.split())
    if folded != text:
        counts.change("white_space", raw, folded)
    return folded


def _settle(raw: str, steps: tuple[Rule, ...], counts: Counts) -> str | Rejected:
    """The text that no rule changes any more: what one rule uncovers another may find (`&amp;lt;b&amp;gt;`)."""
    text = raw
    touched: dict[Rule, tuple[str, str]] = {}
    for _ in range(_ROUNDS):
        begun = text
        for rule in steps:
            after = rule.apply(text)
            if after != text:
                touched.setdefault(rule, (text, after))
                text = text if rule.reports else after
        if text == begun:
            break
    else:
        return Rejected(reason="text changes with every cleaning")
    for rule, (before, after) in touched.items():
        if rule.reports:
            counts.report(rule.name, before, after)
        elif rule.name != "white_space" or len(touched) == 1 or " ".join(raw.split()) != raw:
            counts.change(rule.name, before, after)  # white space that other rules left behind is theirs
    return text
