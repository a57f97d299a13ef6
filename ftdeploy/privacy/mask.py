"""Texts that are kept, with the identifiers of people in them masked and every character in its place."""

from __future__ import annotations

import html
import importlib.util
import re
from collections import Counter

from ftdeploy.errors import DependencyError
from ftdeploy.pairs import each, is_pair
from ftdeploy.privacy.recognise import find
from ftdeploy.privacy.span import LEAST, REGIONS, Locale

_TAG = re.compile(r"<[^<>]{0,1000}>")
_SPLITTING = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_LOCALE = Locale(regions=REGIONS, names={})


def masked(text: str) -> str:
    """A text with what recognisers find in it masked: a digit becomes 0, any other letter or sign beyond ASCII x or X.

    It stays as long as it was, so that places in it, as those of entities, stay right. Where markup or characters that
    are not seen may hide an identifier, all of it is masked. Two texts of a row are each masked by itself.
    """
    if is_pair(text):
        return each(text, masked)
    spans = find(text, _LOCALE, least=LEAST)
    bare = uncovered(text)
    if bare != text and Counter(span.kind for span in spans) != Counter(
        span.kind for span in find(bare, _LOCALE, least=LEAST)
    ):
        return _hidden(text)
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], _hidden(text[span.start : span.end])]
        end = span.end
    return "".join([*parts, text[end:]])


def uncovered(text: str) -> str:
    """A text without markup and without characters that are not seen: what a reader would find in it."""
    return _SPLITTING.sub("", _TAG.sub("", html.unescape(text)))


def require_phonenumbers(asked: str) -> None:
    """Refuse to go on without the library that reads phone numbers.

    Args:
        asked: the key of the recipe that wants it.

    Raises:
        DependencyError: it is not installed.
    """
    if importlib.util.find_spec("phonenumbers") is None:
        raise DependencyError(
            f"`{asked}` needs the library phonenumbers",
            cause="ftdeploy was installed without the extra `data`, or a bundle without all of its requirements",
            fix="pip install 'ftdeploy[data]', or what the bundle lists in env/python/requirements.txt",
        )


def _hidden(text: str) -> str:
    return "".join(map(_stand_in, text))


def _stand_in(letter: str) -> str:
    if letter.isdigit():
        return "0"
    if letter.isascii() and not letter.isalpha():
        return letter
    return "X" if letter.isupper() else "x"
