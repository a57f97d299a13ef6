"""Ids that clients give: fit for logs and files, or not taken."""

from __future__ import annotations

import pytest

from ftdeploy.serve.request_ids import RequestIds, log_fields, subject_of
from ftdeploy.serve.wire import Refusal


def asked(**headers: bytes) -> dict[str, object]:
    return {"headers": [(name.replace("_", "-").encode(), value) for name, value in headers.items()]}


def test_a_subject_is_taken_as_it_is_or_refused() -> None:
    """To leave out one that is not fit would record what nobody could delete by it."""
    assert subject_of(asked()) is None
    assert subject_of(asked(x_subject_id=b"user:42.a_b-c")) == "user:42.a_b-c"
    for wrong in (b"", b"anna@example.org", b"a b", b"x" * 65):
        with pytest.raises(Refusal) as raised:
            subject_of(asked(x_subject_id=wrong))
        assert raised.value.reply().status == 422


def test_a_request_has_its_own_id_or_a_new_one() -> None:
    """One that is not fit for a log is replaced, and not logged."""
    ids = RequestIds()
    assert ids.of(asked(x_request_id=b"mine")) == "mine"
    made = {ids.of(asked()), ids.of(asked(x_request_id=b"not fit\n"))}
    assert len(made) == 2
    assert all(len(one) == 32 for one in made)
    assert log_fields(asked(x_request_id=b"not fit")) == {}
    assert log_fields(asked(x_request_id=b"mine")) == {"request_id": "mine"}
