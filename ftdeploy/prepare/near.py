"""Near duplicates: texts that share most of their shingles, found by MinHash and banding.

A text is the set of its shingles (runs of words or characters), and two texts are as alike as their sets: the Jaccard
similarity. A sketch of 128 minima estimates it without the texts (Broder 1997); one byte of each minimum is enough (Li
and Koenig 2010). Pairs worth comparing are those whose sketches agree in a whole band (Leskovec, Rajaraman and Ullman,
Mining of Massive Datasets, ch. 3); each is then held against the threshold, so a chance meeting in a band merges
nothing.

The library for this is datasketch, which takes texts one at a time and keeps its bands in dictionaries: at 100,000 rows
of 40 words 280 us and 5.3 kB a row, where this takes 16 us and 0.15 kB, most of it in a file
(``tests/benchmarks/near_duplicates.py`` prints both). So it is the reference in the tests, and not what runs.
"""

from __future__ import annotations

import mmap
import string
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import shake_128
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal
from zlib import crc32

import numpy as np

from ftdeploy.pairs import SEPARATOR
from ftdeploy.prepare.clean import fold
from ftdeploy.prepare.split import in_parts
from ftdeploy.recipe import Duplicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Minima in a sketch: the standard error of a similarity is at most 0.044, and 0.035 at 0.8.
PERMUTATIONS = 128
_CHANCE = 1 / 256  # that two bytes of different minima are equal
_RECALL = 0.99  # of pairs that are just as alike as the threshold, by the bands
_NEIGHBOURS = 8  # compared with each row of a bucket, beside the bucket's first; more is what makes buckets quadratic
_BATCH_TEXTS, _BATCH_CHARS = 4096, 1_000_000  # sketched at a time
_PARTNERS = 16  # of a row, from which on pairs with rows that have as many are not looked at: bounds the memory
_LATER = 64  # rows of a cluster that each earlier row is compared with
_CHUNK = 1 << 15  # pairs compared at a time: 8 MiB of sketches

# Not of the recipe's seed: which rows are alike must not change from seed to seed.
_DRAWN = np.frombuffer(shake_128(b"near duplicates").digest(16 * PERMUTATIONS), dtype="<u8").reshape(2, PERMUTATIONS)
_FACTORS, _OFFSETS = _DRAWN[0] | np.uint64(1), _DRAWN[1]
_PUNCTUATION = str.maketrans(SEPARATOR, " ", string.punctuation)  # what stands between two texts is between words
_BASE, _MIX, _SPREAD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD), np.uint32(0x9E3779B1)


def sketch(folded: Sequence[str], *, shingles: Literal["characters", "words"], size: int) -> NDArray[np.uint8]:
    """The sketches of texts, uint8, shape (texts, PERMUTATIONS).

    Args:
        folded: the texts, none of them empty; equal but for case and white space must mean equal.
        shingles: runs of characters, or of words between white space.
        size: characters or words in a shingle. A text with fewer is filled up, so that it has a shingle too.
    """
    hashes, starts = _shingle_hashes(folded, shingles=shingles, size=size)
    made = np.empty((len(folded), PERMUTATIONS), dtype=np.uint8)
    for column in range(PERMUTATIONS):
        # Multiply-add-shift (Dietzfelbinger 1996): 32 well mixed bits of a 64-bit product.
        ranks = ((hashes * _FACTORS[column] + _OFFSETS[column]) >> np.uint64(32)).astype(np.uint32)
        # The upper bits of a minimum are nearly all 0, so its byte is taken of all bits.
        made[:, column] = (np.minimum.reduceat(ranks, starts) * _SPREAD) >> np.uint32(24)
    return made


