"""Rules about addresses, handles and hashtags: replaced by a token, removed, or (hashtags) the word kept."""

from __future__ import annotations

import re
from collections.abc import Callable

#: Domains without `https://` or `www.` are told by these endings, and only with a path: `bit.ly/3xK`, not `end.So`.
_ENDINGS = "com|org|net|edu|gov|io|co|ly|me|tv|be|gl|gd|de|fr|uk|eu|us|ca|au|nl|info|app|dev"
_URL = re.compile(
    r"\b(?:https?|ftp)://[^\s<>\"]+"
    r"|(?<![\w@./-])www\d?\.[^\s<>\"]+"
    rf"|(?<![\w@./-])(?:[a-z0-9](?:[a-z0-9-]{{0,62}})\.){{1,5}}(?:{_ENDINGS})/[^\s<>\"]*",
    re.IGNORECASE,
)
_EMAIL = re.compile(r"(?<![\w.+@-])[\w.+-]{1,64}@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}(?![\w@-])")
#: A letter first, so that `@5pm` stays; `@user@host.social` is one; not within an e-mail address or a path.
_HANDLE = re.compile(r"(?<![\w@/])@[^\W\d]\w{0,63}(?:@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4})?(?![\w@])")
#: With a letter, so that `#1` stays (Twitter's rule); `C#` and `&#39;` have another character before.
_HASHTAG = re.compile(r"(?<![\w&#/])#(?=\d*[^\W\d])(\w{1,140})(?!\w)")
_TRAILING = ".,;:!?'\u2019\u201d*]}"

Rule = Callable[[str], str]


def urls(replacement: str) -> Rule:
    """The rule for web addresses; punctuation behind one belongs to the sentence."""

    def swap(found: re.Match[str]) -> str:
        address = found[0]
        end = _end(address)
        # `www.` and `http://...` alone are words about addresses.
        return found[0] if end <= address.find(".") + 1 else replacement + address[end:]

    def apply(text: str) -> str:
        likely = ("/" in text and ("." in text or "://" in text)) or "www" in text.lower()
        return _URL.sub(swap, text) if likely else text

    return apply


def _end(address: str) -> int:
    """Where an address ends without the punctuation behind it; a bracket that was opened inside it belongs to it."""
    end, unopened = len(address), address.count(")") - address.count("(")
    while end and (address[end - 1] in _TRAILING or (address[end - 1] == ")" and unopened > 0)):
        end -= 1
        unopened -= address[end] == ")"
    return end


def emails(replacement: str) -> Rule:
    """The rule for e-mail addresses."""
    return _sub(_EMAIL, "@", replacement)


def handles(replacement: str) -> Rule:
    """The rule for names like ``@someone``."""
    return _sub(_HANDLE, "@", replacement)


def hashtags(replacement: str) -> Rule:
    """The rule for tags like ``#something``."""
    return _sub(_HASHTAG, "#", replacement)


def hashtag_words(text: str) -> str:
    """The tags' words without their signs."""
    return _HASHTAG.sub(lambda found: found[1], text) if "#" in text else text


def _sub(pattern: re.Pattern[str], sign: str, replacement: str) -> Rule:
    def apply(text: str) -> str:
        return pattern.sub(lambda _found: replacement, text) if sign in text else text

    return apply
