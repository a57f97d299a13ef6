"""Places for requests: counted from a complete or large body until the answer is made, and always given back."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ftdeploy.serve.admission import LARGE_SHARE, SMALL, Admission
from ftdeploy.serve.wire import Refusal


def test_a_complete_body_takes_a_place_and_gives_it_back() -> None:
    """One too many is 429 with Retry-After; an end by an error gives the place back as well."""
    admission = Admission(2)
    with admission.request() as first, admission.request() as second, admission.request() as third:
        first.complete()
        second.complete()
        with pytest.raises(Refusal, match="2 requests are in flight") as caught:
            third.complete()
    assert caught.value.status == 429
    assert caught.value.headers[0][0] == b"retry-after"
    with suppress(ValueError), admission.request() as place:
        place.complete()
        raise ValueError
    assert (admission.held, admission.large) == (0, 0)


def test_a_small_body_that_is_still_coming_takes_no_place() -> None:
    """Or a client that stops in the middle would keep others out."""
    admission = Admission(1)
    with admission.request() as slow, admission.request() as quick:
        slow.grown(SMALL)
        quick.complete()
        assert (admission.held, admission.large) == (1, 0)


def test_large_bodies_have_only_a_share_of_the_places() -> None:
    """Stalled large bodies cannot keep small requests out; each is counted once, however often it grows."""
    admission = Admission(3 * LARGE_SHARE)
    places = [admission.request() for _ in range(4)]
    for place in places[:3]:
        place.grown(SMALL + 1)
        place.grown(SMALL + 2)
    with pytest.raises(Refusal, match="more than 65536 bytes") as caught:
        places[3].grown(SMALL + 1)
    assert (caught.value.status, caught.value.unread) == (429, True)
    with admission.request() as small:
        small.grown(100)
        small.complete()
    places[0].__exit__(None, None, None)
    places[3].grown(SMALL + 1)
    assert admission.large == 3


def test_it_is_told_when_the_last_large_request_is_over() -> None:
    """Small ones do not count: what they leave behind is not worth looking for."""
    told: list[int] = []
    admission = Admission(9 * LARGE_SHARE, emptied=lambda: told.append(1))
    with admission.request() as first:
        first.grown(SMALL + 1)
        with admission.request() as second, admission.request() as small:
            second.grown(SMALL + 1)
            small.complete()
        assert not told
    assert told == [1]
