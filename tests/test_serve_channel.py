"""Messages between processes arrive whole and in order, and the end of the other side is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ftdeploy.errors import EXIT_CODES, ArtifactError, ServeError
from ftdeploy.serve.channel import Channel, error_of, failed


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel and the socket at its other end."""
    one, other = socket.socketpair()
    channel = Channel(one)
    yield channel, other
    channel.close()
    other.close()


def test_messages_are_taken_together_and_in_pieces(pair: tuple[Channel, socket.socket]) -> None:
    """A line that is not complete waits for its rest."""
    channel, other = pair
    assert channel.receive() == ([], True)
    other.sendall(b'{"beat": 1}\n{"do": "end"}\n{"rea')
    assert channel.receive() == ([{"beat": 1}, {"do": "end"}], True)
    other.sendall(b'dy": {}}\n')
    assert channel.receive() == ([{"ready": {}}], True)


def test_the_last_words_come_with_the_end(pair: tuple[Channel, socket.socket]) -> None:
    """What was said before the other side went is not lost."""
    channel, other = pair
    other.sendall(b'{"beat": 1}\n')
    other.close()
    assert channel.receive() == ([{"beat": 1}], False)


def test_nobody_waits_for_who_does_not_listen(pair: tuple[Channel, socket.socket]) -> None:
    """Neither a full pipe nor one that is closed stops who speaks."""
    channel, other = pair
    for _ in range(100_000):
        channel.send({"beat": 1})
    other.close()
    channel.send({"beat": 1})
    assert channel.receive()[1] is False


@pytest.mark.parametrize("kind", EXIT_CODES.values())
def test_an_error_stays_what_it_is(kind: type[ServeError]) -> None:
    """Its class, and so its exit code, and its three parts."""
    error = error_of(failed(kind("what", cause="why", fix="do"))["failed"])
    assert (type(error), error.what, error.cause, error.fix) == (kind, "what", "why", "do")


def test_an_error_of_another_version_is_one_of_the_service() -> None:
    """A class that this version does not know."""
    said = failed(ArtifactError("what", cause="why", fix="do"))["failed"] | {"exit_code": 99}
    assert type(error_of(said)) is ServeError
