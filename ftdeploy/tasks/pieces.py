"""Texts of any length in pieces that a model can read: sentences, and windows of those that are too long.

Where a sentence ends is decided by the characters around that place alone. So a sentence is the same piece, and gets
the same answer, whether it comes alone or in a document of fifty pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ftdeploy.encoded import Encoded, Word
from ftdeploy.spans import fitted

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

#: Windows share a quarter of their tokens: a word at the edge of one has its surroundings in the next.
OVERLAP = 4
#: Where a sentence may end: at an empty line, after full stops of scripts without spaces, and after a stop that white
#: space and the beginning of something new follow. A single line break is white space: lines are often cut at a width.
_STOP = re.compile(
    "\\n[^\\S\\n]*\\n\\s*|[\u3002\uff01\uff1f][\"'\u201d\u2019\u300d\u300f)]*\\s*"
    "|[.!?\u2026][\"'\u201d\u2019)\\]]*\\s+(?=[\"'\u201c\u2018\u00ab(\\[]*\\w)"
)
#: What ends in a full stop and no sentence does: titles, references, companies; initials are looked for apart.
_ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof st sr jr vs cf eg ie e.g i.e al approx ca inc ltd co corp llc dept est resp incl excl u.s u.k "  # noqa: SIM905  # as a list it would be fifty lines
    "a.m p.m b.i.d t.i.d q.d p.o i.v i.m s.c".split()
)
#: Likewise where a number follows.
_NUMBERED = frozenset("no nos fig figs eq eqs vol pp p sec art para cl ch ref".split())  # noqa: SIM905
_WORD_BEFORE = re.compile("[^\\s(\\[\"'\u201c\u2018]{1,12}\\Z")
#: Characters before a full stop that are looked at for an abbreviation.
_LOOKED_BACK = 16


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the sentences of a text, without the white space between them."""
    begun = 0
    for stop in _STOP.finditer(text):
        if _ends(text, stop):
            yield from trimmed(text, begun, stop.end())
            begun = stop.end()
    yield from trimmed(text, begun, len(text))


def _ends(text: str, stop: re.Match[str]) -> bool:
    sign, breaks = stop.group()[0], stop.group().count("\n")
    if breaks > 1 or sign in "\u3002\uff01\uff1f":
        return True
    following = text[stop.end() : stop.end() + 4].lstrip("\"'\u201c\u2018\u00ab([")[:1]
    if following.islower():
        return False
    if sign != ".":
        return True
    # In tokenized text the full stop stands by itself.
    before = _WORD_BEFORE.search(text[max(0, stop.start() - _LOOKED_BACK) : stop.start()].rstrip(" "))
    word = before.group().lower() if before else ""
    initial = len(word) == 1 and word.isalpha()
    return not (initial or word in _ABBREVIATIONS or (word in _NUMBERED and following.isdigit()))


def trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of a part of a text without the white space around it; nothing where there is only that."""
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    right = len(piece.rstrip())
    if left < right:
        yield start + left, start + right


def windowed(tokenizer: Tokenizer, max_length: int) -> None:
    """Have a tokenizer cut long texts into windows that overlap, and nothing else."""
    special = tokenizer.num_special_tokens_to_add(False)  # positional only
    tokenizer.enable_truncation(max_length, stride=max(0, (max_length - special) // OVERLAP))
    tokenizer.no_padding()


def encode_pieces(tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None) -> list[Encoded]:
    """The pieces of texts, in their order; a text without a word has one piece without words.

    Args:
        tokenizer: prepared by `windowed`.
        texts: any number.
        unknown: id of the unknown token, where there is one.
    """
    found = []
    for number, text in enumerate(texts):
        places = list(sentences(text)) or [(0, 0)]
        encodings = tokenizer.encode_batch([text[start:end] for start, end in places])
        for (start, _), encoding in zip(places, encodings, strict=True):
            windows = [encoding, *encoding.overflowing]
            for window, words in zip(windows, _shared_out(windows), strict=True):
                found.append(
                    Encoded(
                        ids=window.ids,
                        length=len(window.ids),
                        unknown=window.ids.count(unknown) if unknown is not None else 0,
                        text=number,
                        words=tuple(_placed(words, text, start)),
                    )
                )
    return found


def _placed(words: Sequence[Word], text: str, begun: int) -> Iterator[Word]:
    """The words of a piece by their characters in the whole text. Tokenizers of SentencePiece count the space before a
    word to it, and others leave out marks that they take off its last letter: here a word is what people mark as one.

    Args:
        words: by their characters in the piece; what has none left is no word.
        text: the whole.
        begun: where the piece begins in it.
    """
    for one in words:
        start, end = begun + one.start, begun + one.end
        while 0 < start < end and unicodedata.combining(text[start]):  # it is the letter's before it
            start += 1
        start, end = fitted(text, start, end)
        if start < end:
            yield Word(one.token, start, end)


def _shared_out(windows: Sequence[Encoding]) -> list[list[Word]]:
    """The words of each window, each word in one window only: where it is farthest from an edge, the earlier of two."""
    if len(windows) == 1:
        return [list(_words(windows[0]).values())]
    by_window = [_words(window) for window in windows]
    begun = -1
    for words in by_window:  # a window may begin inside a word: what is left of it there is no word
        first = next(iter(words), None)
        if first is not None and first == begun:
            del words[first]
        begun = max(begun, *words, -1)
    owner: dict[int, tuple[int, int]] = {}
    for number, (window, words) in enumerate(zip(windows, by_window, strict=True)):
        for word, place in words.items():
            inside = min(place.token, len(window.ids) - 1 - place.token)
            if word not in owner or inside > owner[word][0]:
                owner[word] = (inside, number)
    return [
        [place for word, place in words.items() if owner[word][1] == number] for number, words in enumerate(by_window)
    ]


def _words(window: Encoding) -> dict[int, Word]:
    """The words of one encoding by their number in the text; one of several tokens goes from its first to its last."""
    found: dict[int, Word] = {}
    for token, (word, (start, end)) in enumerate(zip(window.word_ids, window.offsets, strict=True)):
        if word is None or start >= end:
            continue
        first = found.get(word)
        found[word] = Word(token, start, end) if first is None else Word(first.token, first.start, max(first.end, end))
    return found
