"""Texts with identifiers masked, every character in its place."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftdeploy.pairs import SEPARATOR
from ftdeploy.privacy.mask import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail jane.doe@example.org, please", "mail xxxx.xxx@xxxxxxx.xxx, please"),
        ("Call +1 415 555 2671 now", "Call +0 000 000 0000 now"),
        ("Dr. Émile Roux saw her", "Dr. Xxxxx Xxxx saw her"),
        ("SSN 078-05-1120", "SSN 000-00-0000"),
        ("no one is named here", "no one is named here"),
        ("", ""),
    ],
)
def test_what_is_found_is_masked_and_nothing_else(text: str, shown: str) -> None:
    """Digits become 0, letters x or X; signs that give a number its form stay."""
    assert masked(text) == shown


@given(st.text(max_size=200))
@example("\x1f\x1f")
def test_a_masked_text_is_as_long_as_before(text: str) -> None:
    """So places in it stay right, whatever script it is in; and nothing but what is masked changes. A row has one sign
    between its texts: a further one is the white space that it counts as."""
    found = masked(text)
    assert len(found) == len(text)
    changed = [(old, new) for old, new in zip(text, found, strict=True) if new != old]
    assert all(new in "0xX" or (old, new) == (SEPARATOR, " ") for old, new in changed)


@pytest.mark.parametrize("text", ["jane@exam<b></b>ple.org wrote", "078-05\u200b-1120 is hers", "jane&#64;example.org"])
def test_where_an_identifier_may_be_hidden_all_is_masked(text: str) -> None:
    """By markup, unseen characters or entities: a reader would find it."""
    found = masked(text)
    assert len(found) == len(text)
    assert not any(word in found for word in ("jane", "org", "078", "1120"))


def test_two_texts_are_masked_apart() -> None:
    """Each by itself, with the sign between them."""
    assert masked(f"jane.doe@example.org{SEPARATOR}fine") == f"xxxx.xxx@xxxxxxx.xxx{SEPARATOR}fine"
