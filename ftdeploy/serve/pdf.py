"""A PDF as a document to read: its text layer, by a child process (`ftdeploy.serve.pdf_reader`) of bounded memory and
time. It wants the package pypdf, which bundles do not ask for, as only PDFs need it.
"""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import orjson

from ftdeploy.errors import short
from ftdeploy.serve.wire import RETRY_SOON, Refusal

MEDIA_TYPE = "application/pdf"
#: Pages of a PDF, and characters of its text, at most.
MOST_PAGES = 2000
MOST_CHARS = 4_000_000
#: PDFs that a process reads at the same time.
AT_ONCE = 2
_READER = Path(__file__).with_name("pdf_reader.py").read_text(encoding="utf-8")  # the bundle's files may go
_BREAK = "\n\n"
_MAGIC = b"%PDF-"
_SAYS = {
    "encrypted": (422, "encrypted", "the PDF is encrypted; save it without a password"),
    "damaged": (422, "validation", "the body cannot be read as a PDF: it is damaged, or none"),
    "memory": (413, "too_large", "the PDF takes more memory than it may; send its text"),
    "time": (413, "too_large", "the PDF takes more time than it may; send its text"),
    "long": (413, "too_large", f"a PDF may have {MOST_PAGES:,} pages and {MOST_CHARS:,} characters; send it in parts"),
}


@dataclass(frozen=True, slots=True)
class PdfText:
    """The text layer of a PDF.

    Attributes:
        text: of all pages, blank lines between them.
        starts: where each page begins, in characters.
        blank: numbers of the pages without text, from 1.
    """

    text: str
    starts: Sequence[int]
    blank: Sequence[int]

    def page(self, offset: int) -> int:
        """The number of the page on which a character stands, from 1."""
        return bisect_right(self.starts, offset)


def installed() -> bool:
    """Whether PDFs can be read here."""
    return find_spec("pypdf") is not None


def refuse_unnamed(body: bytes | bytearray, kind: str) -> None:
    """Say how a PDF is sent to whoever sends one as something else, whom an error of JSON in it would lead nowhere.

    Args:
        body: of the request.
        kind: its media type.

    Raises:
        Refusal: 415 it is a PDF or a form with files, and its media type is not that of a PDF.
    """
    form = kind == "multipart/form-data"
    if kind != MEDIA_TYPE and (form or body[: len(_MAGIC)] == _MAGIC):
        sent = f"as {short(kind)}" if kind else "without a content-type"
        what = "a form" if form else "a PDF"
        message = f"{what} was sent {sent}; send a PDF as it is, with content-type: {MEDIA_TYPE}, or its text in JSON"
        raise Refusal(415, "validation", message)


class PdfReading:
    """Reads PDFs, a few at the same time. Used by the event loop alone."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def read(self, body: bytes | bytearray, seconds: float) -> PdfText:
        """The text layer.

        Args:
            body: the file.
            seconds: that it may take.

        Raises:
            Refusal: 415 pypdf is not installed; 422 the PDF is damaged, encrypted or has no text layer; 413 it takes
                too much time or memory, or is too long; 429 enough others are being read.
        """
        if not installed():
            message = "this service reads no PDFs: pypdf is not installed in its environment; send the document's text"
            raise Refusal(415, "validation", message)
        if self._free.locked():
            message = f"{AT_ONCE} PDFs are being read already"
            raise Refusal(429, "overloaded", message, headers=(RETRY_SOON,), shed="large_bodies")
        async with self._free:
            return await asyncio.to_thread(read_pdf, body, seconds)


def read_pdf(body: bytes | bytearray, seconds: float) -> PdfText:
    """What `PdfReading.read` does; blocks."""
    # With nothing of the environment but what Python needs to find pypdf: keys of ours are none of its business.
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    limits = map(str, (MOST_PAGES, MOST_CHARS, math.ceil(seconds)))
    command = [sys.executable, "-P", "-c", _READER, *limits]  # -P: the working folder is no place for imports
    try:
        ended = subprocess.run(  # noqa: S603  # ours
            command, input=bytes(body), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refusal(*_SAYS["time"]) from None
    if ended.returncode:  # the kernel ended it for its time, or it found no memory for saying so
        raise Refusal(*_SAYS["time" if ended.returncode < 0 else "memory"])
    told = orjson.loads(ended.stdout)
    if "error" in told:
        raise Refusal(*_SAYS[told["error"]])
    return _whole(told["pages"])


def _whole(pages: Sequence[str]) -> PdfText:
    blank = [number for number, text in enumerate(pages, start=1) if not text]
    if len(blank) == len(pages):
        message = "the PDF has no text layer: its pages are pictures, or empty; have them read (OCR) and send the text"
        raise Refusal(422, "no_text", message)
    starts, reached = [], 0
    for text in pages:
        starts.append(reached)
        reached += len(text) + len(_BREAK)
    return PdfText(_BREAK.join(pages), starts, blank)
