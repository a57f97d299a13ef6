"""The form in which two texts count as the same, and the key of a text."""

from __future__ import annotations

from hashlib import blake2b

from ftdeploy.pairs import SEPARATOR, is_pair, parts


def fold(text: str) -> str:
    """The form in which two texts count as duplicates: case and white space do not matter. Two rows of two texts are
    the same where both texts are."""
    if is_pair(text):
        return SEPARATOR.join(" ".join(one.casefold().split()) for one in parts(text))
    return " ".join(text.casefold().split())


def text_key(folded: str, seed: int) -> tuple[int, int]:
    """Two 64-bit numbers for a text, from a keyed hash: one key per text and seed, the same on every machine."""
    digest = blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=16, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
