"""Texts that are kept, with the identifiers of people in them masked and every character in its place."""

from __future__ import annotations

import html
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterable

from ftdeploy.errors import DependencyError
from ftdeploy.pairs import each, is_pair
from ftdeploy.privacy.recognise import find
from ftdeploy.privacy.span import LEAST, REGIONS, Locale, Span

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
    spans = _found(text)
    if may_hide(text, spans, _found):
        return _hidden(text)
    return spliced(text, ((span, _hidden(text[span.start : span.end])) for span in spans))


def may_hide(text: str, spans: Iterable[Span], look: Callable[[str], Iterable[Span]]) -> bool:
    """Whether markup or characters that are not seen may hide an identifier: without them others are found.

    Args:
        text: any text.
        spans: what ``look`` finds in it.
        look: finds identifiers.
    """
    bare = _SPLITTING.sub("", _TAG.sub("", html.unescape(text)))
    return bare != text and Counter(span.kind for span in spans) != Counter(span.kind for span in look(bare))


def spliced(text: str, instead: Iterable[tuple[Span, str]]) -> str:
    """A text with others in place of some findings, which come from left to right."""
    parts, end = [], 0
    for span, new in instead:
        if span.start < end:
            continue  # lies inside one that is replaced already
        parts += [text[end : span.start], new]
        end = span.end
    return "".join([*parts, text[end:]])


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


def _found(text: str) -> list[Span]:
    return find(text, _LOCALE, least=LEAST)


def _hidden(text: str) -> str:
    return "".join(map(_stand_in, text))


def _stand_in(letter: str) -> str:
    if letter.isdigit():
        return "0"
    if letter.isascii() and not letter.isalpha():
        return letter
    return "X" if letter.isupper() else "x"
