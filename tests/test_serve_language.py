"""The guess at a language: right where small words or a script tell, and silent where they do not."""

# ruff: noqa: RUF001  # letters of other scripts are the subject

from __future__ import annotations

import pytest

from ftdeploy.serve.language import guess_language

TEXTS = {
    "da": "Det er en god film, og jeg har set den mange gange, men den er ikke for alle.",
    "de": "Der Film ist sehr schön und wir haben ihn nicht nur einmal mit den Kindern gesehen.",
    "en": "This is the best film that I have seen in a long time, and the actors are great.",
    "es": "La película es muy buena y los actores hacen un gran trabajo, pero no es para todos.",
    "fi": "Elokuva on hyvä ja se kestää, mutta minä en ole niin varma että kaikki pitävät siitä.",
    "fr": "Le film est très beau et les acteurs sont bons, mais ce n'est pas pour tous.",
    "it": "Il film è molto bello e gli attori sono bravi, ma non è per tutti e la fine non mi piace.",
    "nl": "De film is erg mooi en ik heb het niet alleen maar één keer met mijn vrienden gezien.",
    "pl": "To jest bardzo dobry film i nie wiem, czy tak się już czułem, ale polecam go dla każdego.",
    "pt": "O filme é muito bom e eu não vi nada mais bonito, mas não é para todos os dias.",
    "sv": "Det är en bra film och jag har sett den många gånger, men den är inte för alla.",
    "tr": "Bu film çok güzel ama ne yazık ki herkes için değil ve sonu da o kadar iyi değil.",
    "el": "Η ταινία είναι πολύ καλή", "he": "הסרט טוב מאוד", "ja": "この映画はとても良いです", "zh": "这部电影非常好",
    "ko": "이 영화는 아주 좋아요", "th": "หนังเรื่องนี้ดีมาก", "und-Cyrl": "Это очень хороший фильм",
    "und-Arab": "هذا الفيلم جيد جدا", "und-Deva": "यह फिल्म बहुत अच्छी है",
}  # fmt: skip


@pytest.mark.parametrize("language", TEXTS)
def test_a_sentence_tells_its_language(language: str) -> None:
    """By its small words, or by its script; a name in Latin letters inside changes nothing."""
    assert guess_language(TEXTS[language]) == language
    assert guess_language(TEXTS[language] + " IMDB") == language


@pytest.mark.parametrize("text", ["", "Great value!", "12,50 €", "😀😀", "xyzzy", "café"])
def test_where_nothing_tells_nothing_is_guessed(text: str) -> None:
    """A wrong guess would look like a drift."""
    assert guess_language(text) == "und"
