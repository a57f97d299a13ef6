"""Near duplicates: sketches that estimate without bias, pairs found as the theory says, clusters and who stays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from ftdeploy.prepare.clean import fold
from ftdeploy.prepare.near import (
    PERMUTATIONS,
    Sketches,
    choose_bands,
    estimate,
    find_clusters,
    find_pairs,
    like_any,
    meeting,
    most_central,
    pairs_in,
    sketch,
)
from ftdeploy.recipe import Duplicates

WORDS = [f"{first}{second}{third}" for first in "bdfgklmnprstv" for second in "aeiou" for third in "bdklmnrst"]


def shingles(text: str, *, size: int = 2) -> set[tuple[str, ...]]:
    """The set that a text is compared by, as the recipe's documentation says it."""
    words = text.split()
    return {tuple(words[place : place + size]) for place in range(max(len(words) - size + 1, 1))}


def jaccard(one: str, other: str, *, size: int = 2) -> float:
    left, right = shingles(one, size=size), shingles(other, size=size)
    return len(left & right) / len(left | right)


def planted(rate: float, *, pairs: int, seed: int, words: int = 40) -> list[tuple[str, str]]:
    """Pairs of a random text and its copy in which each word is another one with probability ``rate``."""
    draw = random.Random(seed)  # noqa: S311 - test data
    made = []
    for _ in range(pairs):
        text = draw.choices(WORDS, k=words)
        copy = [draw.choice(WORDS) if draw.random() < rate else word for word in text]
        made.append((" ".join(text), " ".join(copy)))
    return made


def sketches(texts: Sequence[str], *, kind: str = "words", size: int = 2) -> np.ndarray:  # type: ignore[type-arg]  # of bytes
    return sketch(texts, shingles=kind, size=size)  # type: ignore[arg-type]  # one of two words


@pytest.mark.parametrize("kind", ["words", "characters"])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_estimate_of_short_texts_is_of_their_own_shingles_alone(kind: str, size: int) -> None:
    """One word more at the end of nine is 8 of 9 pairs of words: a pair filled up at the end of each would make it 8 of
    11, so that such texts stood on both sides of a split. A text with fewer tokens than a shingle has one all the same,
    which is that of no other."""
    draw = random.Random(5)  # noqa: S311 - test data
    tokens = WORDS if kind == "words" else [chr(0x4E00 + place) for place in range(500)]
    joined = " " if kind == "words" else ""
    texts = [draw.sample(tokens, k=9) for _ in range(200)]
    longer = [[*text, draw.choice(tokens)] for text in texts]
    one, other = (sketches([joined.join(text) for text in some], kind=kind, size=size) for some in (texts, longer))
    true = np.array([jaccard(" ".join(left), " ".join(right), size=size)
                     for left, right in zip(texts, longer, strict=True)])  # fmt: skip
    assert abs((estimate(one, other) - true).mean()) < 4 * np.sqrt((true * (1 - true)).mean() / PERMUTATIONS / 200)
    for length in range(1, size):
        short = sketches([joined.join(text[:length]) for text in texts], kind=kind, size=size)
        assert estimate(short[:1], short[1:2]) < 0.1
        assert (estimate(short, short) == 1).all()


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_estimate_has_no_bias_and_the_error_of_its_theory(rate: float) -> None:
    """The mean over 600 pairs is the mean of the true similarities, within four standard errors of sqrt(J(1-J)/128)."""
    pairs = planted(rate, pairs=600, seed=1)
    found = estimate(sketches([one for one, _ in pairs]), sketches([other for _, other in pairs]))
    true = np.array([jaccard(one, other) for one, other in pairs])
    error = np.sqrt(true * (1 - true) / PERMUTATIONS)
    assert abs((found - true).mean()) < 4 * np.sqrt((error**2).mean() / len(pairs))
    assert np.sqrt(((found - true) ** 2).mean()) == pytest.approx(np.sqrt((error**2).mean()), rel=0.15)


def test_estimate_agrees_with_datasketch() -> None:
    """The library's own MinHash over the same sets, with as many permutations, says the same but for both errors."""
    from datasketch import MinHash  # type: ignore[import-untyped]  # it ships none

    pairs = planted(0.05, pairs=60, seed=2)
    ours = estimate(sketches([one for one, _ in pairs]), sketches([other for _, other in pairs]))
    theirs = []
    for pair in pairs:
        hashes = []
        for text in pair:
            made = MinHash(num_perm=PERMUTATIONS, seed=3)
            made.update_batch([" ".join(one).encode() for one in sorted(shingles(text))])
            hashes.append(made)
        theirs.append(hashes[0].jaccard(hashes[1]))
    error = np.sqrt(2 * ours.mean() * (1 - ours.mean()) / PERMUTATIONS)
    assert abs(ours.mean() - np.mean(theirs)) < 4 * error / np.sqrt(len(pairs))
    assert np.abs(ours - np.array(theirs)).max() < 5 * error


