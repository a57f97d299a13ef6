"""Lines, sentences, beginnings and ends of texts that recur in many different ones.

Counted exactly in bounded memory: a first pass over the texts keeps the frequent ones among at most `_CAPACITY` of each
kind (Misra and Gries, Finding repeated elements, 1982: each count is too low by at most `lost`, so nothing that is
frequent enough is missed). Where it finds beginnings or ends a second pass looks how long they are, and where it finds
anything a last one counts that exactly, by label. The result does not depend on the order of the rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np

from ftdeploy.prepare.cleaning.fold import fold
from ftdeploy.recipe.clean import Boilerplate

_CAPACITY = 100_000
_EDGE_WORDS = 16  # the longest beginning or end that is looked for
_PIECE_CHARS = 400  # a longer line or sentence is no boilerplate
_LEFT_WORDS = 2  # fewer words than these would be no text: then nothing is cut
#: Line breaks, and white space behind the end of a sentence.
_BREAK = re.compile(r"\s*\n\s*|(?:(?<=[.!?\u2026])|(?<=[.!?\u2026][\"'\u201d\u2019)\]]))\s+")
_LARGE, _DRAWS, _SURE = 0.2, 2000, 0.99  # distance of distributions of labels; samples; share of them
_KINDS = ("pieces", "starts", "ends")
_BESIDE = 0.5  # a longer beginning with less than this share of a shorter one's rows is another text's
_EXTENDS = 0.9  # a beginning with this share of a shorter one's rows stands for it


@dataclass(frozen=True, kw_only=True)
class Found:
    """What recurs, folded (case and white space do not matter), each with the number of different texts that have it.

    Attributes:
        pieces: lines and sentences.
        starts: beginnings of texts.
        ends: ends of texts.
        telling: any of these that stand mostly beside certain labels, with the texts of each; they are listed only.
    """

    pieces: Mapping[str, int] = field(default_factory=dict)
    starts: Mapping[str, int] = field(default_factory=dict)
    ends: Mapping[str, int] = field(default_factory=dict)
    telling: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pieces or self.starts or self.ends)


@dataclass(kw_only=True)
class Recurring:
    """The most frequent strings of a stream, by Misra and Gries; counts too low by at most ``lost``."""

    capacity: int = _CAPACITY
    counts: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    def add(self, name: str) -> None:
        """Count a string; where there is no room, everything loses one, and what has nothing left goes."""
        seen = self.counts.get(name)
        if seen is not None or len(self.counts) < self.capacity:
            self.counts[name] = (seen or 0) + 1
            return
        self.lost += 1
        self.counts = {kept: count - 1 for kept, count in self.counts.items() if count > 1}

    def candidates(self, least: int) -> dict[str, Counter[str]]:
        """Everything that may have been seen ``least`` times, to be counted anew."""
        return {name: Counter() for name, count in self.counts.items() if count + self.lost >= least}


def find_boilerplate(
    rules: Boilerplate, rows: Callable[[], Iterable[tuple[str, str]]], *, capacity: int = _CAPACITY
) -> tuple[Found, int]:
    """What recurs, and in how many different texts it was looked for.

    Args:
        rules: the recipe's section.
        rows: the different texts, each with its label; from the beginning at each call.
        capacity: parts of each kind that are remembered.
    """
    seen = {kind: Recurring(capacity=capacity) for kind in _KINDS}
    everything = Counter[str]()
    for text, label in rows():
        everything[label] += 1
        for kind, parts in _parts(text, rules).items():
            for part in parts:
                seen[kind].add(part)
    texts = everything.total()
    least = max(rules.min_rows, -int(-rules.min_share * texts // 1))
    counts = {kind: one.candidates(least) for kind, one in seen.items()}
    if counts["starts"] or counts["ends"]:
        # A long beginning is no more frequent than the short one that it begins with (Agrawal and Srikant's Apriori,
        # 1994), so that longer ones are looked for beside those only.
        longer = {kind: Recurring(capacity=capacity) for kind in ("starts", "ends")}
        for text, _ in rows():
            for kind, parts in _longer_edges(text, rules, counts).items():
                for part in parts:
                    longer[kind].add(part)
        for kind, one in longer.items():
            counts[kind] |= one.candidates(least)
    if any(counts.values()):
        _count(rules, rows, counts)
    frequent = {
        kind: {part: labels for part, labels in parts.items() if labels.total() >= least}
        for kind, parts in counts.items()
    }
    return _sorted_out(frequent, everything, rules), texts


def _count(
    rules: Boilerplate, rows: Callable[[], Iterable[tuple[str, str]]], counts: Mapping[str, dict[str, Counter[str]]]
) -> None:
    """Count the candidates exactly, by label."""
    for text, label in rows():
        parts = _parts(text, rules)
        for kind, longer in _longer_edges(text, rules, counts).items():
            parts[kind] |= longer
        for kind, names in parts.items():
            for part in names & counts[kind].keys():
                counts[kind][part][label] += 1


def _sorted_out(
    frequent: Mapping[str, Mapping[str, Counter[str]]], everything: Counter[str], rules: Boilerplate
) -> Found:
    free: dict[str, dict[str, int]] = {kind: {} for kind in _KINDS}
    telling: dict[str, dict[str, int]] = {kind: {} for kind in _KINDS}
    for kind, parts in frequent.items():
        for part, labels in parts.items():
            told = rules.tells_label == "keep" and _tells(labels, everything)
            (telling if told else free)[kind][part] = labels.total()
    lines = frequent["pieces"].keys()
    listed = settle(telling, lines, rules.min_edge_words)
    shown = {part: dict(sorted(frequent[kind][part].items())) for kind in _KINDS for part in getattr(listed, kind)}
    return replace(settle(free, lines, rules.min_edge_words), telling=shown)


def _tells(labels: Counter[str], everything: Counter[str]) -> bool:
    """Whether the labels of some texts are distributed unlike those of all: their total variation distance is large,
    and larger than in 99 of 100 samples of as many texts (a Monte Carlo test, drawn alike each time).
    """
    rows, texts = labels.total(), everything.total()
    names = sorted(everything)
    shares = np.array([everything[name] / texts for name in names])
    distance = float(np.abs(np.array([labels[name] for name in names]) / rows - shares).sum() / 2)
    if distance <= _LARGE:
        return False
    drawn = np.random.default_rng(rows).multinomial(rows, shares, size=_DRAWS) / rows
    return bool((np.abs(drawn - shares).sum(axis=1) / 2 < distance).mean() > _SURE)


def settle(found: Mapping[str, Mapping[str, int]], lines: AbstractSet[str], least: int) -> Found:
    """Without what only repeats another: the shorter of two nested beginnings or ends, a part of a line. An end that is
    also a line stays, because it may stand behind a sentence that was not ended.

    A longer beginning or end that few of the shorter one's texts have, and that is longer by fewer than ``least``
    words, is no boilerplate either: it is what people often write beside it.
    """

    def beside(name: str, edges: Mapping[str, int], inside: Callable[[str, str], bool]) -> bool:
        words = name.count(" ")
        return any(
            inside(name, other) and words - other.count(" ") < least and edges[name] < _BESIDE * count
            for other, count in edges.items()
            if len(other) < len(name)
        )

    def longest(edges: Mapping[str, int], inside: Callable[[str, str], bool]) -> dict[str, int]:
        kept: dict[str, int] = {}
        for name in sorted(edges, key=lambda edge: (-len(edge), edge)):
            if beside(name, edges, inside):
                continue
            longer = any(inside(other, name) and count >= _EXTENDS * edges[name] for other, count in kept.items())
            nested = any(name != piece and (name in piece or piece in name) for piece in lines)
            if not longer and not nested:
                kept[name] = edges[name]
        return kept

    return Found(
        pieces=dict(sorted(found["pieces"].items(), key=lambda item: (-item[1], item[0]))),
        starts=longest(found["starts"], str.startswith),
        ends=longest(found["ends"], str.endswith),
    )


def remover(found: Found) -> Callable[[str], str]:
    """The rule that cuts out what was found; a text that would have fewer than two words left stays as it is."""

    # Of the lengths that occur, longest first.
    sizes = sorted({name.count(" ") + 1 for name in (*found.starts, *found.ends)}, reverse=True)

    def apply(text: str) -> str:
        kept = text
        while (less := _without_edges(_without_pieces(kept, found), found, sizes)) != kept:
            kept = less
        return text if kept == text or len(kept.split(None, _LEFT_WORDS)) < _LEFT_WORDS else kept.strip()

    return apply


def _spans(text: str) -> Iterable[tuple[int, int, int]]:
    """Lines and sentences: start, end, and start of the next."""
    start = 0
    for gap in _BREAK.finditer(text):
        yield start, gap.start(), gap.end()
        start = gap.end()
    yield start, len(text), len(text)


def _parts(text: str, rules: Boilerplate) -> dict[str, set[str]]:
    """Lines and sentences, and the shortest beginning and end; what is the whole text is none."""
    pieces = {fold(text[start:end]) for start, end, _ in _spans(text) if end - start <= _PIECE_CHARS}
    whole = fold(text)
    words, size = whole.split(), rules.min_edge_words
    return {
        "pieces": {piece for piece in pieces if piece != whole and piece.count(" ") + 1 >= rules.min_words},
        "starts": {" ".join(words[:size])} if len(words) > size else set(),
        "ends": {" ".join(words[-size:])} if len(words) > size else set(),
    }


def _longer_edges(text: str, rules: Boilerplate, short: Mapping[str, Container[str]]) -> dict[str, set[str]]:
    """Longer beginnings and ends of a text whose short one is among those given."""
    words, size = fold(text).split(), rules.min_edge_words
    sizes = range(size + 1, min(_EDGE_WORDS, len(words) - 1) + 1)
    return {
        "starts": {" ".join(words[:more]) for more in sizes} if " ".join(words[:size]) in short["starts"] else set(),
        "ends": {" ".join(words[-more:]) for more in sizes} if " ".join(words[-size:]) in short["ends"] else set(),
    }


def _without_pieces(text: str, found: Found) -> str:
    if not found.pieces:
        return text
    kept = [
        text[start:behind]
        for start, end, behind in _spans(text)
        if end - start > _PIECE_CHARS or fold(text[start:end]) not in found.pieces
    ]
    return "".join(kept)


def _without_edges(text: str, found: Found, sizes: Sequence[int]) -> str:
    for size in sizes:
        head, tail = text.split(None, size), text.rsplit(None, size)
        if len(head) > size and fold(" ".join(head[:size])) in found.starts:
            return head[size]
        if len(tail) > size and fold(" ".join(tail[1:])) in found.ends:
            return tail[0]
    return text
