"""Rules that judge a cleaned text as a whole: words, length against the others, language."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftdeploy.errors import ConfigError, did_you_mean
from ftdeploy.recipe.clean import Clean, LanguageOutliers, LengthOutliers

_LANGUAGE_CHARS = 1000  # what is behind them does not change which language it is, and costs time
#: Naive Bayes counts n-grams that overlap as independent, so a few odd names make it sure of anything. Its scores are
#: therefore taken as evidence per letter, of so many letters. Of 6,709 reviews, clinical notes and news lines of 40
#: letters and more in English, 13 passed 0.99 before; after it one did, which is German. Of 24 sentences in 18 other
#: languages all did, before and after.
_EVIDENCE = 10
_FEW = 50  # rows; a distribution of fewer says nothing about outliers


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge says against a text: the rule, the reason in words, a detail of this text, and whether it goes."""

    rule: str
    reason: str
    detail: str
    drop: bool


Judge = Callable[[str], Verdict | None]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The lengths that are not outliers, both included, in the unit of the rule."""

    low: float
    high: float


def judges(rules: Clean, bounds: Bounds | None) -> tuple[Judge, ...]:
    """The judges that the recipe asks for.

    Args:
        rules: the recipe's section; its limits of length come first, being the cheapest.
        bounds: of `length_outliers`, from a survey of all rows; None does not judge.

    Raises:
        ConfigError: a language that py3langid does not know.
        ModuleNotFoundError: py3langid, of the extra `data`, is not installed.
    """
    found = [_chars(rules.min_chars, rules.max_chars)]
    if rules.min_words is not None or rules.max_words is not None:
        found.append(_words(rules.min_words or 0, rules.max_words or math.inf))
    if rules.length_outliers is not None and bounds is not None:
        found.append(_length(rules.length_outliers, bounds))
    if rules.language is not None:
        found.append(_language(rules.language, frozenset(rules.tokens.model_dump().values())))
    return tuple(found)


def length_of(rules: LengthOutliers) -> Callable[[str], int]:
    """What the rule counts in a text."""
    return len if rules.unit == "chars" else lambda text: len(text.split())


def length_bounds(lengths: dict[int, int], rules: LengthOutliers) -> Bounds | None:
    """The lengths that are not outliers; None where there are too few rows, or no spread, to tell.

    Args:
        lengths: rows by length.
        rules: `iqr` (Tukey, Exploratory Data Analysis, 1977), `mad` (Iglewicz and Hoaglin, How to Detect and Handle
            Outliers, 1993) or `quantile`.
    """
    if sum(lengths.values()) < _FEW:
        return None
    values = np.array(sorted(lengths), dtype=np.float64)
    counts = np.array([lengths[int(value)] for value in values])
    if rules.rule == "quantile":
        return Bounds(low=_quantile(values, counts, rules.share), high=_quantile(values, counts, 1 - rules.share))
    values = np.log(values)
    if rules.rule == "mad":
        middle = _quantile(values, counts, 0.5)
        away = np.abs(values - middle)
        order = np.argsort(away, kind="stable")
        spread = 1.4826 * _quantile(away[order], counts[order], 0.5)
        low = high = middle
    else:
        low, high = _quantile(values, counts, 0.25), _quantile(values, counts, 0.75)
        spread = high - low
    width = (rules.width or {"iqr": 3.0, "mad": 3.5}[rules.rule]) * spread
    return Bounds(low=math.exp(low - width), high=math.exp(high + width)) if spread else None


def _quantile(values: Any, counts: Any, share: float) -> float:
    """The smallest value that at least this share of the rows do not exceed; ``values`` ascend."""
    reached = np.cumsum(counts) >= share * counts.sum()
    return float(values[int(np.argmax(reached))])


def _chars(low: int, high: int) -> Judge:
    short = Verdict(rule="chars", reason="text is shorter than min_chars", detail="", drop=True)
    long = Verdict(rule="chars", reason="text is longer than max_chars", detail="", drop=True)

    def judge(text: str) -> Verdict | None:
        length = len(text)
        return None if low <= length <= high else short if length < low else long

    return judge


def _words(low: float, high: float) -> Judge:
    def judge(text: str) -> Verdict | None:
        words = len(text.split())
        if low <= words <= high:
            return None
        reason = "text has fewer words than min_words" if words < low else "text has more words than max_words"
        return Verdict(rule="words", reason=reason, detail=f"{words:,} words", drop=True)

    return judge


def _length(rules: LengthOutliers, bounds: Bounds) -> Judge:
    measure, drop = length_of(rules), rules.action == "drop"
    # A hair of tolerance: exp(log(x)) is not always x.
    low, high = bounds.low * (1 - 1e-9), bounds.high * (1 + 1e-9)

    def judge(text: str) -> Verdict | None:
        length = measure(text)
        if low <= length <= high:
            return None
        detail = f"{length:,} {rules.unit}"
        return Verdict(rule="length_outliers", reason="text is of unusual length", detail=detail, drop=drop)

    return judge


def _language(rules: LanguageOutliers, tokens: frozenset[str]) -> Judge:
    """By py3langid (Lui and Baldwin, langid.py, ACL 2012), on the different words but addresses, handles and tokens: a
    word that is said again is no new evidence ("no no no no")."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]  # ships no types

    model = LanguageIdentifier.from_pickled_model(MODEL_FILE)
    names = list(model.nb_classes)
    unknown = [code for code in rules.languages if code not in names]
    if unknown:
        raise ConfigError(
            f"data.clean.language.languages: py3langid does not know {unknown[0]!r}",
            cause="a code that is none of ISO 639-1, or one of the languages that it was not trained on",
            fix=f"{did_you_mean(unknown[0], names)}",
        )
    expected = np.array([name in rules.languages for name in names])

    def judge(text: str) -> Verdict | None:
        words = dict.fromkeys(text[:_LANGUAGE_CHARS].split())
        shown = " ".join(word for word in words if word not in tokens and not _address(word))
        letters = sum(map(str.isalpha, shown))
        if letters < rules.min_letters:
            return None
        counts = model.instance2fv(shown if not shown.isupper() else shown.lower())
        used = counts.nonzero()[0]
        # Only the features that the text has: the library multiplies all 7,480.
        scores = (model.nb_pc + counts[used] @ model.nb_ptc[used]).astype(np.float64) * (_EVIDENCE / letters)
        chances = np.exp(scores - scores.max())
        other = float(chances[~expected].sum() / chances.sum())
        if other < rules.min_probability:
            return None
        detail = f"{names[int(np.argmax(np.where(expected, -np.inf, scores)))]} {other:.3f}"
        reason = "text is in another language"
        return Verdict(rule="language", reason=reason, detail=detail, drop=rules.action == "drop")

    return judge


def _address(word: str) -> bool:
    return "://" in word or word.startswith(("@", "#", "www."))
