"""Cleaning one text: each rule on real-world oddities, and what holds for every string there is."""

# ruff: noqa: RUF001  # characters that look like others are the subject

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftdeploy.errors import ConfigError
from ftdeploy.prepare.clean import CleanText, Counts, Rejected, clean_label, make_cleaner
from ftdeploy.prepare.cleaning.counts import difference
from ftdeploy.recipe import Clean, load_recipe
from ftdeploy.sources import resolve

ROOT = Path(__file__).parents[1]

EVERYTHING = {
    "fix_mojibake": True, "strip_html": True, "strip_invisible": True, "straight_quotes": True, "urls": "replace",
    "emails": "replace", "handles": "replace", "hashtags": "replace", "repeated_letters": 3, "repeated_punctuation": 3,
}  # fmt: skip
REMOVING = EVERYTHING | dict.fromkeys(("urls", "emails", "handles", "hashtags"), "remove") | {"unicode": "NFKC"}
CLEANERS = {
    "defaults": make_cleaner(Clean()),
    "everything": make_cleaner(Clean.model_validate(EVERYTHING)),
    "removing": make_cleaner(Clean.model_validate(REMOVING)),
    "words of tags": make_cleaner(Clean.model_validate(REMOVING | {"hashtags": "word", "repeated_punctuation": 1})),
}
#: What rules look for, to be strung together: escapes of escapes, tags in tags, addresses that touch.
PIECES = (
    "&amp;", "&lt;", "&gt;", "amp;", "#38;", "&#x26;", "&", "<", ">", "<b>", "</b>", "<b ", "<<p>", "<!--", "-->",
    "<br/>", "<script>", "</script>", "<a href='", "'", '"', "x", "B", " ", "\n", "\u00a0", "http://", "www.",
    "a.co/", "https://x.y", "@", "@me", "me@x.org", "#", "#tag", "1", ".", ",", ")", "!?", "!!!!", "oooo", "é",
    "e\u0301", "\u0301", "\u200b",
    "\u200d", "\u202e", "\x00", "\x85", "\ud83d", "\ude00", "\ufeff", "Ã©", "â€™", "â€œ", "\u2019", "＜", "＠", "ﬁ",
    "\U0001f3f4\U000e0067", "\U000e007f", "\U0001f468", "[URL]", "[USER]",
)  # fmt: skip
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
ODD_TEXT = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)


def cleaner(**rules: Any) -> CleanText:
    return make_cleaner(Clean.model_validate(rules))


def clean(text: str, **rules: Any) -> str | Rejected:
    return cleaner(**rules)(text, Counts())


@pytest.mark.parametrize("name", CLEANERS)
@settings(max_examples=300)
@given(text=st.one_of(ANY_TEXT, ODD_TEXT))
def test_a_cleaned_text_is_clean(name: str, text: str) -> None:
    """Any string becomes a text that cleaning does not change and that has no control characters; or is set aside with
    a reason."""
    once = CLEANERS[name](text, Counts())
    if isinstance(once, Rejected):
        assert once.reason in ("text is empty", "text changes with every cleaning")
        return
    again = Counts()
    assert CLEANERS[name](once, again) == once
    assert not again.changed
    assert not {unicodedata.category(char) for char in once} & {"Cc", "Cs"}
    assert once == " ".join(once.split())


