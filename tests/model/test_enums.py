from __future__ import annotations

from memproto import Dialect, Magic, Opcode, Signal, Status
from memproto.model import STATUSES


def test_statuses_and_their_words() -> None:
    assert {int(status): status.text for status in Status} == {
        0x00: b"",
        0x01: b"Not found",
        0x02: b"Data exists for key.",
        0x03: b"Too large.",
        0x04: b"Invalid arguments",
        0x05: b"Not stored.",
        0x06: b"Non-numeric server-side value for incr or decr",
        0x07: b"",
        0x20: b"Auth failure.",
        0x21: b"",
        0x81: b"Unknown command",
        0x82: b"Out of memory",
        0x10000: b"",
    }


def test_statuses_by_number() -> None:
    assert {int(status): status for status in Status if status <= 0xFFFF} == STATUSES
    assert set(Status) - set(STATUSES.values()) == {Status.REPLY_TOO_LARGE}
    assert all(type(number) is int for number in STATUSES)
    assert STATUSES[0x81] is Status.UNKNOWN_COMMAND


def test_magic_bytes() -> None:
    assert {magic.name: int(magic) for magic in Magic} == {
        "REQUEST": 0x80,
        "RESPONSE": 0x81,
        "FLEX_REQUEST": 0x08,
        "FLEX_RESPONSE": 0x18,
        "SERVER_REQUEST": 0x82,
        "CLIENT_RESPONSE": 0x83,
    }


def test_opcodes_leave_out_what_is_unassigned() -> None:
    assert sorted(Opcode) == [*range(0x1F), *range(0x20, 0x25), *range(0x30, 0x48)]
    assert (Opcode.GETQ, Opcode.STAT, Opcode.GATKQ, Opcode.TAP_CHECKPOINT_END) == (0x09, 0x10, 0x24, 0x47)


def test_signals_and_dialects_are_plain_members() -> None:
    assert [signal.name for signal in Signal] == ["NEED_DATA", "PAUSED"]
    assert [dialect.value for dialect in Dialect] == ["binary", "classic", "meta"]
