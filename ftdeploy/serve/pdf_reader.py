"""The text layer of a PDF: a program that reads a PDF from standard input and writes its text as JSON.

It is run by `ftdeploy.serve.pdf` in a process of its own, and imports nothing but pypdf, as a PDF may be damaged on
purpose: it may unpack to gigabytes, or refer to itself. The lines keep their distances (pypdf's layout mode), by which
paragraphs are told. That mode leaves out turned text and what stands in form XObjects (stamps, pages put in whole), so
pypdf's plain text of each page is held against it, and what is missing follows (`completed`).
"""

from __future__ import annotations

import json
import re
import resource
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise

#: Bytes of memory that it may take, pypdf itself included.
MEMORY = 1_500_000_000
_SPACES = re.compile(r"[^\S\n]+")
#: Letters and digits of a page that may be in no line that can be told to be missing: a sign that is read in two ways.
_FEW = 4
#: Larger than any distance between lines of a paragraph.
_APART = "\n" * 20
_SENTENCE_ENDS = re.compile("(?<=[.;:!?\u3002])[^\\S\\n]*\\n")


class UnreadableError(Exception):
    """Why there is no text; the message is a word for `ftdeploy.serve.pdf`."""


def read(data: bytes, *, most_pages: int, most_chars: int) -> list[str]:
    """The text of each page, paragraphs divided by blank lines.

    Args:
        data: the file.
        most_pages: that it may have.
        most_chars: of all of them.

    Raises:
        UnreadableError: it is encrypted, or longer than that.
        Exception: whatever pypdf makes of a damaged file.
    """
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("encrypted")
    if len(reader.pages) > most_pages:
        raise UnreadableError("long")
    found, held = [], 0
    for page in reader.pages:
        text = completed(page.extract_text(extraction_mode="layout"), page.extract_text())
        held += len(text)
        if held > 4 * most_chars:  # the layout is made of white space, which goes
            raise UnreadableError("long")
        found.append(text)
    pages = paragraphs(found)
    if sum(map(len, pages)) > most_chars:
        raise UnreadableError("long")
    return pages


def completed(layout: str, plain: str) -> str:
    """A page's layout and, apart from it, the lines that it leaves out; where these cannot be told, the page's plain
    lines, as distances of lines are worth less than a clause. Of plain lines no distances are known: one that ends a
    sentence ends a paragraph, so that no clause is hidden in another one's.

    Args:
        layout: the page with its lines at their distances.
        plain: all of its text.
    """
    seen, lines = _letters(layout), plain.split("\n")
    missing = Counter(_letters(plain)) - Counter(seen)
    if missing.total() <= _FEW:
        return layout
    found: set[int] = set()
    for known in (seen, ""):  # lines that stand elsewhere, too, are missing only if nothing else is
        for index, line in enumerate(lines):
            letters = _letters(line)
            if index not in found and letters and not (known and letters in known) and Counter(letters) <= missing:
                found.add(index)
                missing -= Counter(letters)
    if missing.total() > _FEW:
        return _SENTENCE_ENDS.sub(_APART, plain)
    told = _SENTENCE_ENDS.sub(_APART, "\n".join(lines[index] for index in sorted(found)))
    return _APART.join(filter(None, [layout, told]))


def _letters(text: str) -> str:
    """What two readings of a text have in common, whatever they make of its spaces and signs."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text)))


def paragraphs(pages: Sequence[str]) -> list[str]:
    """Pages in which a blank line stands where the distance between lines is larger than it is within a paragraph: than
    it mostly is before a line that goes on with a small letter.

    Args:
        pages: with lines at their distances.
    """
    lines = [[_SPACES.sub(" ", line).strip() for line in page.split("\n")] for page in pages]
    gaps: Counter[int] = Counter()
    for page in lines:
        filled = [index for index, line in enumerate(page) if line]
        gaps.update(after - before for before, after in pairwise(filled) if page[after][0].islower())
    usual = gaps.most_common(1)[0][0] if gaps else 1  # 2 where lines are double spaced
    return [_joined(page, usual) for page in lines]


def _joined(page: Sequence[str], usual: int) -> str:
    parts: list[str] = []
    last = None
    for index, line in enumerate(page):
        if not line:
            continue
        if last is not None:
            parts.append("\n" if index - last <= usual else "\n\n")
        parts.append(line)
        last = index
    text = unicodedata.normalize("NFKC", "".join(parts))  # ligatures are one character in many PDFs
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a pair is no character


def main() -> None:
    """Read, and say what came of it: ``{"pages": [...]}`` or ``{"error": word}``."""
    most_pages, most_chars, seconds = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        told: dict[str, object] = {"pages": read(sys.stdin.buffer.read(), most_pages=most_pages, most_chars=most_chars)}
    except UnreadableError as error:
        told = {"error": str(error)}
    except MemoryError:
        told = {"error": "memory"}
    except Exception as error:  # noqa: BLE001  # of pypdf's, in whatever a damaged file leads it to
        told = {"error": "encrypted" if type(error).__name__ == "DependencyError" else "damaged"}
    sys.stdout.buffer.write(json.dumps(told).encode())


if __name__ == "__main__":
    main()
