"""ROUGE as an `evaluate.Metric` that needs no network.

`evaluate.load("evaluation_suites/metrics/rouge.py")` loads it. Written on its own, without ftdeploy and without
rouge-score, so that it also runs elsewhere, and so that its agreement with it means something.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import datasets
import evaluate


class Rouge(evaluate.Metric):  # type: ignore[misc] # evaluate ships no types
    """Overlap of words, of pairs of words, and the longest common subsequence: F-measures, the mean over the texts."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="F-measures rouge1, rouge2 and rougeL of each text, averaged. Words are runs of a-z and 0-9 in "
            "lower case.",
            citation="Lin (2004). ROUGE: a package for automatic evaluation of summaries.",
            inputs_description="predictions, references: texts. use_stemmer: words of more than three letters are "
            "compared by their stems (Porter 1980).",
            features=datasets.Features(dict.fromkeys(("predictions", "references"), datasets.Value("string"))),
        )

    def _compute(self, predictions: list[str], references: list[str], *,
                 use_stemmer: bool = False) -> dict[str, float]:  # fmt: skip
        totals = {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
        for guess, truth in zip(predictions, references, strict=True):
            ours, theirs = (_words(text, use_stemmer=use_stemmer) for text in (guess, truth))
            for name, n in (("rouge1", 1), ("rouge2", 2)):
                mine, wanted = _ngrams(ours, n), _ngrams(theirs, n)
                totals[name] += _f((mine & wanted).total(), mine.total(), wanted.total())
            totals["rougeL"] += _f(_common(ours, theirs), len(ours), len(theirs))
        return {name: total / len(references) for name, total in totals.items()}


def _words(text: str, *, use_stemmer: bool) -> list[str]:
    words = re.findall("[a-z0-9]+", text.lower())
    return [stem(word) if use_stemmer and len(word) > 3 else word for word in words]  # noqa: PLR2004 - as the original


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))


def _f(both: int, guessed: int, true: int) -> float:
    return 2 * both / (guessed + true) if both else 0.0


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(second) + 1)
    for word in first:
        row = [0]
        for at, other in enumerate(second):
            row.append(above[at] + 1 if word == other else max(row[at], above[at + 1]))
        above = row
    return above[-1]


# The stemmer: Porter (1980), with the departures of NLTK's, which rouge-score uses.

_IRREGULAR = {
    "sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning",
    "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
    "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip
_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip


def _shape(word: str) -> str:
    """v for each vowel, c for each consonant; y is a vowel after a consonant."""
    found = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and found.endswith("c"))
        found += "v" if vowel else "c"
    return found


def _measure(word: str) -> int:
    return _shape(word).count("vc")


def _short(word: str) -> bool:
    """Ends in consonant, vowel, consonant other than w, x, y; or is a vowel and a consonant."""
    shape = _shape(word)
    return (shape.endswith("cvc") and word[-1] not in "wxy") or shape == "vc"


def _replaced(word: str, rules: Sequence[tuple[str, str]], least: int) -> str:
    """The first rule whose suffix the word has, if what stands before it measures more than ``least``."""
    for suffix, replacement in rules:
        if word.endswith(suffix):
            before = word.removesuffix(suffix)
            return before + replacement if _measure(before) > least else word
    return word


def _plural(word: str) -> str:
    if word.endswith("ies"):
        return word[:-1] if len(word) == 4 else word[:-2]  # noqa: PLR2004 - dies, and flies
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]  # noqa: PLR2004 - died, and spied
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        before = word.removesuffix(suffix)
        if before != word and "v" in _shape(before):
            return _mended(before)
    return word


def _mended(word: str) -> str:
    """What -ed or -ing was taken from: conflat(e), hop(p), fil(e)."""
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if word[-1:] == word[-2:-1] and _shape(word).endswith("c"):
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if _measure(word) == 1 and _short(word) else word


def _y(word: str) -> str:
    before = word[:-1]
    return before + "i" if word.endswith("y") and len(before) > 1 and _shape(before).endswith("c") else word


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _step_2(word[:-2])
    if word.endswith("logi") and not word.endswith(tuple(suffix for suffix, _ in _STEP_2)):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, _STEP_2, 0)


def _step_4(word: str) -> str:
    suffix = next((one for one in _STEP_4 if word.endswith(one)), "")
    before = word.removesuffix(suffix)
    wanted = _measure(before) > 1 and (suffix != "ion" or before.endswith(("s", "t")))
    return before if wanted else word


def _last(word: str) -> str:
    before = word[:-1]
    if word.endswith("e") and (_measure(before) > 1 or (_measure(before) == 1 and not _short(before))):
        word = before
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def stem(word: str) -> str:
    """The stem of an English word in lower case."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    steps: tuple[Callable[[str], str], ...] = (
        _plural, _past, _y, _step_2, lambda found: _replaced(found, _STEP_3, 0), _step_4, _last,
    )  # fmt: skip
    if len(word) > 2:  # noqa: PLR2004 - a, an, by
        for step in steps:
            word = step(word)
    return word
