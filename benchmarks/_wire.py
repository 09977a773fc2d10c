"""The packets that are measured, as bytes and as messages."""

from __future__ import annotations

import struct

from memproto import Get, Item, Opcode, Set, Stored, Values

KEY = b"key:00001"
VALUE = bytes(range(65, 91)) * 3 + b"0123456789" * 2 + b"__"
FLAGS = 0xDEADBEEF
EXPTIME = 3600
CAS = 0x0102030405060708

_HEADER = struct.Struct(">BBHBBHIIQ")
_OPAQUE = struct.Struct(">I")


def set_request(key: bytes = KEY, value: bytes = VALUE, opaque: int = 0) -> bytes:
    """A SET with flags and expiry."""
    head = _HEADER.pack(0x80, Opcode.SET, len(key), 8, 0, 0, 8 + len(key) + len(value), opaque, 0)
    return head + struct.pack(">II", FLAGS, EXPTIME) + key + value


def set_reply(opaque: int = 0) -> bytes:
    """The answer to a SET that stored."""
    return _HEADER.pack(0x81, Opcode.SET, 0, 0, 0, 0, 0, opaque, CAS)


def get_request(key: bytes = KEY, opaque: int = 0) -> bytes:
    """A GET."""
    return _HEADER.pack(0x80, Opcode.GET, len(key), 0, 0, 0, len(key), opaque, 0) + key


def get_reply(value: bytes = VALUE, opaque: int = 0) -> bytes:
    """The answer to a GET that hit."""
    return _HEADER.pack(0x81, Opcode.GET, 0, 4, 0, 0, 4 + len(value), opaque, CAS) + struct.pack(">I", FLAGS) + value


def with_opaque(packet: bytes, opaque: int) -> bytes:
    """The same packet with another opaque."""
    return packet[:12] + _OPAQUE.pack(opaque) + packet[16:]


SET_REQUEST, SET_REPLY = set_request(), set_reply()
GET_REQUEST, GET_REPLY = get_request(), get_reply()

SET = Set(KEY, VALUE, FLAGS, EXPTIME)
STORED = Stored(CAS)
GET = Get((KEY,))
HIT = Values((Item(KEY, VALUE, FLAGS, CAS),))
