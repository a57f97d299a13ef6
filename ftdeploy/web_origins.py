"""Origins of web pages, as browsers send them and as settings name them, and webhooks."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

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


def wrong_webhook(url: str) -> str | None:
    """What is wrong with a webhook's URL, as the end of a sentence that does not quote it; None where nothing is.

    Args:
        url: as it was written.
    """
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or not url.isprintable() or " " in url:
        return "http://host/path or https://host/path is wanted"
    return (
        "a password in it would be seen; FTDEPLOY_ALERT_TOKEN is sent as a bearer key" if "@" in parts.netloc else None
    )