@dataclass(kw_only=True)
class Sketches:
    """The sketches of texts that come one at a time, in a file that has no name and vanishes with them.

    Attributes:
        shingles: as for `sketch`.
        size: as for `sketch`.
        folder: on the disk that is to have the file; None is where temporary files go.
    """

    shingles: Literal["characters", "words"]
    size: int
    folder: Path | None = None
    _waiting: list[str] = field(default_factory=list)
    _chars: int = 0
    _file: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - it is open as long as this is
        weakref.finalize(self, self._file.close)

    def add(self, folded: str) -> None:
        """Take one more text; they are worked off in batches that are bounded in texts and in characters."""
        self._waiting.append(folded)
        self._chars += len(folded)
        if len(self._waiting) >= _BATCH_TEXTS or self._chars >= _BATCH_CHARS:
            self._work_off()

    def array(self) -> NDArray[np.uint8]:
        """The sketches of all texts so far, uint8, shape (texts, PERMUTATIONS)."""
        self._work_off()
        self._file.flush()
        if not self._file.tell():
            return np.empty((0, PERMUTATIONS), dtype=np.uint8)
        return np.memmap(self._file, dtype=np.uint8, mode="r").reshape(-1, PERMUTATIONS)

    def _work_off(self) -> None:
        if self._waiting:
            self._file.write(sketch(self._waiting, shingles=self.shingles, size=self.size).tobytes())
        self._waiting, self._chars = [], 0


