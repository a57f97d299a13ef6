"""Changes to a text that leave its meaning alone: what people and programs do to texts on their way to a model.

The invariance tests of CheckList (Ribeiro et al. 2020) ask whether the answer stays. Each change is drawn from a
generator that is seeded by the suite's seed and the text itself, so that a text is changed alike whatever stands beside
it. Where there is nothing to change, a text stays as it is: no typo in a number, no upper case in Chinese.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ftdeploy.suite import Perturbation

#: Letters alone: a digit more or less is another number, and another meaning.
_WORD = re.compile(r"[^\W\d_]{3,}")
_SPACE = re.compile(r"\s+")
_END_MARKS = re.compile(r"[.!…。！]+$")  # noqa: RUF001  # marks of other scripts are meant
_QUESTION = re.compile(r"[?？]$")  # noqa: RUF001
#: A typing error in about so many words, and at least one.
_WORDS_A_TYPO = 10
#: Of the spaces of a text, and of its letters that have a lookalike: the share that is changed, and at least one.
_SPACES, _LETTERS = 0.3, 0.15
_GAPS = ("  ", "   ", "\t", "\n", " \n")
#: Latin letters and the Cyrillic ones that no eye tells from them (Unicode Technical Standard 39, confusables).
_LATIN, _CYRILLIC = "aceijopsxyABCEHIJKMOPSTXY", "асеіјорѕхуАВСЕНІЈКМОРЅТХУ"  # noqa: RUF001  # that is the point
_ALIKE = dict(zip(_LATIN, _CYRILLIC, strict=True)) | dict(zip(_CYRILLIC, _LATIN, strict=True))
#: From ``!`` to ``~`` each character has a wide twin, this far away.
_WIDE = 0xFEE0
_NEUTRAL = (
    "This was written today.", "It was a Tuesday.", "Here are a few words.", "This is the first page.",
    "The text has several words.", "It was sent by e-mail.",
)  # fmt: skip


def perturb(text: str, how: Perturbation, *, seed: int) -> str:
    """A text, changed in a way that leaves its meaning alone.

    Args:
        text: any.
        how: one of ``ftdeploy.suite.Perturbation``.
        seed: with the text decides what is drawn.

    Returns:
        The changed text; the text itself where there is nothing to change. Blank only where the text is.
    """
    if not text.strip():
        return text
    told = hashlib.sha256(f"{seed} {how} {text}".encode("utf-8", "surrogatepass")).digest()
    return _PERTURBATIONS[how](text, np.random.default_rng(int.from_bytes(told[:16], "little")))


def _typos(text: str, draw: np.random.Generator) -> str:
    # A superscript two is no digit for the pattern, and a number all the same.
    words = [found.span() for found in _WORD.finditer(text) if found[0].isalpha()]
    count = min(len(words), max(1, round(len(text.split()) / _WORDS_A_TYPO)))
    # From the end, so that the places of the words before stay as they are.
    for index in sorted(draw.choice(len(words), size=count, replace=False).tolist(), reverse=True) if words else ():
        start, end = words[index]
        text = text[:start] + _typo(text[start:end], draw) + text[end:]
    return text


def _typo(word: str, draw: np.random.Generator) -> str:
    """A word with two neighbouring letters swapped, one left out, or one doubled; its first letter stays."""
    place = int(draw.integers(1, len(word) - 1))
    swapped = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    left_out, doubled = word[:place] + word[place + 1 :], word[: place + 1] + word[place:]
    return _one_of([swapped, left_out, doubled], word, draw)


def _case(text: str, draw: np.random.Generator) -> str:
    titled = re.sub(r"\S+", lambda word: word[0][:1].upper() + word[0][1:].lower(), text)
    return _one_of([text.upper(), text.lower(), titled], text, draw)


def _whitespace(text: str, draw: np.random.Generator) -> str:
    gaps = list(_SPACE.finditer(text))
    if not gaps:
        return _one_of([f" {text}", f"{text}  ", f"{text}\n", f"\t{text}"], text, draw)
    for index in reversed(_some(len(gaps), _SPACES, draw)):
        start, end = gaps[index].span()
        text = text[:start] + _one_of(_GAPS, text[start:end], draw) + text[end:]
    return text


def _punctuation(text: str, draw: np.random.Generator) -> str:  # noqa: ARG001  # there is one way
    plain = text.rstrip()
    if _QUESTION.search(plain):  # without its mark it would be a statement
        return plain + plain[-1]
    return _END_MARKS.sub("", plain).rstrip() or f"{plain}." if _END_MARKS.search(plain) else f"{plain}."


def _lookalikes(text: str, draw: np.random.Generator) -> str:
    wide = [index for index, letter in enumerate(text) if letter.isascii() and letter.isalpha()]
    places = sorted({*wide, *(index for index, letter in enumerate(text) if letter in _ALIKE)})
    letters = list(text)
    for index in _some(len(places), _LETTERS, draw):
        letter = letters[places[index]]
        twins = [_ALIKE[letter]] if letter in _ALIKE else []
        twins += [chr(ord(letter) + _WIDE)] if letter.isascii() else []
        letters[places[index]] = _one_of(twins, letter, draw)
    return "".join(letters)


def _length(text: str, draw: np.random.Generator) -> str:
    neutral = _NEUTRAL[int(draw.integers(len(_NEUTRAL)))]
    return _one_of([f"{neutral} {text}", f"{text} {neutral}"], text, draw)


def _one_of(ways: Sequence[str], text: str, draw: np.random.Generator) -> str:
    """One of the ways that are not the text as it is."""
    other = [way for way in ways if way != text]
    return other[int(draw.integers(len(other)))] if other else text


def _some(count: int, part: float, draw: np.random.Generator) -> list[int]:
    """A share of so many places, and at least one of them, in order; of none, none."""
    found = np.flatnonzero(draw.random(count) < part).tolist()
    return found or ([int(draw.integers(count))] if count else [])


_PERTURBATIONS: Mapping[Perturbation, Callable[[str, np.random.Generator], str]] = {
    "typos": _typos,
    "case": _case,
    "whitespace": _whitespace,
    "punctuation": _punctuation,
    "lookalikes": _lookalikes,
    "length": _length,
}
