"""Perturbations: seeded changes that leave the meaning alone."""

from __future__ import annotations

import re
import unicodedata
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftdeploy.suite import Perturbation
from ftdeploy.validate.perturb import _CYRILLIC, _LATIN, perturb

EVERY: tuple[Perturbation, ...] = get_args(Perturbation)
TEXT = "I really loved this film, and the two actors were superb."
texts = st.text(max_size=60) | st.text(alphabet="abcdef .?!XYZ 12é\n", max_size=60)
seeds = st.integers(0, 2**32)


@given(text=texts, seed=seeds, how=st.sampled_from(EVERY))
def test_same_seed_same_text_and_never_blank(text: str, seed: int, how: Perturbation) -> None:
    """What comes out depends on text and seed alone, and holds something wherever the text does."""
    found = perturb(text, how, seed=seed)
    assert found == perturb(text, how, seed=seed)
    assert bool(found.strip()) == bool(text.strip())


@given(text=texts, seed=seeds)
@example(text="AA¼", seed=0)
def test_a_text_changes_where_there_is_something_to_change(text: str, seed: int) -> None:
    """Whitespace, end marks and neutral sentences go with every text; typos want a word, case a letter that has two
    cases, lookalikes a letter that has one."""
    if not text.strip():
        return
    able = {"whitespace": True, "punctuation": True, "length": True}
    # A word with a number that is no digit (a superscript, a fraction) is left alone as numbers are.
    able["typos"] = any(len(run) > 2 and run.isalpha() for run in re.split(r"[\W\d_]+", text))
    able["case"] = text != text.upper() or text != text.lower()
    able["lookalikes"] = any(letter.isascii() and letter.isalpha() for letter in text)
    for how in EVERY:
        if able[how]:
            assert perturb(text, how, seed=seed) != text, how


@given(text=texts, seed=seeds)
@example(text="A²A", seed=0)
def test_what_stays(text: str, seed: int) -> None:
    """Case, whitespace, punctuation and length leave the words; typos leave numbers, lookalikes the number of
    characters."""

    def words(changed: str) -> list[str]:
        return changed.split()

    if not text.strip():
        return
    assert words(perturb(text, "whitespace", seed=seed)) == words(text)
    longer = perturb(text, "length", seed=seed)
    assert longer.startswith(text) or longer.endswith(text)
    bare = re.compile(r"[\s.!…。！?？]+")  # noqa: RUF001  # marks of other scripts are meant
    assert bare.sub("", perturb(text, "punctuation", seed=seed)) == bare.sub("", text)
    assert perturb(text, "case", seed=seed).casefold() == text.casefold() or not text.isascii()
    digits = [letter for letter in text if letter.isdigit()]
    assert [letter for letter in perturb(text, "typos", seed=seed) if letter.isdigit()] == digits
    assert len(perturb(text, "lookalikes", seed=seed)) == len(text)


@pytest.mark.parametrize("how", EVERY)
def test_other_seeds_change_otherwise(how: Perturbation) -> None:
    """All but punctuation, of which there is one way."""
    found = {perturb(TEXT, how, seed=seed) for seed in range(40)}
    assert TEXT not in found
    assert len(found) == 1 if how == "punctuation" else len(found) > 3 - (how == "case")


@pytest.mark.parametrize(
    ("text", "changed"),
    [("It works.", "It works"), ("It works", "It works."), ("It works!!", "It works"), ("Does it?", "Does it??"),
     ("...", "...."), ("很好。", "很好"), ("fine. ", "fine")],
)  # fmt: skip
def test_end_marks_are_added_or_taken(text: str, changed: str) -> None:
    """A question stays one, and no text is taken away whole."""
    assert perturb(text, "punctuation", seed=1) == changed


def test_lookalikes_look_alike() -> None:
    """Each pair is one Latin and one Cyrillic letter of one case; full-width letters are the letter by Unicode's
    compatibility."""
    for latin, cyrillic in zip(_LATIN, _CYRILLIC, strict=True):
        assert unicodedata.name(latin).startswith("LATIN")
        assert unicodedata.name(cyrillic).startswith("CYRILLIC")
        assert latin.isupper() == cyrillic.isupper()
    back = str.maketrans(_CYRILLIC, _LATIN)
    for seed in range(20):
        found = perturb(TEXT, "lookalikes", seed=seed)
        assert unicodedata.normalize("NFKC", found).translate(back) == TEXT


def test_a_typo_is_one_of_three_and_leaves_the_first_letter() -> None:
    """Neighbours swapped, a letter left out or doubled, inside one word of a short text."""
    for seed in range(60):
        found = perturb("a superb one", "typos", seed=seed)
        first, second = found.split()[1:]
        assert sorted([first == "superb", second == "one"]) == [False, True]
        changed, word = (first, "superb") if first != "superb" else (second, "one")
        assert changed[0] == word[0]
        assert len(changed) - len(word) in (-1, 0, 1)
        if len(changed) == len(word):
            assert sorted(changed) == sorted(word)
