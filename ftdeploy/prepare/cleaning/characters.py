"""Rules about characters: Unicode forms, mojibake, what cannot be seen, quotes, repetitions, white space.

Each rule takes a text and returns it, changed or as it was; each asks something cheap first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Literal

# C0 and C1 controls but those that are white space, the byte order mark, and halves of surrogate pairs (JSON can hold
# them and UTF-8 cannot).
CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff\ud800-\udfff]")

#: A joiner after one of these shapes letters or builds an emoji: Hebrew to Khmer and other scripts of the south and
#: east, symbols, the emoji variation selector, pictures, skin tones. After anything else it is a leftover.
_JOINING = "\u0590-\u1fff\u2190-\u2bff\ua800-\uabff\ufe0f\U0001f000-\U0001faff\U00010a00-\U00011fff"
#: Group 1 is kept: a flag of a region (England, Scotland, Wales) is written with tag characters.
_INVISIBLE = re.compile(
    "(\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f)"
    "|[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f]+"
    f"|(?<![{_JOINING}])[\u200c\u200d]+|[\u200c\u200d]+(?=[\\s!-~]|$)"
)
_QUOTES = str.maketrans(dict.fromkeys("\u2018\u2019\u201a\u201b", "'") | dict.fromkeys("\u201c\u201d\u201e\u201f", '"'))
_CURLY = re.compile("[\u2018-\u201f]")


def unicode_form(form: Literal["NFC", "NFKC"]) -> Callable[[str], str]:
    """The rule for a Unicode normalisation form (Unicode Standard Annex 15)."""

    def apply(text: str) -> str:
        return text if unicodedata.is_normalized(form, text) else unicodedata.normalize(form, text)

    return apply


def control(text: str) -> str:
    """Without control characters; white space stays."""
    return CONTROL.sub("", text) if CONTROL.search(text) else text


def white_space(text: str) -> str:
    """Runs of white space as one space, none at the ends."""
    return " ".join(text.split())


def invisible(text: str) -> str:
    """Without zero-width and direction marks, soft hyphens, fillers and tag characters."""
    return text if text.isascii() else _INVISIBLE.sub(lambda found: found[1] or "", text)


def quotes(text: str) -> str:
    """With straight quotation marks and apostrophes."""
    return text if text.isascii() or not _CURLY.search(text) else text.translate(_QUOTES)


def mojibake() -> Callable[[str], str]:
    """The rule that repairs text decoded in the wrong encoding, with ftfy (Speer 2019, zenodo.2591652).

    Raises:
        ModuleNotFoundError: ftfy, of the extra `data`, is not installed.
    """
    from ftfy import fix_encoding

    def apply(text: str) -> str:
        return text if text.isascii() else fix_encoding(text)

    return apply


def repeated_letters(most: int) -> Callable[[str], str]:
    """The rule that keeps at most so many of one letter in a row."""
    return _repeated(r"[^\W\d_]", most)


def repeated_punctuation(most: int) -> Callable[[str], str]:
    """The rule that keeps at most so many of a sign in a row, or of two or three that alternate."""
    return _repeated(r"(?:[^\w\s]|_){1,3}?", most)


def _repeated(unit: str, most: int) -> Callable[[str], str]:
    run = re.compile(rf"({unit})\1{{{most},}}")

    def apply(text: str) -> str:
        return run.sub(lambda found: found[1] * most, text)

    return apply