@pytest.mark.parametrize("rate", [0.0125, 0.025, 0.05, 0.1])
def test_planted_pairs_are_found_as_often_as_the_theory_says(rate: float) -> None:
    """Word edits at several rates: pairs found at 0.8 are as many as their true similarities predict (they meet in a
    band, and the estimate reaches the threshold), within four standard deviations; and none is found that was not
    planted."""
    pairs = planted(rate, pairs=700, seed=3)
    texts = [text for pair in pairs for text in pair]
    found = find_pairs(sketches(texts), np.arange(len(texts)), threshold=0.8)
    assert (found[:, 0] // 2 == found[:, 1] // 2).all()
    bands, rows = choose_bands(0.8)
    true = np.array([jaccard(one, other) for one, other in pairs])
    equal = true + (1 - true) / 256
    least = int(np.ceil(PERMUTATIONS * (0.8 + 0.2 / 256)))
    reached = binom.sf(least - 1, PERMUTATIONS, equal)
    met = np.array([meeting(similarity, bands=bands, rows=rows) for similarity in true])
    # Both come of one sketch and favour each other, so the truth lies between the product and the lesser.
    lowest, highest = (reached * met).sum(), np.minimum(reached, met).sum()
    noise = 4 * np.sqrt((reached * (1 - reached)).sum()) + 1
    assert lowest - noise <= len(found) <= highest + noise


def test_bands_let_pairs_at_the_threshold_meet() -> None:
    """At every threshold at least 99% of pairs that are just as alike meet in a band."""
    for threshold in np.linspace(0.3, 1, 15):
        bands, rows = choose_bands(float(threshold))
        assert bands * rows <= PERMUTATIONS
        assert meeting(float(threshold), bands=bands, rows=rows) >= 0.99


def test_case_space_and_punctuation_do_not_matter_and_order_does() -> None:
    """Words are compared without punctuation, in pairs; a text of one word, or of none, has a sketch too."""
    texts = ["it's a great, great film!", "its a great great film", "film great a its great", "film", "...", "!!"]
    found = sketches([fold(text) for text in texts])
    assert estimate(found[:1], found[1:2]) == 1
    assert estimate(found[:1], found[2:3]) < 0.6
    assert estimate(found[4:5], found[5:6]) == 1
    assert estimate(found[3:4], found[4:5]) < 0.1


def test_characters_find_what_words_do_not() -> None:
    """Other spellings, and languages without spaces: similarity is high by characters where words see two others."""
    pairs = [
        ("colour optimisation", "color optimization"),
        ("今日は天気がとても良いですね", "今日は天気がとても良いです"),
    ]
    for one, other in pairs:
        words, characters = (sketches([one, other], kind=kind, size=2) for kind in ("words", "characters"))
        assert estimate(words[:1], words[1:]) < 0.1
        assert estimate(characters[:1], characters[1:]) > 0.5


def test_texts_in_batches_have_the_sketches_of_texts_at_once() -> None:
    """Where a batch ends has no effect, nor does what stands beside a text."""
    texts = [text for pair in planted(0.2, pairs=2500, seed=5, words=12) for text in pair] + ["x" * 1_200_000, "y"]
    one_by_one = Sketches(shingles="words", size=2)
    for text in texts:
        one_by_one.add(text)
    assert (one_by_one.array() == sketches(texts)).all()
    assert (sketches(texts[:1]) == sketches(texts)[:1]).all()


def test_a_large_bucket_is_linear_and_whole() -> None:
    """Thousands of equal sketches hang together, with nine pairs a row at most, not with millions."""
    texts = ["one and the same text again and again"] * 5000 + [" ".join(WORDS[:30])]
    found = find_pairs(sketches(texts), np.arange(len(texts)), threshold=0.8)
    assert len(found) <= 9 * 5000
    clusters = find_clusters(found)
    assert sorted(clusters.row.tolist()) == list(range(5000))
    assert clusters.cluster.max() == 0


def test_a_large_family_of_variants_is_linear_and_whole() -> None:
    """Thousands of texts that differ in their last word: all in one cluster, with few pairs a row."""
    opening = " ".join(WORDS[:50])
    texts = [f"{opening} {number}" for number in range(4000)]
    found = find_pairs(sketches(texts), np.arange(len(texts)), threshold=0.8)
    assert len(found) <= 26 * 4000
    assert np.bincount(find_clusters(found).cluster).max() == 4000


def test_pairs_do_not_depend_on_the_order_of_the_rows_given() -> None:
    """The rows to look at may be any, in any order; pairs name them by their own numbers."""
    texts = [text for pair in planted(0.03, pairs=50, seed=6) for text in pair]
    made = sketches(texts)
    straight = find_pairs(made, np.arange(100), threshold=0.8)
    turned = find_pairs(made, np.arange(100)[::-1], threshold=0.8)
    assert {frozenset(pair) for pair in straight.tolist()} == {frozenset(pair) for pair in turned.tolist()}
    half = find_pairs(made, np.arange(0, 100, 2), threshold=0.8)
    assert len(straight) > 20
    assert len(half) == 0


def test_pairs_for_folds_are_those_of_prepare() -> None:
    """Texts that prepare keeps on one side are tied in cross-validation too; not where the recipe lets them part."""
    texts = [text for pair in planted(0.02, pairs=40, seed=7) for text in pair]
    texts += [texts[0].upper(), "another"]
    found = pairs_in(texts, Duplicates())
    assert len(found) > 10  # nearly half of the copies are equal, which is no pair
    assert {(one // 2, other // 2) for one, other in found.tolist()} <= {(number, number) for number in range(40)}
    for near in ("report", "ignore"):
        assert len(pairs_in(texts, Duplicates(near=near))) == 0


@settings(max_examples=50)
@given(edges=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=30))
def test_who_stays_stands_for_the_rest(edges: list[tuple[int, int]]) -> None:
    """No two rows that stay are alike, and each that goes is like one that stays, also along chains."""
    pairs = np.array(sorted({(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]}), dtype=np.int64)
    pairs = pairs.reshape(-1, 2)
    stays = set(most_central(pairs, np.arange(13, dtype=np.uint64)).tolist())
    alike = {(int(one), int(other)) for one, other in [*pairs, *pairs[:, ::-1]]}
    assert not any((one, other) in alike for one in stays for other in stays)
    for row in set(pairs.ravel().tolist()) - stays:
        assert any((row, other) in alike for other in stays)


def test_the_middle_of_a_chain_stays() -> None:
    """a like b, b like c, a not like c: b stands for both."""
    assert most_central(np.array([[0, 1], [1, 2]]), np.arange(3, dtype=np.uint64)).tolist() == [1]


def test_product_titles_of_one_offer_are_near_and_strangers_are_not(mirror: Path) -> None:
    """Real titles: pairs from 0.9 on are much oftener of one product than chance pairs are."""
    import csv

    with (mirror / "pricerunner.csv").open(encoding="utf-8") as handle:
        rows = {fold(row[1]): row[3] for row in csv.reader(handle)}
    texts = list(rows)[:6000]
    found = find_pairs(sketches(texts, size=1), np.arange(len(texts)), threshold=0.9)
    product = np.array([rows[text] for text in texts])
    sizes = np.unique(product, return_counts=True)[1]
    chance = (sizes * (sizes - 1)).sum() / (len(texts) * (len(texts) - 1))
    assert len(found) > 20
    assert (product[found[:, 0]] == product[found[:, 1]]).mean() > 100 * chance


def test_rows_like_any_of_others_are_those_that_a_comparison_of_all_finds() -> None:
    """Pairs from hardly to very alike: what is found is right by the estimate of every pair, and what is far above the
    threshold is found."""
    pairs = [pair for rate in (0.01, 0.05, 0.1, 0.3) for pair in planted(rate, pairs=60, seed=int(100 * rate))]
    rows, others = sketches([one for one, _ in pairs]), sketches([other for _, other in pairs])
    nearest = np.array([estimate(np.repeat(row[None], len(others), axis=0), others).max() for row in rows])
    found = like_any(rows, others, threshold=0.8)
    assert not found[nearest < 0.8].any()
    assert found[nearest >= 0.9].all()
    assert found[nearest >= 0.8].mean() > 0.95
    assert not like_any(rows, others[:0], threshold=0.8).any()
    assert like_any(rows[:0], others, threshold=0.8).shape == (0,)


def test_sketches_stay_in_a_file_that_nobody_sees(tmp_path: Path) -> None:
    """What is found does not depend on where they are; the folder shows nothing, and nothing is left behind."""
    made = Sketches(shingles="words", size=2, folder=tmp_path)
    texts = [text for pair in planted(0.9, pairs=50, seed=6) for text in pair]
    for text in texts:
        made.add(text)
    mapped = made.array()
    assert isinstance(mapped, np.memmap)
    assert not list(tmp_path.iterdir())
    rows = np.arange(len(texts))
    held = np.array(mapped)
    del made  # the rows stay readable
    assert (find_pairs(mapped, rows, threshold=0.8) == find_pairs(held, rows, threshold=0.8)).all()
    assert Sketches(shingles="words", size=2, folder=tmp_path).array().shape == (0, PERMUTATIONS)
