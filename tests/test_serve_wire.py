"""Bodies within their limits, over bare ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asking import scope

from ftdeploy.serve.wire import Refusal, read_body


def crowded(size: int) -> None:
    """No room for more than eight bytes."""
    if size > 8:
        raise Refusal(429, "overloaded", "there are enough of those", unread=True)


@pytest.mark.parametrize(("most", "status"), [(8, 413), (100, 429)])
@pytest.mark.parametrize("more", [False, True])
def test_a_body_that_is_refused_at_its_last_piece_is_not_waited_for(most: int, status: int, more: bool) -> None:
    """It is there, and its connection may ask again; where more is to come, that is read and thrown away."""
    pieces = iter([(b"1234", True), (b"56789", more)])

    async def receive() -> dict[str, Any]:
        body, further = next(pieces)
        return {"type": "http.request", "body": body, "more_body": further}

    with pytest.raises(Refusal) as caught:
        asyncio.run(read_body(scope(), receive, most=most, seconds=20, grown=crowded))
    assert (caught.value.status, caught.value.unread) == (status, more)