@settings(max_examples=200)
@given(text=st.one_of(ANY_TEXT, ODD_TEXT))
def test_without_normalising_only_what_utf8_cannot_hold_is_replaced(text: str) -> None:
    """With every rule off a text is what it was, but for halves of surrogate pairs."""
    once = clean(text, normalize=False)
    if isinstance(once, str):
        assert once == "".join("\ufffd" if unicodedata.category(char) == "Cs" else char for char in text)
    else:
        assert not text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "a < b and b > c", "i <3 u", "x<y>z", "if a<b: return a>c", "for (i<b and c> d)", "x<b>y", "p<i>q",
        "List<String> and vector<int>", "<me@example.org> wrote", "AT&T, R&D; Q&A", "a &b; c &; d", "<>", "<3 <3 </3",
        "&nosuchentity;", "-> <- <-> =>", "1<2>1", "<unknown tag='x'>", "he said <sigh> and left", "<b and c>",
        "unclosed <a href='x and so on", "ends with <", "<script is a word", "<!-- never closed",
    ],
)  # fmt: skip
def test_what_only_looks_like_html_stays(text: str) -> None:
    """Comparisons, hearts, generics, addresses, and markup that is none."""
    assert clean(text, strip_html=True) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<p>One.</p><p>Two.</p>", "One. Two."),
        ("a<br/>b<BR>c<br />d", "a b c d"),
        ("a <b>bold</b> move", "a bold move"),
        ("un<b>believ</b>able", "unbelievable"),
        ('<a href="http://x.org?a=1&amp;b=2" target=_blank>here</a>', "here"),
        ('<img src="a.png" alt="a > b"/>seen', "seen"),
        ("<div class='x' hidden>t</div>", "t"),
        ("<script>if (a<b) alert('<p>')</script>text<style>p{}</style>", "text"),
        ("<SCRIPT type='x'>1</SCRIPT >a<!-- <b> -->b", "a b"),
        ("I used the <script> tag", "I used the tag"),
        ("S&amp;M &copy; &#8220;x&#x201d; &nbsp; 3 &lt; 4", "S&M © “x” 3 < 4"),
        ("&amp;amp;amp;lt;b&amp;gt;deep&lt;/b&gt;", "deep"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1 2"),
        ("<!DOCTYPE html><html><body>x</body></html>", "x"),
        ("<b\nclass='y'\n>x</b\n>", "x"),
    ],
)
def test_html_becomes_text(text: str, left: str) -> None:
    """Entities, however often escaped; tags with their attributes; scripts, styles and comments with their contents."""
    assert clean(text, strip_html=True) == left


@pytest.mark.parametrize(
    ("begins", "piece"),
    [
        ("", "<!--"), ("", "<script>"), ("", "<b "), ("", "&amp;"), ("", "<a b='"), ("", "<a b=\"x' "),
        ("", "&amp;lt;"),
        ("", "a@"), ("", "www."), ("", "a."), ("", "!?"), ("", "@a"), ("", "\u200d"), ("", "<a/"), ("<p", " b=1"),
        ("http://a", ")"), ("http://a", "."), ("a@", "a."), ("<a b='", "x"), ("#", "1"),
    ],
)  # fmt: skip
def test_hostile_texts_come_back(begins: str, piece: str) -> None:
    """300,000 characters of what patterns stumble over: work that grew with their square would take hours."""
    text = begins + piece * (300_000 // len(piece))
    assert isinstance(clean(text, **EVERYTHING, max_chars=10**7), (str, Rejected))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see https://a.org/b?c=d&e=f#g.", "see [URL]."),
        ("(http://en.wikipedia.org/wiki/A_(B))", "([URL])"),
        ("www.example.com, really", "[URL], really"),
        ("at bit.ly/3xK!", "at [URL]!"),
        ("http://localhost:8080/x and ftp://files.org", "[URL] and [URL]"),
        ("HTTPS://X.ORG", "[URL]"),
        ("http:// and www. are words", "http:// and www. are words"),
        ("end.So it goes; e.g. and/or; 3.5/5; file.txt", "end.So it goes; e.g. and/or; 3.5/5; file.txt"),
        ("write to first.last+tag@mail.example.co.uk.", "write to [EMAIL]."),
        ("@bob and .@alice_1, but @5pm and a@b", "[USER] and .[USER], but @5pm and a@b"),
        ("cc @user@mastodon.social", "cc [USER]"),
        ("tiktok.com/@someone", "[URL]"),
        ("#yes #2024goals #1 C#minor &#39; a#b", "[HASHTAG] [HASHTAG] #1 C#minor &#39; a#b"),
        ("#naïve #日本語", "[HASHTAG] [HASHTAG]"),
    ],
)
def test_mentions_are_told_from_what_resembles_them(text: str, left: str) -> None:
    """Addresses, e-mails, handles and tags become tokens; punctuation, times, numbers and names of notes stay."""
    mentions = dict.fromkeys(("urls", "emails", "handles", "hashtags"), "replace")
    assert clean(text, **mentions) == left


def test_mentions_are_replaced_removed_or_unwrapped_as_the_recipe_says() -> None:
    """Tokens by name, among them those of well-known models of tweets; a tag's word alone."""
    tweet = "@bob look: http://x.org #So_good"
    assert clean(tweet, urls="remove", handles="remove", hashtags="remove") == "look:"
    tokens = {"url": "http", "handle": "@user"}
    assert clean(tweet, urls="replace", handles="replace", tokens=tokens) == "@user look: http #So_good"
    assert clean(tweet, hashtags="word") == "@bob look: http://x.org So_good"


