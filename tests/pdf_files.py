"""PDFs with a text layer, or without, by hand (ISO 32000-1, 7.5: header, objects, cross references, trailer)."""

from __future__ import annotations

#: A line of text, 14 points below the one before it; an empty one is a blank line.
LINE = "({}) Tj 0 -14 Td "


def written(*pages: tuple[str, ...], trailer: str = "") -> bytes:
    """A PDF with these lines on its pages."""
    streams = [f"BT /F1 11 Tf 72 720 Td {''.join(map(LINE.format, lines))}ET" if lines else "" for lines in pages]
    return bound([stream.encode() for stream in streams], trailer=trailer)


def bound(streams: list[bytes], *, filter_name: str = "", trailer: str = "") -> bytes:
    """A PDF of these content streams, one a page."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(streams)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(streams)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, stream in enumerate(streams):
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
        objects.append(f"{page} /Resources << /Font << /F1 3 0 R >> >> >>".encode())
        head = f"<< /Length {len(stream)} {filter_name} >>\nstream\n".encode()
        objects.append(head + stream + b"\nendstream")
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    end = f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer\n<< /Size {size} /Root 1 0 R {trailer} >>"
    return out + f"{end}\nstartxref\n{len(out)}\n%%EOF\n".encode()
