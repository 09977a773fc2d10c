"""Bytes of messages without packets: of both sides one after the other, or of each side in a file of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from memproto import Magic, Side, SkippedBytes
from memproto.capture.errors import CaptureError
from memproto.capture.follower import Follower, Record
from memproto.capture.splitter import Piece, Splitter

__all__ = ["decode_bytes", "decode_sides"]

# The client is not read further while so many requests wait, nor the server by more at a time than they can need.
_AHEAD: Final = 1024
_STEP: Final = 4096
_MANY: Final = 1 << 20
_NO_INPUT: Final = "the input is neither a capture nor a hex dump"
_MAGICS: Final = (Magic.REQUEST, Magic.RESPONSE)


def decode_bytes(chunks: Iterable[bytes], *, keep: bool, auth_required: bool = False) -> Iterator[Record]:
    """Yield the records of messages of both sides. Raises :class:`CaptureError` if there is no message.

    Binary and text may follow one another, as in what ``--format raw`` writes of several connections.
    """
    skipped: list[Record] | None = []
    for record in _decoded(chunks, keep, auth_required):
        if skipped is None:
            yield record
        elif isinstance(record.event, SkippedBytes):
            skipped.append(record)
        else:
            yield from skipped
            yield record
            skipped = None
    if skipped is not None:
        raise CaptureError(f"{_NO_INPUT}, and has no whole message of memcached")


def _decoded(chunks: Iterable[bytes], keep: bool, auth_required: bool) -> Iterator[Record]:
    followers = {is_binary: Follower(None, keep=keep, auth_required=auth_required) for is_binary in (False, True)}
    splitter = Splitter()
    begun = False
    for chunk in chunks:
        if not begun and not _is_message(chunk):
            raise CaptureError(f"{_NO_INPUT}, and does not begin with a message")
        begun = True
        for piece in splitter.add(chunk):
            yield from _sent(followers[piece.is_binary], piece)
    for piece in splitter.end():
        yield from _sent(followers[piece.is_binary], piece)
    for follower in followers.values():
        yield from follower.end()


def decode_sides(
    client: Iterable[bytes], server: Iterable[bytes], *, keep: bool, auth_required: bool = False
) -> Iterator[Record]:
    """Yield the records of what the client has sent, and the server; either may be empty."""
    follower = Follower(None, keep=keep, outstanding=_MANY, auth_required=auth_required)
    replies = _pieces(server)
    for chunk in _pieces(client):
        yield from follower.client_sent(chunk)
        while follower.outstanding > _AHEAD and (reply := next(replies, b"")):
            yield from follower.server_sent(reply)
    for reply in replies:
        yield from follower.server_sent(reply)
    yield from follower.end()


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for at in range(0, len(chunk), _STEP):
            yield chunk[at : at + _STEP]


def _sent(follower: Follower, piece: Piece) -> list[Record]:
    return follower.client_sent(piece.data) if piece.side is Side.CLIENT else follower.server_sent(piece.data)


def _is_message(data: bytes) -> bool:
    """Return whether bytes begin like a packet, or like a line of text."""
    line = data.split(b"\n", 1)[0].rstrip(b"\r")
    return data[0] in _MAGICS or (bool(line) and line.isascii() and line.decode("ascii").isprintable())
