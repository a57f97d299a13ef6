"""Origins of web pages, as browsers send them and as settings name them."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_USUAL_PORTS = {"http": "80", "https": "443"}


def wrong_origin(origin: str) -> str | None:
    """What is wrong with an origin in a setting: it would never be equal to one that a browser sends.

    Source: RFC 6454, 6.1 and 6.2 (an origin as ASCII text).

    Args:
        origin: ``scheme://host``, ``scheme://host:port``, or ``*`` for all.

    Returns:
        a sentence, or None where nothing is wrong.
    """
    if origin == "*":
        return None
    if origin == "null":
        return "any page can call itself that, by a sandboxed frame"
    if not _ORIGIN.fullmatch(origin):
        return "scheme://host or scheme://host:port is wanted, in lower case, without a path or a slash at the end"
    scheme, _, rest = origin.partition("://")
    if rest.endswith(f":{_USUAL_PORTS.get(scheme, '-')}"):
        return "browsers leave out the usual port"
    return None