def _shingle_hashes(folded: Sequence[str], *, shingles: str, size: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """A 32-bit hash for each shingle of all texts, and where those of each text begin."""
    if shingles == "words":
        # A text of punctuation only is one word.
        words = [text.translate(_PUNCTUATION).encode("utf-8", "surrogatepass").split() or [b""] for text in folded]
        lengths = np.array([len(one) for one in words], dtype=np.int64)
        flat = np.fromiter((crc32(word) for one in words for word in one), dtype=np.uint64, count=int(lengths.sum()))
    else:
        lengths = np.array([len(text) for text in folded], dtype=np.int64)
        flat = np.frombuffer("".join(folded).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    left = np.repeat(starts + lengths, lengths) - np.arange(len(flat))  # tokens up to the end of the text
    tokens = (flat + np.uint64(1)) * _MIX
    hashes = np.zeros(len(flat), dtype=np.uint64)
    for place in range(size):
        shifted = np.zeros_like(tokens)
        shifted[: len(tokens) - place] = tokens[place:]
        hashes = hashes * _BASE + np.where(left > place, shifted, np.uint64(0))
    hashes ^= hashes >> np.uint64(33)
    hashes *= _MIX
    # What is filled up beside whole shingles would count as a difference wherever a text goes on.
    whole = left >= size
    whole[starts] = True
    counts = np.maximum(lengths - (size - 1), 1)
    return hashes[whole] >> np.uint64(32), np.cumsum(counts) - counts


def choose_bands(threshold: float) -> tuple[int, int]:
    """Bands and rows in a band: the most rows that let 99% of pairs at the threshold meet in a band."""
    for rows in range(8, 1, -1):
        bands = PERMUTATIONS // rows
        if meeting(threshold, bands=bands, rows=rows) >= _RECALL:
            return bands, rows
    return PERMUTATIONS, 1


def meeting(similarity: float, *, bands: int, rows: int) -> float:
    """The probability that a pair of this Jaccard similarity agrees in a whole band."""
    equal = similarity + (1 - similarity) * _CHANCE
    return float(1 - (1 - equal**rows) ** bands)


def estimate(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The Jaccard similarity of pairs, float64, shape (pairs,), from sketches of shape (pairs, PERMUTATIONS)."""
    equal = (left == right).mean(axis=1)
    return np.asarray(np.maximum(0, (equal - _CHANCE) / (1 - _CHANCE)), dtype=np.float64)


def find_pairs(sketches: NDArray[np.uint8], rows: NDArray[np.int64], *, threshold: float) -> NDArray[np.int64]:
    """The near duplicates among rows, int64, shape (pairs, 2), the one earlier in ``rows`` first.

    A bucket of a band with many rows is not searched in full: each row is compared with its eight neighbours and with
    the bucket's first, and rows that have partners enough are not paired with each other any more, so that time and
    memory are linear in the rows. Rows that are missed there hang together by way of others.

    Args:
        sketches: of all rows, uint8, shape (all, PERMUTATIONS).
        rows: those to look at, in an order that does not depend on the source's.
        threshold: the least estimated Jaccard similarity.
    """
    bands, width = choose_bands(threshold)
    least = _least_equal(threshold)
    found = np.empty(0, dtype=np.int64)  # pairs, as one number each
    partners = np.zeros(len(rows), dtype=np.uint8)
    for band in range(bands):
        fresh = [found]
        for one, other in _candidates(_band_keys(sketches, band * width, width)[rows]):
            wanted = np.flatnonzero((partners[one] < _PARTNERS) | (partners[other] < _PARTNERS))
            for start in range(0, len(wanted), _CHUNK):
                left, right = one[wanted[start : start + _CHUNK]], other[wanted[start : start + _CHUNK]]
                equal = (sketches[rows[left]] == sketches[rows[right]]).sum(axis=1)
                fresh.append((left * len(rows) + right)[equal >= least])
        found = np.unique(np.concatenate(fresh))
        paired, times = np.unique(np.concatenate([found // len(rows), found % len(rows)]), return_counts=True)
        partners[paired] = np.minimum(times, _PARTNERS)
        _let_go(sketches)
    return np.stack([rows[found // len(rows)], rows[found % len(rows)]], axis=1)


def _least_equal(threshold: float) -> int:
    """Equal bytes of two sketches from which on their texts are taken for as alike as the threshold."""
    return int(np.ceil(PERMUTATIONS * (threshold + (1 - threshold) * _CHANCE) - 1e-9))


def like_any(sketches: NDArray[np.uint8], others: NDArray[np.uint8], *, threshold: float) -> NDArray[np.bool_]:
    """Which rows are a near duplicate of at least one of some others, bool, shape (rows,).

    Each row is compared with the others whose sketches agree with its own in a whole band, up to 64 in each band.

    Args:
        sketches: of the rows, uint8, shape (rows, PERMUTATIONS).
        others: sketches of the others, uint8, shape (others, PERMUTATIONS).
        threshold: the least estimated Jaccard similarity.
    """
    bands, width = choose_bands(threshold)
    least = _least_equal(threshold)
    found = np.zeros(len(sketches), dtype=bool)
    for band in range(bands):
        here = slice(band * width, (band + 1) * width)
        theirs = _band_key(others[:, here])
        order = np.argsort(theirs, kind="stable")
        rows = np.flatnonzero(~found)
        key = _band_key(sketches[rows, here])
        place, end = (np.searchsorted(theirs, key, side=side, sorter=order) for side in ("left", "right"))
        for _ in range(_LATER):
            stay = ~found[rows] & (place < end)
            rows, place, end = rows[stay], place[stay], end[stay]
            for start in range(0, len(rows), _CHUNK):
                some = slice(start, start + _CHUNK)
                equal = (sketches[rows[some]] == others[order[place[some]]]).sum(axis=1)
                found[rows[some]] = equal >= least
            place = place + 1
    return found


def _band_keys(sketches: NDArray[np.uint8], first: int, width: int) -> NDArray[np.uint64]:
    """One number for each sketch's bytes from ``first`` on, uint64, shape (all,); looks at a part of them at a time."""
    keys = np.empty(len(sketches), dtype=np.uint64)
    for start in range(0, len(sketches), _CHUNK):
        keys[start : start + _CHUNK] = _band_key(sketches[start : start + _CHUNK, first : first + width])
        _let_go(sketches)
    return keys


def _let_go(sketches: NDArray[np.uint8]) -> None:
    """Of sketches in a file, keep none in memory; they are read again when they are looked at."""
    base: object = sketches
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def _band_key(band: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The bytes of a band, shape (rows, width up to 8), as one number each, uint64, shape (rows,)."""
    key = np.zeros((len(band), 8), dtype=np.uint8)
    key[:, : band.shape[1]] = band
    return key.view(np.uint64).ravel() * _MIX  # spread over the range, other numbers for other bytes


def pairs_across(sketches: NDArray[np.uint8], pairs: NDArray[np.int64], part: NDArray[np.uint8], *,
                 threshold: float) -> NDArray[np.int64]:  # fmt: skip
    """For each row that has a near duplicate in a later part, one such, in the latest, int64, shape (pairs, 2).

    Of a large cluster `find_pairs` knows some pairs only, so here each row is compared with the rows of its cluster
    that stand in later parts, up to 64 of each part.

    Args:
        sketches: of all rows, uint8, shape (rows, PERMUTATIONS).
        pairs: the near duplicates, int64, shape (pairs, 2).
        part: of each row, in order, uint8, shape (rows,).
        threshold: the least estimated Jaccard similarity.
    """
    clusters, least = find_clusters(pairs), _least_equal(threshold)
    order = np.lexsort((clusters.row, part[clusters.row], clusters.cluster))
    row, cluster = clusters.row[order], clusters.cluster[order]
    made = [np.empty((0, 2), dtype=np.int64)]
    for rows in np.split(row, np.flatnonzero(np.diff(cluster)) + 1):
        left = rows
        for latest in np.unique(part[rows])[:0:-1].tolist():  # every part but the first, the latest first
            later = rows[part[rows] == latest][:_LATER]
            left = left[part[left] < latest]
            other = np.full(len(left), -1, dtype=np.int64)
            for one in later.tolist():
                other[(sketches[left] == sketches[one]).sum(axis=1) >= least] = one
            made.append(np.stack([left[other >= 0], other[other >= 0]], axis=1))
            left = left[other < 0]
    return np.concatenate(made)


def _candidates(key: NDArray[np.uint64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of places with one key: neighbours at each distance, and further ones with the first of their bucket."""
    made: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for here in in_parts(key):
        order = here[np.argsort(key[here], kind="stable")]
        made += _neighbours(key[order], order)
    return made


def _neighbours(
    ordered: NDArray[np.uint64], order: NDArray[np.int64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """`_candidates` of sorted keys and their places."""
    made: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for distance in range(1, _NEIGHBOURS + 1):
        same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
        if not len(same):
            return made
        made.append((order[same], order[same + distance]))
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    first = np.repeat(begins, np.diff(np.append(begins, len(ordered))))
    far = np.flatnonzero(np.arange(len(ordered)) - first > _NEIGHBOURS)
    made.append((order[first[far]], order[far]))
    return made


def pairs_in(texts: Sequence[str], settings: Duplicates) -> NDArray[np.int64]:
    """The pairs of texts that belong on one side of any split, int64, shape (pairs, 2); none where the recipe does not
    ask for it. Equal texts are no pair.

    Args:
        texts: tidied texts.
        settings: the recipe's section.
    """
    if settings.near not in ("group", "drop"):
        return np.empty((0, 2), dtype=np.int64)
    made = Sketches(shingles=settings.shingles, size=settings.size)
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        folded = fold(text)
        first.setdefault(folded, row)
        made.add(folded)
    return find_pairs(made.array(), np.array(list(first.values()), dtype=np.int64), threshold=settings.threshold)


def most_central(pairs: NDArray[np.int64], order: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows that stand for all others: no two of them are alike, and every other row is like one of them, int64.

    Chosen greedily, the row with the most near duplicates first, so that along a chain (a like b, b like c) no row goes
    that is not like one that stays.

    Args:
        pairs: the near duplicates, int64, shape (pairs, 2).
        order: decides between rows that are equally central, the lower first, uint64, shape (rows,).
    """
    rows, place = np.unique(pairs, return_inverse=True)
    place = place.reshape(-1, 2)
    both = np.concatenate([place, place[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    degree = np.bincount(both[:, 0], minlength=len(rows))
    ends = np.cumsum(degree)
    gone = np.zeros(len(rows), dtype=bool)
    stays = []
    for row in np.lexsort((order[rows], -degree)).tolist():
        if not gone[row]:
            stays.append(row)
            gone[both[ends[row] - degree[row] : ends[row], 1]] = True
    return np.asarray(rows[stays], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Rows that hang together by near duplicates.

    Attributes:
        row: int64, shape (clustered rows,).
        cluster: int64, of each such row, from 0.
    """

    row: NDArray[np.int64]
    cluster: NDArray[np.int64]


def chain_clusters(pairs: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pairs that tie the kept rows of each cluster together, also where they are alike only by way of one that is not
    kept, int64, shape (pairs, 2).

    Args:
        pairs: the near duplicates, int64, shape (pairs, 2).
        kept: bool, shape (rows,).
    """
    clusters = find_clusters(pairs)
    there = kept[clusters.row]
    row, cluster = clusters.row[there], clusters.cluster[there]
    order = np.argsort(cluster, kind="stable")
    row, cluster = row[order], cluster[order]
    return np.asarray(np.stack([row[:-1], row[1:]], axis=1)[cluster[:-1] == cluster[1:]], dtype=np.int64)


def find_clusters(pairs: NDArray[np.int64]) -> Clusters:
    """The connected components of near duplicates."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, place = np.unique(pairs, return_inverse=True)
    left, right = place.reshape(-1, 2).T
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(len(rows), len(rows)))
    _, cluster = connected_components(graph, directed=False)
    return Clusters(row=rows, cluster=cluster.astype(np.int64))