@pytest.mark.parametrize("token", ["<p>", "http://url.org", "&lt;", "!!!!!!"])
def test_a_token_that_another_rule_would_change_is_refused(token: str) -> None:
    """Otherwise the same row would look different after a second cleaning."""
    with pytest.raises(ConfigError, match=r"tokens\.handle"):
        cleaner(**EVERYTHING, tokens={"handle": token})


@pytest.mark.parametrize(
    ("text", "rules", "left"),
    [
        ("cafÃ©, â€œquotedâ€\x9d, naÃ¯ve", {"fix_mojibake": True}, "café, “quoted”, naïve"),
        ("schön, façade, ÃO", {"fix_mojibake": True}, "schön, façade, ÃO"),
        ("zero\u200bwidth \u202eback\u202c so\u00adft\ufeff", {"strip_invisible": True}, "zerowidth back soft"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467 می\u200cخواهم क\u094d\u200dष", {"strip_invisible": True},
         "\U0001f468\u200d\U0001f469\u200d\U0001f467 می\u200cخواهم क\u094d\u200dष"),
        ("hid\U000e0068\U000e0069den a\u200db", {"strip_invisible": True}, "hidden ab"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", {"strip_invisible": True},
         "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"),
        ("“It’s”, she said ‘softly’", {"straight_quotes": True}, "\"It's\", she said 'softly'"),
        ("ﬁne １２ x² …", {"unicode": "NFKC"}, "fine 12 x2 ..."),
        ("e\x00\u0301", {}, "é"),
        ("soooo gooood, 1000000 XXXX", {"repeated_letters": 2}, "soo good, 1000000 XX"),
        ("what?!?!?!?! no...... ----", {"repeated_punctuation": 2}, "what?!?! no.. --"),
        ("5,000,000.00 and 111111", {"repeated_letters": 2, "repeated_punctuation": 1}, "5,000,000.00 and 111111"),
    ],
)  # fmt: skip
def test_characters(text: str, rules: dict[str, Any], left: str) -> None:
    """Mojibake, what cannot be seen, quotes, compatibility forms and repetitions; scripts and emoji that need their
    joiners keep them, and numbers stay numbers."""
    assert clean(text, **rules) == left


def test_each_rule_counts_its_rows_and_shows_before_and_after() -> None:
    """A row counts once for each rule that changed it, with the text as it was before that rule and after it."""
    run, counts = cleaner(strip_html=True, urls="replace"), Counts()
    for number in range(5):
        run(f"<p>row {number}</p> http://x.org/{number}", counts)
    assert {name: tally.rows for name, tally in counts.changed.items()} == {"html": 5, "urls": 5}
    assert counts.changed["html"].examples[0] == ("<p>row 0</p> http://x.org/0", "\nrow 0\n http://x.org/0")
    assert [len(tally.examples) for tally in counts.changed.values()] == [3, 3]


def test_examples_are_masked_whole_before_they_are_cut() -> None:
    """What hides identifiers sees the text before it is shortened, so that none is cut in half and shown."""
    secret = "x" * 70 + " 4111-1111-1111-1111 <b>bold</b>"
    counts = Counts(mask=lambda text: text.replace("4111-1111-1111-1111", "[CARD]"))
    cleaner(strip_html=True)(secret, counts)
    counts.reject("why", secret)
    shown = [text for tally in (*counts.changed.values(), *counts.rejected.values()) for text in tally.examples[0]]
    assert all("4111" not in text and "[CARD]" in text for text in shown if text is not None)


def test_examples_show_where_texts_differ_and_what_cannot_be_seen() -> None:
    """Cut around the first difference, with escapes for characters without a picture; halves of surrogates as well."""
    before, after = difference("word " * 100 + "a\u200bb\x1b[31m\ud83d" + " word" * 100, "word " * 100 + "ab")
    assert "a\\u200bb\\x1b[31m\\ud83d" in before
    assert len(before) < 150
    assert after is not None
    assert after.endswith("ab")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"min_words": 3}, "text has fewer words than min_words"),
        ({"max_words": 1}, "text has more words than max_words"),
        ({"min_chars": 9}, "text is shorter than min_chars"),
        ({"max_chars": 7}, "text is longer than max_chars"),
        ({"min_words": 2, "max_words": 2, "min_chars": 8, "max_chars": 8}, None),
    ],
)
def test_limits_hold_for_the_cleaned_text(rules: dict[str, Any], reason: str | None) -> None:
    """Words and characters are counted after cleaning: two words, eight characters."""
    found = clean("<p>two   word </p> http://x.org/a/long/path", strip_html=True, urls="remove", **rules)
    assert found == ("two word" if reason is None else Rejected(reason=reason))


