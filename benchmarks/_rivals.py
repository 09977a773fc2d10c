"""What memproto is measured against: construct, python-binary-memcached, and bare ``struct`` as the floor.

Every contestant pays at least one Python call per packet.
"""

from __future__ import annotations

import struct

from bmemcached.protocol import FLAGS_UNPACKER, Protocol
from construct import Struct

from benchmarks._timing import Timer, repeated
from memproto import Get, Layout, Set
from memproto.binary._layout import PACKET

# --- construct: the declarations memproto itself is derived from


def _declared(layout: Layout) -> Struct:
    if not isinstance(layout.declaration, Struct):
        raise TypeError(f"{layout!r} is not declared with construct")
    return layout.declaration


def construct_decodes(data: bytes, extras: Layout | None, compiled: bool) -> Timer:
    """The whole packet and then its extras, parsed by their declarations."""
    packet = PACKET.compile() if compiled else PACKET
    if extras is None:
        return repeated(lambda: packet.parse(data))
    declaration = _declared(extras)
    inner = declaration.compile() if compiled else declaration

    def run() -> object:
        taken = packet.parse(data)
        return taken, inner.parse(taken.extras)

    return repeated(run)


def construct_encodes(data: bytes, extras: Layout | None, compiled: bool) -> Timer:
    """The whole packet and its extras, built by their declarations; the lengths are computed."""
    packet = PACKET.compile() if compiled else PACKET
    fields = PACKET.parse(data)
    for computed in ("key_length", "extras_length", "body_length", "lengths_agree", "_io"):
        del fields[computed]
    if extras is None:
        return repeated(lambda: packet.build(fields))
    declaration = _declared(extras)
    inner = declaration.compile() if compiled else declaration
    numbers = extras.unpack(fields.extras)

    def run() -> object:
        return packet.build({**fields, "extras": inner.build(numbers)})

    return repeated(run)


# --- python-binary-memcached: a client, fed from memory instead of a socket


class _Memory:
    """The socket: gives the same bytes again and again, and takes all."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def recv(self, size: int) -> bytes:
        at = self._at
        self._at = (at + size) % len(self._data)
        return self._data[at : at + size]

    def sendall(self, data: bytes) -> None:
        pass


def bmemcached_call(request: Get | Set, reply: bytes, canned: bool) -> Timer:
    """A whole call; with ``canned`` its reply is made beforehand, so that what remains is encoding."""
    protocol = Protocol("127.0.0.1:1", raw_data=True)
    protocol.connection = _Memory(reply)
    if canned:
        response = protocol._get_response()
        protocol._get_response = lambda: response
    if isinstance(request, Set):
        key, value, exptime = request.key, request.value, request.exptime
        return repeated(lambda: protocol.set(key, value, exptime))
    key = request.keys[0]
    return repeated(lambda: protocol.get(key))


def bmemcached_decodes(reply: bytes, hit: bool) -> Timer:
    """Its reading of a reply, and for a hit what its ``get`` makes of that."""
    protocol = Protocol("127.0.0.1:1", raw_data=True)
    protocol.connection = _Memory(reply)
    if not hit:
        return repeated(protocol._get_response)

    def run() -> object:
        content = protocol._get_response()[-1]
        (flags,) = FLAGS_UNPACKER.unpack_from(content)
        return protocol.deserialize(content[4:], flags)

    return repeated(run)


# --- the floor: what no pure-Python codec can do without


def floor_decodes(data: bytes, extras: str) -> Timer:
    """The header, the extras and two slices."""
    unpack = struct.Struct(">BBHBBHIIQ").unpack_from
    unpack_extras = struct.Struct(extras).unpack_from if extras else None

    def run() -> object:
        magic, opcode, key_length, extras_length, data_type, status, body_length, opaque, cas = unpack(data, 0)
        numbers = unpack_extras(data, 24) if unpack_extras else ()
        key_at = 24 + extras_length
        value_at = key_at + key_length
        key, value = data[key_at:value_at], data[value_at : 24 + body_length]
        return magic, opcode, data_type, status, opaque, cas, numbers, key, value

    return repeated(run)


def floor_encodes(data: bytes, extras: str) -> Timer:
    """Header and extras in one call, and a concatenation."""
    numbers = struct.unpack_from(extras or ">", data, 24)
    magic, opcode, key_length, extras_length, _, _, _, opaque, cas = struct.unpack_from(">BBHBBHIIQ", data)
    value_at = 24 + extras_length + key_length
    key, value = data[24 + extras_length : value_at], data[value_at:]
    pack = struct.Struct(">BBHBBHIIQ" + extras[1:]).pack

    def run() -> bytes:
        length = extras_length + len(key) + len(value)
        return pack(magic, opcode, len(key), extras_length, 0, 0, length, opaque, cas, *numbers) + key + value

    return repeated(run)
