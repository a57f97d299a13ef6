"""Every recogniser by its type, and what is left when their findings overlap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from ftdeploy.privacy import ages, contact, dates, medical, names, numbers, places
from ftdeploy.privacy.kinds import IdentifierType
from ftdeploy.privacy.span import Locale, Recogniser, Span, fold, unfold

#: A recogniser may find identifiers of a sister type too: `phone` finds fax numbers.
RECOGNISERS: Mapping[IdentifierType, Recogniser] = {
    "email": contact.email,
    "url": contact.url,
    "ip": contact.ip,
    "phone": contact.phone,
    "card": numbers.card,
    "iban": numbers.iban,
    "ssn": numbers.ssn,
    "national_id": numbers.national_id,
    "passport": numbers.passport,
    "licence": numbers.licence,
    "plate": numbers.plate,
    "account": numbers.account,
    "vin": numbers.vin,
    "mrn": medical.mrn,
    "health_plan": medical.health_plan,
    "device": medical.device,
    "date": dates.date,
    "age": ages.age,
    "postcode": places.postcode,
    "address": places.address,
    "name": names.name,
}
#: Recognisers are not asked about texts with fewer digits than the shortest identifier of their types has.
_FEWEST_DIGITS: Mapping[IdentifierType, int] = {
    "email": 0, "url": 0, "ip": 2, "phone": 4, "card": 12, "iban": 10, "ssn": 4, "national_id": 5, "passport": 5,
    "licence": 4, "plate": 1, "account": 4, "vin": 3, "mrn": 4, "health_plan": 4, "device": 2, "date": 0, "age": 0,
    "postcode": 2, "address": 1, "name": 0,
}  # fmt: skip
_DIGIT = re.compile(r"\d")

#: Something else that finds identifiers in a text as it is: a model, another library.
Extra = Callable[[str], Iterable[Span]]


def find(
    text: str, locale: Locale, *, extras: Sequence[Extra] = (), least: float = 0.0,
    kept: AbstractSet[IdentifierType] = frozenset(),
) -> list[Span]:  # fmt: skip
    """The identifiers in a text, in order, without overlaps between equals.

    Args:
        text: any text.
        locale: regions and names.
        extras: further recognisers, which are given the text as it is.
        least: findings of less confidence are passed over.
        kept: types that stay in the text.

    Returns:
        Findings from left to right, without overlaps but for those inside one that is kept (an e-mail address in a
        URL): the outer one comes first.
    """
    folded, places = fold(text)
    count = len(_DIGIT.findall(folded))
    found = [
        unfold(span, places)
        for kind, recogniser in RECOGNISERS.items()
        if count >= _FEWEST_DIGITS[kind]
        for span in recogniser(folded, locale)
        if span.confidence >= least
    ]
    for extra in extras:
        found += [span for span in extra(text) if span.confidence >= least]
    return resolve(found, kept)


def resolve(found: Iterable[Span], kept: AbstractSet[IdentifierType] = frozenset()) -> list[Span]:
    """Settle overlaps: the more confident finding gives the type, the longer one where they are equal.

    What only partly overlaps becomes one finding over both, so that no half of an identifier is left over. Where the
    surest is of a type that is kept, what else overlaps it is a finding of its own.
    """
    ordered = sorted(set(found), key=lambda span: (span.start, -span.end))
    settled: list[Span] = []
    cluster: list[Span] = []
    end = -1
    for span in ordered:
        if span.start >= end and cluster:
            settled += _settle(cluster, kept)
            cluster = []
        cluster.append(span)
        end = max(end, span.end)
    return settled + (_settle(cluster, kept) if cluster else [])


def _settle(cluster: list[Span], kept: AbstractSet[IdentifierType]) -> list[Span]:
    """One finding for spans that overlap in a chain; where that is kept, also those that are not."""
    if len(cluster) == 1:
        return cluster
    first, last = cluster[0].start, max(span.end for span in cluster)
    best = max(cluster, key=lambda span: (round(span.confidence, 2), span.end - span.start, span.kind))
    # Something that covers it all (a URL round an address) gives the type, unless it is much less sure.
    cover = [span for span in cluster if (span.start, span.end) == (first, last)]
    wide = max(cover, key=lambda span: (span.confidence, span.kind), default=best)
    chosen = wide if wide.confidence >= best.confidence - 0.1 else best
    if chosen.kind not in kept:
        return [Span(first, last, chosen.kind, chosen.confidence)]
    extent = (chosen.start, chosen.end)
    others = [span for span in cluster if span.kind not in kept and (span.start, span.end) != extent]
    return sorted([chosen, *_surest(others)], key=lambda span: (span.start, -span.end))


def _surest(spans: list[Span]) -> list[Span]:
    """Of those that overlap among themselves the surest stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (-span.confidence, span.start - span.end)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)