def test_a_text_of_addresses_only_is_empty_afterwards() -> None:
    """It is set aside with the reason, not kept as nothing."""
    assert clean("http://x.org @you", urls="remove", handles="remove") == Rejected(reason="text is empty")


FOREIGN = (
    "Der Patient klagt seit drei Tagen über starke Kopfschmerzen.",
    "Je ne recommande pas ce restaurant à mes amis, service trop lent.",
    "El servicio fue excelente y la comida llegó muy caliente.",
    "Filmen var alldeles för lång och slutet var en besvikelse.",
    "Фильм слишком длинный, и концовка разочаровала всех.",
    "Η ταινία ήταν πολύ μεγάλη και το τέλος απογοητευτικό.",
)
ENGLISH = (
    "The campy results make Mel Brooks' Borscht Belt schtick look sophisticated.",
    "EARS: Negative tinnitus, negative vertigo, negative hearing impairment.",
    "Suspicious calcifications upper outer quadrant, left breast.",
    "Aspo serves demanding business-to-business customers .",
    "@bob http://exemple.fr/une-page-de-la-maison #ouestlechat it rains again today",
    "Yay yay yay yay yay yay yay yay yay yay yay yay yay yay [HASHTAG] [HASHTAG]",
)


def test_texts_in_another_language_are_told() -> None:
    """Sentences in six languages are, telegraphic English with names and foreign addresses is not; nor is a short
    text, whatever it is."""
    run = cleaner(language={"languages": ["en"], "action": "drop"})
    reason = Rejected(reason="text is in another language")
    assert [run(text, Counts()) for text in FOREIGN] == [reason] * len(FOREIGN)
    assert [run(text, Counts()) for text in ENGLISH] == list(ENGLISH)
    assert run("Sehr gut, danke!", Counts()) == "Sehr gut, danke!"
    german = cleaner(language={"languages": ["en", "de"], "action": "drop"})
    assert german(FOREIGN[0], Counts()) == FOREIGN[0]


def test_reported_texts_stay() -> None:
    """`report` counts a text with the language and keeps it."""
    run, counts = cleaner(language={}), Counts()
    assert [run(text, counts) for text in FOREIGN] == list(FOREIGN)
    assert counts.reported["language"].rows == len(FOREIGN)
    assert counts.reported["language"].examples[0][0].startswith("de ")


def test_an_unknown_language_is_refused() -> None:
    """With those there are."""
    with pytest.raises(ConfigError, match="does not know 'xx'"):
        cleaner(language={"languages": ["xx"]})


@pytest.mark.parametrize(
    ("domain", "rules"),
    [
        ("tweets", {"handles", "hashtags", "repeated_letters", "repeated_punctuation", "html"}),
        ("amazonReviewSnippets", {"repeated_punctuation"}),
        ("nytEditorialSnippets", {"html", "repeated_letters"}),
    ],
)
def test_real_texts_are_clean_after_one_cleaning(domain: str, rules: set[str]) -> None:
    """Thousands of tweets, reviews and editorials: the rules find work, nothing is lost, and a second cleaning finds
    none."""
    source = load_recipe(ROOT / "recipes" / "sentiment.yaml").data.entries[0]
    member = str(source.member).replace("movieReviewSnippets", domain)
    path = resolve(source.model_copy(update={"member": member}))
    texts = [line.split("\t", 2)[2] for line in path.read_text(encoding="utf-8").splitlines() if line.count("\t") > 1]
    counts, again = Counts(), Counts()
    cleaned = [CLEANERS["everything"](text, counts) for text in texts]
    assert len(texts) > 1000
    assert rules <= set(counts.changed)
    assert not [text for text in cleaned if isinstance(text, Rejected)]
    assert [CLEANERS["everything"](text, again) for text in cleaned] == cleaned
    assert not again.changed


@pytest.mark.parametrize("odd", ["kind\u200b", "\u200ekind", "ki\u00adnd ", "kind \u2060", "\ufeffkind"])
def test_labels_that_look_the_same_are_one(odd: str) -> None:
    """What cannot be seen, as spreadsheets and web pages leave it, makes no label of its own; a joiner that shapes
    letters, or makes one picture of several, stays."""
    assert clean_label(odd) == "kind"
    for meant in ("می\u200cخواهم", "👩\u200d🔬"):
        assert clean_label(meant) == meant
    assert clean_label("\u200b") == Rejected(reason="label is missing")
