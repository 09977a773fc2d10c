"""Recorded packets, cut and matched without the code under test."""

from __future__ import annotations

from collections.abc import Callable

from memproto import AnyReply, BinaryEnvelope, Get, InvalidRequest
from memproto.binary import decode_reply
from tests.support.stubs import stub


def frames(data: bytes) -> list[bytes]:
    """Cut a stream of packets at the lengths in their headers, without the code under test."""
    found = []
    while data:
        size = 24 + int.from_bytes(data[8:12], "big")
        assert len(data) >= size
        found.append(data[:size])
        data = data[size:]
    return found


_ECHO_KEY = (0x0C, 0x0D, 0x23, 0x24)


def recorded_reply(waiting: list[bytes], to: BinaryEnvelope) -> bytes:
    """Take what answers this request off the front of the recorded reply packets; empty if it got silence."""
    taken = b""
    while waiting and _is_for(waiting[0], to):
        packet = waiting.pop(0)
        taken += packet
        # Only STAT has several packets, up to one without a key or one that is no success.
        if to.opcode != 0x10 or packet[2:4] == b"\0\0" or packet[6:8] != b"\0\0":
            break
    return taken


def _is_for(packet: bytes, to: BinaryEnvelope) -> bool:
    if packet[1] != to.opcode or packet[12:16] != to.opaque.to_bytes(4, "big"):
        return False
    # Some clients give all requests the same opaque, so that only the key tells quiet gets apart.
    if to.opcode not in _ECHO_KEY or packet[2:4] == b"\0\0":
        return True
    assert isinstance(to.request, Get)
    return packet[24 + packet[4] :].startswith(to.request.keys)


def answer_from(waiting: list[bytes]) -> Callable[[BinaryEnvelope], AnyReply]:
    """An answerer that says what was recorded, and has nothing to tell where nothing was."""

    def answer(to: BinaryEnvelope) -> AnyReply:
        recorded = recorded_reply(waiting, to)
        if isinstance(to.request, InvalidRequest) or not recorded:
            return stub(to.request)
        return decode_reply(recorded, to)

    return answer
