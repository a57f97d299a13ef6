"""What is tidied before splitting."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ftdeploy.document import Section

Action = Literal["report", "drop"]
MentionPolicy = Literal["keep", "replace", "remove"]


class Tokens(Section):
    """What `replace` puts in place of what it finds. White space in a token is an error."""

    url: str = Field(default="[URL]", pattern=r"^\S{1,40}$")
    """For a web address."""
    email: str = Field(default="[EMAIL]", pattern=r"^\S{1,40}$")
    """For an e-mail address."""
    handle: str = Field(default="[USER]", pattern=r"^\S{1,40}$")
    """For a name like @someone."""
    hashtag: str = Field(default="[HASHTAG]", pattern=r"^\S{1,40}$")
    """For a tag like #something."""


class LengthOutliers(Section):
    """Texts far from the usual length, found from the lengths of all rows (an additional pass over them)."""

    rule: Literal["iqr", "mad", "quantile"] = "iqr"
    """`iqr`: beyond the quartiles by `width` times their distance (Tukey's fences); `mad`: further from the median than
    `width` times 1.4826 times the median absolute deviation; both on the logarithm of the length, because lengths are
    skewed. `quantile`: the shortest and longest `share` of the rows."""
    width: float | None = Field(default=None, gt=0)
    """Of `iqr` and `mad`; left out, 3.0 for `iqr` (Tukey's "far out") and 3.5 for `mad` (Iglewicz and Hoaglin)."""
    share: float = Field(default=0.005, gt=0, lt=0.5)
    """Of `quantile`: the share of the rows that lies outside on each side."""
    unit: Literal["words", "chars"] = "words"
    """What is counted; words are separated by white space."""
    action: Action = "report"
    """`report` counts them, `drop` sets them aside as rejected."""


class LanguageOutliers(Section):
    """Texts that are in none of the expected languages, as py3langid tells them (97 languages, offline)."""

    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    """The expected languages, as two-letter codes (ISO 639-1)."""
    min_probability: float = Field(default=0.99, gt=0.5, lt=1)
    """How sure it must be that a text is in another language: the probability of all unexpected ones together, of which
    lists of names and codes may have much."""
    min_letters: int = Field(default=30, ge=1)
    """Texts with fewer letters are not judged, because short ones are told wrongly too often."""
    action: Action = "report"
    """`report` counts them, `drop` sets them aside as rejected."""

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [code for code in value if len(code) != 2 or not code.islower()]  # noqa: PLR2004  # two letters
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not a code of two small letters, as `en`")
        return value


class Boilerplate(Section):
    """Lines, sentences, beginnings and ends that recur in many different texts (signatures, "Click here to
    unsubscribe"), found by one to three additional passes over the rows. A whole text never counts as one, and none is
    emptied."""

    min_share: float = Field(default=0.01, gt=0, le=1)
    """It stands in at least this share of the different texts ..."""
    min_rows: int = Field(default=20, ge=2)
    """... and in at least this many of them."""
    min_words: int = Field(default=4, ge=2)
    """Shorter lines and sentences are left alone."""
    min_edge_words: int = Field(default=6, ge=3)
    """Shorter beginnings and ends are left alone: language has its own ("this is one of the")."""
    tells_label: Literal["keep", "remove"] = "keep"
    """What stands mostly beside certain labels is either content or a leak, and no rule can tell which: `keep` only
    lists it, `remove` treats it like the rest."""
    action: Literal["report", "remove"] = "report"
    """`report` lists and counts them, `remove` also cuts them out. Look at the list first."""


class Clean(Section):
    """What is tidied before splitting. Every rule counts what it changed."""

    normalize: bool = True
    """Unicode form, control characters removed, runs of white space folded into one space."""
    unicode: Literal["NFC", "NFKC"] = "NFC"
    """The Unicode form of `normalize`: NFC composes, NFKC also replaces compatibility characters (full-width letters,
    ligatures, superscripts), which loses distinctions."""
    fix_mojibake: bool = False
    """Text that was decoded wrongly ("cafÃ©") is repaired with ftfy."""
    strip_html: bool = False
    """Entities become characters; tags, comments, scripts and styles go. Only elements that HTML has are tags, so that
    `a < b`, `<3` and `x<y>z` stay."""
    strip_invisible: bool = False
    """Zero-width and direction marks, soft hyphens and tag characters go; joiners stay where a script or an emoji needs
    them."""
    straight_quotes: bool = False
    """Curly quotation marks and apostrophes become straight ones."""
    urls: MentionPolicy = "keep"
    """Web addresses: kept, replaced by `tokens.url`, or removed."""
    emails: MentionPolicy = "keep"
    """E-mail addresses: kept, replaced by `tokens.email`, or removed."""
    handles: MentionPolicy = "keep"
    """Names like @someone: kept, replaced by `tokens.handle`, or removed."""
    hashtags: Literal["keep", "replace", "remove", "word"] = "keep"
    """Tags like #something: kept, replaced by `tokens.hashtag`, removed, or only the word kept."""
    tokens: Tokens = Tokens()
    """What `replace` puts in place."""
    repeated_letters: int | None = Field(default=None, ge=2)
    """The longest run of one letter that is kept: 3 makes `soooooo` `sooo`."""
    repeated_punctuation: int | None = Field(default=None, ge=1)
    """The longest run of one sign (or of two or three that alternate, as `?!?!`) that is kept. Digits are never
    touched."""
    min_chars: int = Field(default=1, ge=1)
    """Shorter texts are set aside as rejected."""
    max_chars: int = Field(default=20_000, ge=1)
    """Longer texts are set aside as rejected. One of over a million characters is an error, unless this allows it."""
    min_words: int | None = Field(default=None, ge=1)
    """Texts of fewer words (separated by white space) are set aside as rejected."""
    max_words: int | None = Field(default=None, ge=1)
    """Texts of more words are set aside as rejected."""
    length_outliers: LengthOutliers | None = None
    """Texts of unusual length; null does not look."""
    language: LanguageOutliers | None = None
    """Texts in another language; null does not look."""
    boilerplate: Boilerplate | None = None
    """What recurs in many texts; null does not look."""
