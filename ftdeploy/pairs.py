"""Rows of two texts: premise and hypothesis, question and clause, query and document.

Such a row is one string wherever rows are carried: both texts with `SEPARATOR` between. So whatever takes a text
(hashes, caches, batches, records, golden rows) takes a pair, too, and need not know of it. The sign is one that no text
keeps: `join` makes it the white space that it counts as, and with it a string has two parts at most. Where texts come
in, they are joined; where tokens are made (`encode_pairs`), where a text is changed (`each`) and where people or files
want two texts, they are taken apart. Files have two columns: `text` and `text_pair`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ftdeploy.document import Section
from ftdeploy.encoded import Encoded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Encoding, Tokenizer

#: Between the two texts of a row: the unit separator of ASCII, white space to Python and to regular expressions.
SEPARATOR = "\x1f"
#: How the columns and keys with the two texts are called.
TEXT, TEXT_PAIR = "text", "text_pair"
#: What stands for the separator where people read.
_SHOWN = " | "


class Pairs(Section):
    """The model reads two texts a row."""

    columns: tuple[str, str] = (TEXT, TEXT_PAIR)
    """How the data calls them, the first one first."""
    types_after: int | None = Field(default=None, ge=0)
    """Id of the token behind whose first occurrence a row's tokens are of the second text (`token_type_ids` 1); None
    where the network or its tokenizer tells them apart by special tokens alone."""


def join(text: str, second: str) -> str:
    """One string of two texts."""
    return f"{_plain(text)}{SEPARATOR}{_plain(second)}"


def _plain(text: str) -> str:
    return text.replace(SEPARATOR, " ")


def parts(text: str) -> tuple[str, ...]:
    """The texts of a string: two of a pair, else one."""
    return tuple(text.split(SEPARATOR, 1))


def is_pair(text: str) -> bool:
    """Whether a string is two texts."""
    return SEPARATOR in text


def each(text: str, change: Callable[[str], str]) -> str:
    """A string with each of its texts changed."""
    return SEPARATOR.join(_plain(change(one)) for one in parts(text)) if is_pair(text) else change(text)


def as_columns(text: str) -> dict[str, str]:
    """A string as the columns of a row: ``text``, and ``text_pair`` where there are two."""
    return dict(zip((TEXT, TEXT_PAIR), parts(text), strict=False))


def of_columns(row: Mapping[str, Any]) -> str | None:
    """The other way round; None where there is no text."""
    text, second = row.get(TEXT), row.get(TEXT_PAIR)
    return text if text is None or second is None else join(text, second)


def shown(text: str) -> str:
    """A string as people read it."""
    return text.replace(SEPARATOR, _SHOWN)


# ---- tables


def with_two_columns(table: Any) -> Any:
    """A pyarrow table or batch of joined texts (``text``) as files have it: with a column ``text_pair`` behind it. One
    of single texts stays as it is, so a caller says which it has."""
    import pyarrow as pa
    import pyarrow.compute as pc

    place = table.schema.get_field_index(TEXT)
    halves = pc.split_pattern(table.column(place), SEPARATOR, max_splits=1)
    first, second = (pc.list_element(halves, index) for index in (0, 1))
    columns = [*table.columns[:place], first, second, *table.columns[place + 1 :]]
    names = [*table.schema.names[: place + 1], TEXT_PAIR, *table.schema.names[place + 1 :]]
    schema = pa.schema([(name, column.type) for name, column in zip(names, columns, strict=True)])
    return type(table).from_arrays(columns, schema=schema)


def with_joined_texts(table: Any) -> Any:
    """The other way round: ``text`` holds both texts, where there is a column ``text_pair``, which goes."""
    import pyarrow.compute as pc

    names = table.schema.names
    if TEXT_PAIR not in names:
        return table
    joined = pc.binary_join_element_wise(table.column(TEXT), table.column(TEXT_PAIR), SEPARATOR)
    columns = [joined if name == TEXT else table.column(name) for name in names if name != TEXT_PAIR]
    return type(table).from_arrays(columns, names=[name for name in names if name != TEXT_PAIR])


# ---- tokens


def prepare_pairs(tokenizer: Tokenizer) -> None:
    """Set a tokenizer as `encode_pairs` wants it: it cuts nothing, and a special token's name in a text is text, so
    that the special tokens of a row are those of the template."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True


def encode_pairs(tokenizer: Tokenizer, texts: Sequence[str], *, unknown: int | None, most: int) -> list[Encoded]:
    """Strings of two texts as one row each, by the tokenizer's template of pairs; a string of one text by that of one.

    Rows that are too long lose tokens at the end of the longer text, and where that is not enough of both
    (``longest_first`` of Hugging Face's tokenizers). The tokenizer itself would do so at a cost of the product of both
    lengths, as it keeps every combination of what it cut.

    Args:
        tokenizer: set by `prepare_pairs`.
        texts: any number.
        unknown: id of the unknown token, where there is one.
        most: tokens of a row, special tokens included.
    """
    found = []
    for number, encoding in enumerate(tokenizer.encode_batch_fast([given(text) for text in texts])):
        ids = _cut(encoding, most)
        unknowns = ids.count(unknown) if unknown is not None else 0
        found.append(Encoded(ids=ids, length=len(encoding), unknown=unknowns, text=number))
    return found


def given(text: str) -> str | tuple[str, str]:
    """A string as a tokenizer takes it: itself, or its two texts."""
    first, *rest = parts(text)
    return (first, rest[0]) if rest else first


def _cut(encoding: Encoding, most: int) -> list[int]:
    ids: list[int] = encoding.ids
    if len(ids) <= most:
        return ids
    owners = encoding.sequence_ids  # None of special tokens
    lengths = owners.count(0), owners.count(1)
    left = list(longest_first(*lengths, most=most - (len(ids) - sum(lengths))))
    kept = []
    for token, owner in zip(ids, owners, strict=True):
        if owner is not None:
            left[owner] -= 1
            if left[owner] < 0:
                continue
        kept.append(token)
    return kept


def longest_first(first: int, second: int, *, most: int) -> tuple[int, int]:
    """How many tokens stay of two texts: the longer one gives, and where both are long, each keeps half.

    Args:
        first, second: tokens that they have.
        most: tokens that may stay of both.
    """
    if first + second <= most:
        return first, second
    short, long = min(first, second), max(first, second)
    short = min(short, most // 2)
    long = most - short
    return (short, long) if first <= second else (long, short)


def token_types(ids: NDArray[np.int64], mask: NDArray[np.int64], pairs: Pairs | None) -> NDArray[np.int64]:
    """``token_type_ids`` of a batch: int64, of the same shape; 0 of the first text and of padding.

    Args:
        ids: token ids, int64, shape (rows, tokens).
        mask: attention mask, likewise.
        pairs: of the model; None where it reads single texts.
    """
    import numpy as np

    if pairs is None or pairs.types_after is None:
        return np.zeros_like(ids)
    ends = np.cumsum(ids == pairs.types_after, axis=1)
    before = np.concatenate([np.zeros_like(ends[:, :1]), ends[:, :-1]], axis=1)
    return np.asarray((before > 0) * mask, dtype=np.int64)
