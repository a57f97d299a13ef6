"""Every recogniser by its type, and what is left when their findings overlap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from ftdeploy.prepare.privacy import ages, contact, dates, medical, names, numbers, places
from ftdeploy.prepare.privacy.span import Locale, Recogniser, Span, fold, unfold
from ftdeploy.recipe.privacy import IdentifierType

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
#: These find something in texts without a digit; the others are not asked.
_WITHOUT_DIGITS = frozenset({"email", "url", "date", "age", "name"})
_DIGIT = re.compile(r"\d")

#: Something else that finds identifiers in a text as it is: a model, another library.
Extra = Callable[[str], Iterable[Span]]


def find(
    text: str, locale: Locale, *, extras: Sequence[Extra] = (), least: float = 0.0,
    kept: Set[IdentifierType] = frozenset(),
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
    numeric = bool(_DIGIT.search(folded))
    found = [
        unfold(span, places)
        for kind, recogniser in RECOGNISERS.items()
        if numeric or kind in _WITHOUT_DIGITS
        for span in recogniser(folded, locale)
        if span.confidence >= least
    ]
    for extra in extras:
        found += [span for span in extra(text) if span.confidence >= least]
    return resolve(found, kept)


def resolve(found: Iterable[Span], kept: Set[IdentifierType] = frozenset()) -> list[Span]:
    """Settle overlaps: the more confident finding gives the type, the longer one where they are equal.

    What only partly overlaps becomes one finding over both, so that no half of an identifier is left over. What lies
    inside another that is kept is a finding of its own.
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


def _settle(cluster: list[Span], kept: Set[IdentifierType]) -> list[Span]:
    """One finding for spans that overlap in a chain, and where that is kept those that lie strictly inside it."""
    if len(cluster) == 1:
        return cluster
    first, last = cluster[0].start, max(span.end for span in cluster)
    longest = max(span.end - span.start for span in cluster)
    best = max(cluster, key=lambda span: (round(span.confidence, 2), span.end - span.start, span.kind))
    # Something that covers it all (a URL round an address) gives the type, unless it is much less sure.
    cover = [span for span in cluster if span.end - span.start == longest and (span.start, span.end) == (first, last)]
    wide = max(cover, key=lambda span: (span.confidence, span.kind), default=best)
    chosen = wide if wide.confidence >= best.confidence - 0.1 else best  # noqa: PLR2004  # much less sure
    inside = [
        span
        for span in cluster
        if chosen.kind in kept and span.kind != chosen.kind and (span.start, span.end) != (first, last) and span.end - span.start < longest
        and chosen.start <= span.start and span.end <= chosen.end
    ]  # fmt: skip
    return [Span(first, last, chosen.kind, chosen.confidence), *_outermost(inside)]


def _outermost(spans: list[Span]) -> list[Span]:
    """One level of nesting: of those that overlap among themselves the surest stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (-span.confidence, span.start - span.end)):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)
