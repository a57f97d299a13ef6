"""What becomes of the identifiers in a row, as the recipe says; and what is remembered of them: types and numbers."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

from ftdeploy.errors import DataError, FtdeployError, SourceError
from ftdeploy.pairs import SEPARATOR, each, is_pair, parts
from ftdeploy.prepare.cleaning.counts import HOLDS_IDENTIFIER, Rejected
from ftdeploy.prepare.privacy.secret import letters, offset, read_key
from ftdeploy.privacy import dates, names
from ftdeploy.privacy.kinds import IDENTIFIER_TYPES, IdentifierType
from ftdeploy.privacy.mask import may_hide, require_phonenumbers, spliced
from ftdeploy.privacy.recognise import Extra, find
from ftdeploy.privacy.span import Locale, Span, fold
from ftdeploy.recipe.privacy import Policy, Privacy

_STAND_IN, _HASH = 12, 18  # letters
_WITHHELD = "(not shown: an identifier may be hidden in it)"
_SHOWN = 1000  # characters of a text that is set aside
_CODE = {kind: number for number, kind in enumerate(IDENTIFIER_TYPES)}


class Cells(NamedTuple):
    """The cleaned cells of a row that are written."""

    text: str
    label: str
    group: str | None
    id: str | None
    slices: dict[str, str]


@dataclass(kw_only=True)
class Guard:
    """Applies the recipe's section to rows, and counts.

    Attributes:
        rules: the recipe's section.
        locale: regions and names.
        key: the secret; None where nothing wants it.
        labels: labels that the recipe itself names, and so are no secret.
        extras: a model, another library.
        rows: per finding in a text that is kept, the number of the cleaned row, from 0.
        kinds: beside it, the type's number in ``IDENTIFIER_TYPES``.
        columns: by column other than the text, findings by type.
        dropped: rows set aside, by type.
        kept: cleaned rows so far.
    """

    rules: Privacy
    locale: Locale
    key: bytes | None
    labels: frozenset[str] = frozenset()
    extras: tuple[Extra, ...] = ()
    rows: array[int] = field(default_factory=lambda: array("Q"))
    kinds: array[int] = field(default_factory=lambda: array("B"))
    columns: dict[str, Counter[IdentifierType]] = field(default_factory=dict)
    dropped: Counter[IdentifierType] = field(default_factory=Counter)
    kept: int = 0
    _groups: dict[bytes, str] = field(default_factory=dict)
    _kept_types: frozenset[IdentifierType] = field(init=False)
    _allowed: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._kept_types = frozenset(kind for kind in IDENTIFIER_TYPES if self.rules.policy_of(kind) == "keep")
        self._allowed = frozenset(value.casefold() for value in self.rules.allow)

    def protect(self, cells: Cells, named: Mapping[str, str | None], place: str) -> Cells | Rejected:
        """The row without what the recipe does not let pass.

        Args:
            cells: the cleaned cells.
            named: how the source calls the columns label, group and id; a name as "mrn" tells what is in it.
            place: where the row stands, for errors.

        Raises:
            DataError: a type with the policy `fail`.
        """
        spans = self.find(cells.text)
        noted = [span.kind for span in spans]
        label = cells.label
        found: dict[str, list[Span]] = {}
        if label not in self.labels:
            found["label"] = self._in_column(named.get("label") or "label", label)
        for column, value in cells.slices.items():
            found[column] = self._in_column(column, value)
        reason = self._refusal({"text": spans, **found}, place)
        if reason is not None:
            return reason
        days = self._days(cells)
        for column, listed in found.items():
            self._count(column, listed)
        if found.get("label"):
            label = self._replaced(label, found["label"], days)
        slices = {column: self._replaced(value, found[column], days) for column, value in cells.slices.items()}
        text = self._replaced(cells.text, spans, days)
        self.rows.extend([self.kept] * len(noted))
        self.kinds.extend(_CODE[kind] for kind in noted)
        self.kept += 1
        return Cells(text, label, self._group(cells.group, named), self._id(cells.id, named), slices)

    def find(self, text: str) -> list[Span]:
        """The identifiers in a text, without those that are allowed; in two texts of a row, of each by itself."""
        if is_pair(text):
            first, second = parts(text)
            ahead = len(first) + len(SEPARATOR)
            moved = (replace(span, start=span.start + ahead, end=span.end + ahead) for span in self.find(second))
            return [*self.find(first), *moved]
        spans = find(text, self.locale, extras=self.extras, least=self.rules.min_confidence, kept=self._kept_types)
        return (
            [span for span in spans if text[span.start : span.end].casefold() not in self._allowed]
            if self._allowed
            else spans
        )

    def show(self, text: str) -> str:
        """A text as it may be shown in examples, errors and beside rows that are set aside: identifiers are redacted,
        whatever stands in for them elsewhere; nothing is shown where markup or unseen characters may hide one.
        """
        if is_pair(text):
            return each(text, self.show)
        spans = self.find(text)
        if may_hide(text, spans, self.find):
            return _WITHHELD
        return spliced(text, ((span, _redacted(span)) for span in spans if span.kind not in self._kept_types))

    def show_beginning(self, text: str) -> str:
        """`show` for the first 1000 characters; an identifier that is cut there goes as a whole."""
        if len(text) <= _SHOWN:
            return self.show(text)
        longer = text[: 3 * _SHOWN]
        ends = [span.end for span in self.find(longer) if span.start < _SHOWN < span.end]
        return self.show(longer[: max([_SHOWN, *ends])])

    def scrub(self, value: Any) -> Any:
        """Plain data with every text in it shown as `show` does; keys too."""
        if isinstance(value, str):
            return self.show(value)
        if isinstance(value, Mapping):
            return {self.scrub(key): self.scrub(one) for key, one in value.items()}
        return [self.scrub(one) for one in value] if isinstance(value, (list, tuple)) else value

    def _in_column(self, column: str, value: str) -> list[Span]:
        """The findings in a cell; the name of its column stands before it, as the word that announces a number."""
        lead = re.sub(r"[_\W]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)).strip() + ": "
        spans = self.find(lead + value)
        return [
            Span(max(0, span.start - len(lead)), span.end - len(lead), span.kind, span.confidence)
            for span in spans
            if span.end > len(lead)
        ]

    def _refusal(self, found: Mapping[str, list[Span]], place: str) -> Rejected | None:
        policies = [
            (column, span.kind, self.rules.policy_of(span.kind)) for column, spans in found.items() for span in spans
        ]
        for column, kind, policy in policies:
            if policy == "fail":
                where = "the text" if column == "text" else f"the column {column!r}"
                raise DataError(
                    f"the row at {place} holds an identifier of type {kind!r} in {where}",
                    cause=f"`data.privacy` says `fail` for {kind}",
                    fix="remove it from the source, or choose redact, pseudonymise or drop for the type",
                )
        for _, kind, policy in policies:
            if policy == "drop":
                self.dropped[kind] += 1
                return Rejected(reason=f"{HOLDS_IDENTIFIER} {kind}")
        return None

    def _days(self, cells: Cells) -> int | None:
        if self.rules.shift_dates is None or self.key is None:
            return None
        return offset(self.key, cells.group if cells.group is not None else cells.id or "", self.rules.shift_dates)

    def _replaced(self, text: str, spans: list[Span], days: int | None) -> str:
        return spliced(text, self._instead(text, spans, days)) if spans else text

    def _instead(self, text: str, spans: list[Span], days: int | None) -> Iterator[tuple[Span, str]]:
        for span in spans:
            policy: Policy = self.rules.policy_of(span.kind)
            if policy == "redact":
                yield span, _redacted(span)
            elif policy == "pseudonymise":
                yield span, self._stand_in(text[span.start : span.end], span, days)

    def _stand_in(self, value: str, span: Span, days: int | None) -> str:
        plain = fold(value)[0]
        moved = dates.shift(plain, days) if days is not None and span.kind == "date" else None
        if moved is not None or self.key is None:
            return moved if moved is not None else _redacted(span)
        same = plain.casefold() if span.kind in ("email", "url") else "".join(filter(str.isalnum, plain.casefold()))
        return f"[{span.kind.upper()}-{letters(self.key, span.kind, same, count=_STAND_IN)}]"

    def _count(self, column: str, spans: Iterable[Span]) -> None:
        kinds = [span.kind for span in spans]
        if kinds:
            self.columns.setdefault(column, Counter()).update(kinds)

    def _hit(self, column: str, called: str, value: str) -> bool:
        """Whether a name of a row holds what must not stay; counted."""
        spans = self._in_column(called, value)
        self._count(column, spans)
        return self.rules.ids == "replace" and any(span.kind not in self._kept_types for span in spans)

    def _id(self, value: str | None, named: Mapping[str, str | None]) -> str | None:
        """None lets the row be named by its place."""
        if value is None:
            return None
        if self.rules.ids == "hash" and self.key is not None:
            return letters(self.key, "id", value, count=_HASH)
        return None if self._hit("id", named.get("id") or "id", value) else value

    def _group(self, value: str | None, named: Mapping[str, str | None]) -> str | None:
        """Groups stay apart: one with an identifier is numbered in order of appearance."""
        if value is None:
            return None
        if self.rules.ids == "hash" and self.key is not None:
            return letters(self.key, "group", value, count=_HASH)
        if not self._hit("group", named.get("group") or "group", value):
            return value
        digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return self._groups.setdefault(digest, f"group-{len(self._groups) + 1}")


def make_guard(rules: Privacy | None, *, labels: Iterable[str] = ()) -> Guard | None:
    """The guard of a recipe; None where the section is absent.

    Args:
        rules: the recipe's section.
        labels: the labels that the recipe names.

    Raises:
        ConfigError: the secret is missing.
        SourceError: the list of names cannot be read.
        ModelError: the model of names is refused.
        DependencyError: a library is missing.
    """
    if rules is None:
        return None
    key = read_key(rules)
    require_phonenumbers("data.privacy")
    extras: list[Extra] = []
    if rules.ner is not None:
        from ftdeploy.prepare.privacy.ner import load_names

        extras.append(load_names(rules.ner))
    if rules.presidio:
        from ftdeploy.prepare.privacy.presidio import load_presidio

        extras.append(load_presidio(rules.presidio))
    locale = Locale(regions=rules.regions, names=names.index(name_list(rules)))
    return Guard(rules=rules, locale=locale, key=key, labels=frozenset(labels), extras=tuple(extras))


def name_list(rules: Privacy) -> tuple[str, ...]:
    """The names that the recipe lists, from itself and its file.

    Raises:
        SourceError: the file cannot be read.
    """
    listed = list(rules.names)
    if rules.names_file is not None:
        try:
            listed += rules.names_file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeError) as error:
            raise SourceError(
                f"{rules.names_file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}",
                cause="`data.privacy.names_file` names no text file in UTF-8",
                fix="name a file with a name on each line",
            ) from error
    return tuple(name.strip() for name in listed if name.strip())


@contextmanager
def censored(guard: Guard | None) -> Iterator[None]:
    """Errors that leave the block quote no identifier: a broken row, a label or a column may be named in them."""
    try:
        yield
    except FtdeployError as error:
        if guard is None:
            raise
        parts = (error.what, error.cause, error.fix)
        shown = [guard.show(part) for part in parts]
        if tuple(shown) == parts:
            raise error from None  # what it came from may quote a whole line
        raise type(error)(shown[0], cause=shown[1], fix=shown[2]) from None


def _redacted(span: Span) -> str:
    return f"[{span.kind.upper()}]"
