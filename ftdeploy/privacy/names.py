"""Names of people: after a title, after words as "my name is", before a signature's degree, and from a list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ftdeploy.privacy.span import Locale, Span, mentions, word_set

_PART = r"(?:(?:[ODLdl]'|Mc|Mac|Al-|El-)?[A-ZÀ-ÖØ-Þ][^\W\d_]+(?:[-'][A-ZÀ-ÖØ-Þ]?[^\W\d_]+)*|[A-ZÀ-ÖØ-Þ]\.)"
_LITTLE = (
    r"(?:(?:van[ ]der|van[ ]den|van|von[ ]der|von|de[ ]la|de[ ]los|de|del|della|da|dos|di|du|la|le|ter|ten|bin|al|el|"
    r"St\.)[ ])"
)
_FULL = rf"{_LITTLE}?{_PART}(?:[ ]{_LITTLE}?{_PART}){{0,3}}(?:,?[ ](?:Jr|Sr|II|III|IV)\b\.?)?"
_TITLE = (
    r"Dr|Drs|Doctor|Mr|Mrs|Ms|Miss|Mx|Mister|Missus|Prof|Professor|Sir|Dame|Lady|Lord|Rev|Reverend|Father|Sister|Fr|"
    r"Rabbi|Imam|"
    r"Capt|Captain|Sgt|Sergeant|Lt|Lieutenant|Col|Colonel|Gen|Major|Officer|Judge|Justice|Nurse|Herrn?|Frau|Monsieur|"
    r"Madame|Mme|Mlle|"
    r"Señora?|Sra?|Don|Doña|Signora?|Sig|Dott|Hon|Senator|Governor|Mayor|Ambassador|President|Chancellor|DR|MR|MRS|"
    r"MS|PROF|Sr"
)
_TITLED = re.compile(
    rf"(?<![\w'-])(?:(?:{_TITLE})\.?|doctor|nurse|professor|officer)[ ](?:(?:{_TITLE})\.?[ ]|med\.[ ]){{0,2}}"
    rf"(?P<name>{_FULL})"
)
#: Words of other meanings too ("Major Order"): with them one word is no name.
_DOUBTFUL_TITLES = word_set("Major Lord Lady Don Gen Sig Hon Justice")
_WEAK_TITLES = word_set(
    "Father Sister Sir Lady Lord Don Major Gen Miss President Nurse Justice Col Hon Sig Mayor nurse officer"
)
_INTRODUCED = re.compile(
    rf"(?:\b(?:[Mm]y|[Hh]is|[Hh]er|[Tt]heir|[Yy]our|[Pp]atient(?:'s)?|[Pp]t\.?(?:'s)?|[Ff]ull|[Ll]ast|[Ff]irst|"
    rf"[Mm]aiden|[Ll]egal|[Ss]ur)[ ]?(?:full[ ]|first[ ]|last[ ]|legal[ ])?[Nn]ame(?:'s|[ ]is|[ ]was)?[ ]?:?[ ]|"
    rf"\b[Mm]ein[ ]Name[ ](?:ist|lautet)[ ]|\b[Ii]ch[ ]hei(?:ß|ss)e[ ]|\b[Jj]e[ ]m'appelle[ ]|\b[Mm]on[ ]nom[ ]est[ ]|"
    rf"\b[Mm]e[ ]llamo[ ]|\b[Mm]i[ ]nombre[ ]es[ ]|\b[Mm]i[ ]chiamo[ ]|"
    rf"\b[Ii](?:[ ]am|'m)[ ](?:called|named)[ ]|\b(?:man|woman|boy|girl|lady|patient|doctor|friend|nurse|person|guy|"
    rf"son|daughter)[ ](?:named|called)[ ]|\b(?:nicknamed|spoke[ ](?:with|to)|signed[ ]by|dictated[ ]by|"
    rf"referred[ ]by|seen[ ]by|followed[ ]by|attending:?|provider:|physician:|author:|from:|to:|cc:|attn:?|"
    rf"attention:|contact:?|name:|Name:|NAME:|Patient[ ]Name:|surgeon:?|"
    rf"witness:?|applicant:?|Name[ ]des[ ]Patienten:|Nom[ ]?:|Nombre[ ]?:)[ ])(?P<name>{_FULL})"
)
_RELATIVE = re.compile(
    rf"\b(?:wife|husband|son|daughter|mother|father|brother|sister|fiancée?|colleague|friend|mom|dad|aunt|uncle|"
    rf"cousin|roommate|caregiver|guardian|girlfriend|boyfriend|employee|plaintiff|defendant)"
    rf",?[ ](?P<name>{_PART}(?:[ ]{_PART}){{0,2}})(?=[ ,.;:']|$)"
    rf"|\b(?:[Pp]atient|[Cc]lient|[Rr]esident|[Tt]his[ ]is|[Ii]t's)[ ](?P<greeted>{_PART}[ ]{_PART}(?:[ ]{_PART})?)"
    rf"(?=[ ](?:was|is|has|had|speaking|calling|here|from|came|reports|presents|presented|complains|denies|states|"
    rf"underwent)\b)"
)
#: In a dialogue anything may follow "Patient:", so two words must stay.
_LABELLED = re.compile(
    rf"\b(?:Patient|Pt\.?|Client|Customer|Employee|Resident):[ ](?P<name>{_PART}[ ]{_LITTLE}?{_PART}(?:[ ]{_PART})?)"
)
_CREDENTIAL = re.compile(
    rf"(?<![\w-])(?P<name>{_PART}[ ]{_LITTLE}?{_PART}(?:[ ]{_PART})?),?[ ](?:M\.?D|D\.?O|R\.?N|Ph\.?D|N\.?P|"
    rf"P\.?A(?:-C)?|D\.?D\.?S|L\.?C\.?S\.?W|Esq|MBBS|FRCP|FACS|DPT|PharmD)\b\.?"
)
_SIGNED = re.compile(
    rf"\b(?:(?:[Ss]incerely|[Rr]egards|[Ww]ishes|[Cc]heers|[Yy]ours(?:[ ](?:truly|sincerely|faithfully))?|"
    rf"[Rr]espectfully|[Ss]igned)[ ]?[,:][ \n]{{1,2}}(?P<name>{_PART}(?:[ ]{_PART}){{0,2}})"
    rf"|(?:[Dd]ear|[Hh]i|[Hh]ello),?[ \n](?P<greeted>{_PART}(?:[ ]{_PART}){{0,2}})(?=[,.;:!\n]|$))"
)
_LAST_FIRST = re.compile(
    rf"\b(?:[Nn]ame|[Pp]atient|[Pp]t|NAME|PATIENT)[ ]?:[ ]?(?P<name>{_PART},[ ]{_PART}(?:[ ][A-Z]\b\.?)?)"
)
_CAPS = re.compile(
    r"\b(?:[Nn]ame|NAME|PATIENT|Patient)[ ]?:[ ]?(?P<name>[A-Z][A-Z'-]+,?[ ][A-Z][A-Z'-]+(?:[ ][A-Z]\.?)?)\b"
)
#: Words without which the patterns above find nothing.
_TITLES = frozenset(_TITLE.casefold().replace("?", "").split("|")) | {
    "señor",
    "señora",
    "herr",
    "herrn",
    "signor",
    "signora",
}
_FORM = frozenset({"name", "patient", "pt"})
_INTRODUCE = _FORM | word_set(
    "surname called named nicknamed spoke signed dictated referred seen followed attending provider physician "
    "author from to cc attn attention contact client employee customer surgeon witness applicant nom nombre "
    "heisse appelle llamo chiamo"  # case-folded: heiße
)
_GREET = word_set("sincerely regards wishes cheers yours respectfully signed dear hi hello")
_RELATIVES = word_set(
    "wife husband son daughter mother father brother sister partner fiancé fiancée neighbour neighbor "
    "colleague friend mom dad aunt uncle cousin roommate caregiver guardian girlfriend boyfriend patient "
    "client employee resident plaintiff defendant this it"
)
_DEGREE = re.compile(
    r",?[ ](?:M\.?D|D\.?O|R\.?N|Ph\.?D|N\.?P|P\.?A|D\.?D\.?S|L\.?C\.?S\.?W|Esq|MBBS|FRCP|FACS|DPT|PharmD)\b"
)
#: Capitalised words that follow such words and are no names.
_NO_NAMES = word_set(
    "the a an i i'm i'll i've it he she we you they this that these those my your his her our their no not yes "
    "yeah yep okay ok and or but so if when while well what who whom how why where which was is are be been "
    "has have had do does did can could will would should may might must there here then than as at in on of "
    "for from to with without by all any some each every both one two three four five six seven eight nine ten "
    "first second third doctor patient nurse mr mrs ms dr miss sir ma'am madam thank thanks please hello hi "
    "hey good great fine sure right uh um hmm mm oh any also monday tuesday wednesday thursday friday saturday "
    "sunday january february march april may june july august september october november december president "
    "chairman speaker today tomorrow yesterday denies reports states presents has complains everyone everybody "
    "luckily everything hm mhm actually nope maybe sometimes never always well "
    "team all colleagues customer support sir/madam there folks friends sie ihnen"
)
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*\.?")


def name(text: str, locale: Locale) -> Iterator[Span]:
    """Names by title, by what introduces them, by degree and signature, and those of the list."""
    for pattern, confidence, likely in (
        (_TITLED, 0.85, mentions(text, _TITLES)), (_INTRODUCED, 0.75, mentions(text, _INTRODUCE)),
        (_CREDENTIAL, 0.8, bool(_DEGREE.search(text))), (_LAST_FIRST, 0.85, mentions(text, _FORM)),
        (_CAPS, 0.8, mentions(text, _FORM)), (_SIGNED, 0.65, mentions(text, _GREET)),
        (_RELATIVE, 0.6, mentions(text, _RELATIVES)), (_LABELLED, 0.7, ": " in text),
    ):  # fmt: skip
        if not likely:
            continue
        for match in pattern.finditer(text):
            group = "name" if match["name"] else "greeted"  # of patterns with two places for one
            end = _name_end(match, group)
            if end and (pattern is not _LABELLED or " " in text[match.start(group) : end]):
                title = match[0].split()[0].rstrip(".") if pattern is _TITLED else ""
                doubtful = title in _DOUBTFUL_TITLES and " " not in text[match.start(group) : end]
                sure = 0.4 if doubtful else 0.6 if title in _WEAK_TITLES else confidence
                yield Span(match.start(group), end, "name", sure)
    if locale.names:
        yield from listed(text, locale.names)


def _name_end(match: re.Match[str], group: str) -> int:
    """Where the name ends: before the first word that is none, 0 when that is the first."""
    end = 0
    for word in _WORD.finditer(match[group]):
        initial = len(word[0]) == 2 and word[0].endswith(".")  # noqa: PLR2004  # a letter and its dot
        if not initial and word[0].rstrip(".").casefold() in _NO_NAMES:
            break
        end = match.start(group) + word.end()
    found = match.string[match.start(group) : end]
    if found.endswith(".") and not re.search(r"(?:\b[A-Z]|Jr|Sr)\.$", found):
        end -= 1
    return end


def index(names: Iterable[str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Names by their first word, so that a list of any length costs one look-up a word."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for one in names:
        words = tuple(word.rstrip(".").casefold() for word in one.replace("\u2019", "'").split())
        if words:
            found.setdefault(words[0], set()).add(words[1:])
    return {first: tuple(sorted(rest, key=len, reverse=True)) for first, rest in found.items()}


def listed(text: str, names: dict[str, tuple[tuple[str, ...], ...]]) -> Iterator[Span]:
    """The names of the list: capitalised, or any way in which two words or more follow each other."""
    words = list(_WORD.finditer(text))
    plain = [word[0].rstrip(".").casefold().removesuffix("'s") for word in words]
    for place, word in enumerate(words):
        for rest in names.get(plain[place], ()):
            last = place + len(rest)
            if tuple(plain[place + 1 : last + 1]) != rest or not (rest or word[0][0].isupper()):
                continue
            end = words[last].end()
            while text[end - 1] == "." or text[end - 2 : end] == "'s":
                end -= 1 if text[end - 1] == "." else 2
            yield Span(word.start(), end, "name", 0.8)
            break
