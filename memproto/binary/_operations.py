"""What each binary opcode means: from extras, key and value to a request message, and back.

A *family* is a loud opcode with its quiet twin: they carry the same message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memproto._wire.checks import check_bytes
from memproto.binary._layout import ARITHMETIC, EXPIRATION, NO_CREATE, OPCODES, STORE, VERBOSITY
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_MECHANISM
from memproto.model import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    Noop,
    Opcode,
    Prepend,
    Quit,
    Replace,
    Request,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    Touch,
    Verbosity,
    Version,
)

_unpack_store = STORE.packer.unpack_from
_unpack_expiration = EXPIRATION.packer.unpack_from
_unpack_arithmetic = ARITHMETIC.packer.unpack_from
_unpack_verbosity = VERBOSITY.packer.unpack_from
_pack_store = STORE.pack_checked
_pack_expiration = EXPIRATION.pack_checked

# --- extras, key and value -> message, per opcode: make(data, extras at, extras length, key, value, cas)

Make = Callable[[bytes, int, int, bytes, bytes, int], AnyRequest]


def _make_get(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Get((key,))


def _make_get_and_touch(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Get((key,), _unpack_expiration(data, at)[0])


def _make_touch(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Touch(key, _unpack_expiration(data, at)[0])


def _make_set(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    flags, exptime = _unpack_store(data, at)
    return Set(key, value, flags, exptime, cas)


def _maker_of_store(kind: type[Add] | type[Replace]) -> Make:
    def make(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        flags, exptime = _unpack_store(data, at)
        return kind(key, value, flags, exptime, cas)

    return make


def _maker_of_concatenation(kind: type[Append] | type[Prepend]) -> Make:
    def make(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        return kind(key, value, cas)

    return make


def _maker_of_arithmetic(kind: type[Increment] | type[Decrement]) -> Make:
    def make(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        delta, initial, exptime = _unpack_arithmetic(data, at)
        return kind(key, delta, initial, None if exptime == NO_CREATE else exptime, cas)

    return make


def _make_delete(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Delete(key, cas)


def _make_flush(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Flush(_unpack_expiration(data, at)[0] if size else None)


def _make_verbosity(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Verbosity(_unpack_verbosity(data, at)[0])


def _make_stats(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return Stats(key)


def _maker_of_sasl(kind: type[SaslAuth] | type[SaslStep]) -> Make:
    def make(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        return kind(key, value)

    return make


def _maker_of_bare(request: AnyRequest) -> Make:
    def make(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        return request

    return make


# --- message -> extras, key, value, cas

Laid = tuple[bytes, bytes, bytes, int]


def _lay_get(request: Get) -> Laid:
    if len(request.keys) != 1:
        raise LocalProtocolError(f"keys are {len(request.keys)}, one binary packet carries 1")
    extras = b"" if request.exptime is None else _pack_expiration(request.exptime)
    return extras, request.keys[0], b"", 0


def _lay_store(request: Set | Add | Replace) -> Laid:
    return _pack_store(request.flags, request.exptime), request.key, request.value, request.cas


def _lay_concatenation(request: Append | Prepend) -> Laid:
    return b"", request.key, request.value, request.cas


def _lay_delete(request: Delete) -> Laid:
    return b"", request.key, b"", request.cas


def _lay_arithmetic(request: Increment | Decrement) -> Laid:
    exptime = NO_CREATE if request.exptime is None else request.exptime
    if request.exptime == NO_CREATE:
        raise LocalProtocolError(f"exptime is {NO_CREATE}, which means do not create on the wire: say None for that")
    return ARITHMETIC.pack_checked(request.delta, request.initial, exptime), request.key, b"", request.cas


def _lay_touch(request: Touch) -> Laid:
    return _pack_expiration(request.exptime), request.key, b"", 0


def _lay_flush(request: Flush) -> Laid:
    return b"" if request.exptime is None else _pack_expiration(request.exptime), b"", b"", 0


def _lay_verbosity(request: Verbosity) -> Laid:
    return VERBOSITY.pack_checked(request.level), b"", b"", 0


def _lay_stats(request: Stats) -> Laid:
    return b"", request.group, b"", 0


def _lay_sasl(request: SaslAuth | SaslStep) -> Laid:
    check_bytes("mechanism", request.mechanism, MAX_MECHANISM)
    return b"", request.mechanism, request.data, 0


def _lay_bare(request: Quit | Noop | Version | SaslList) -> Laid:
    return b"", b"", b"", 0


# --- the families


@dataclass(frozen=True, slots=True)
class Family:
    """The message type of an opcode, how to make it and how to lay it out, and whether it uses the CAS."""

    kind: type[Request[object]]
    make: Make
    lay: Callable[..., Laid]
    uses_cas: bool = False


def _bare(request: Quit | Noop | Version | SaslList) -> Family:
    return Family(type(request), _maker_of_bare(request), _lay_bare)


_LOUD: dict[int, Family] = {
    Opcode.GET: Family(Get, _make_get, _lay_get),
    Opcode.GETK: Family(Get, _make_get, _lay_get),
    Opcode.GAT: Family(Get, _make_get_and_touch, _lay_get),
    Opcode.GATK: Family(Get, _make_get_and_touch, _lay_get),
    Opcode.SET: Family(Set, _make_set, _lay_store, True),
    Opcode.ADD: Family(Add, _maker_of_store(Add), _lay_store, True),
    Opcode.REPLACE: Family(Replace, _maker_of_store(Replace), _lay_store, True),
    Opcode.APPEND: Family(Append, _maker_of_concatenation(Append), _lay_concatenation, True),
    Opcode.PREPEND: Family(Prepend, _maker_of_concatenation(Prepend), _lay_concatenation, True),
    Opcode.DELETE: Family(Delete, _make_delete, _lay_delete, True),
    Opcode.INCREMENT: Family(Increment, _maker_of_arithmetic(Increment), _lay_arithmetic, True),
    Opcode.DECREMENT: Family(Decrement, _maker_of_arithmetic(Decrement), _lay_arithmetic, True),
    Opcode.TOUCH: Family(Touch, _make_touch, _lay_touch),
    Opcode.FLUSH: Family(Flush, _make_flush, _lay_flush),
    Opcode.STAT: Family(Stats, _make_stats, _lay_stats),
    Opcode.VERBOSITY: Family(Verbosity, _make_verbosity, _lay_verbosity),
    Opcode.SASL_AUTH: Family(SaslAuth, _maker_of_sasl(SaslAuth), _lay_sasl),
    Opcode.SASL_STEP: Family(SaslStep, _maker_of_sasl(SaslStep), _lay_sasl),
    Opcode.SASL_LIST_MECHS: _bare(SaslList()),
    Opcode.QUIT: _bare(Quit()),
    Opcode.NOOP: _bare(Noop()),
    Opcode.VERSION: _bare(Version()),
}

#: The family of every opcode that has a message, quiet ones included.
FAMILIES: dict[int, Family] = dict(_LOUD)
for _opcode, _family in _LOUD.items():
    _twin = OPCODES[_opcode].twin
    if _twin is not None:
        FAMILIES[_twin] = _family

# GETK and GATK say the same as GET and GAT and send the key back; the opaque makes that unnecessary.
_DEFAULT_OPCODES: dict[type[Request[object]], int] = {
    family.kind: opcode for opcode, family in _LOUD.items() if opcode not in (Opcode.GETK, Opcode.GAT, Opcode.GATK)
}


def opcode_for(request: Request[object], quiet: bool = False) -> int:
    """The opcode that says this request; its quiet twin if asked (LocalProtocolError where there is none)."""
    opcode = _DEFAULT_OPCODES.get(type(request))
    if opcode is None:
        raise LocalProtocolError(f"{type(request).__name__} has no opcode of its own in binary")
    if isinstance(request, Get) and request.exptime is not None:
        opcode = Opcode.GAT
    if not quiet:
        return opcode
    twin = OPCODES[opcode].twin
    if twin is None:
        raise LocalProtocolError(f"{OPCODES[opcode].name} has no quiet form")
    return twin
