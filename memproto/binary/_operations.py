"""What each binary opcode means: from extras, key and value to a request message, and from the message to a packet.

An *operation* belongs to an opcode and to its quiet twin: they carry the same message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from memproto import model
from memproto._wire.checks import U32, U64, check_bytes, check_number
from memproto._wire.packing import Layout
from memproto.binary._layout import ARITHMETIC, EXPIRATION, HEADER, NO_CREATE, NONE, OPCODES, STORE, VERBOSITY
from memproto.binary._packet import KEY_BYTE, SHORT, pack_short, shape_fault, with_extras
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, MAX_MECHANISM
from memproto.model import AnyRequest, Magic, Opcode, Request

_REQUEST = int(Magic.REQUEST)

# --- extras, key and value -> message, per opcode: decode(data, extras at, extras length, key, value, cas)

_unpack_store = STORE.packer.unpack_from
_unpack_expiration = EXPIRATION.packer.unpack_from
_unpack_arithmetic = ARITHMETIC.packer.unpack_from
_unpack_verbosity = VERBOSITY.packer.unpack_from

Decode = Callable[[bytes, int, int, bytes, bytes, int], AnyRequest]


def _decode_get(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Get((key,))


def _decode_get_and_touch(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Get((key,), _unpack_expiration(data, at)[0])


def _decode_touch(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Touch(key, _unpack_expiration(data, at)[0])


def _decoder_of_store(kind: type[model.Set] | type[model.Add] | type[model.Replace]) -> Decode:
    def decode(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        flags, exptime = _unpack_store(data, at)
        return kind(key, value, flags, exptime, cas)

    return decode


def _decoder_of_concatenation(kind: type[model.Append] | type[model.Prepend]) -> Decode:
    def decode(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        return kind(key, value, cas)

    return decode


def _decoder_of_arithmetic(kind: type[model.Increment] | type[model.Decrement]) -> Decode:
    def decode(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        delta, initial, exptime = _unpack_arithmetic(data, at)
        return kind(key, delta, initial, None if exptime == NO_CREATE else exptime, cas)

    return decode


def _decode_delete(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Delete(key, cas)


def _decode_flush(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Flush(_unpack_expiration(data, at)[0] if size else None)


def _decode_verbosity(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Verbosity(_unpack_verbosity(data, at)[0])


def _decode_stats(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
    return model.Stats(key)


def _decoder_of_sasl(kind: type[model.SaslAuth] | type[model.SaslStep]) -> Decode:
    def decode(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        return kind(key, value)

    return decode


def _decoder_of_bare(request: AnyRequest) -> Decode:
    def decode(data: bytes, at: int, size: int, key: bytes, value: bytes, cas: int) -> AnyRequest:
        return request

    return decode


# --- message -> packet: encode(request, first, opaque)
#
# ``first`` are the first eight bytes of the header, complete but for the length of the key. The result is the packet up
# to the value, and the value if the operation has one. Numbers are checked by packing them: ``struct.error`` if one is
# out of range. Nothing (an empty tuple) is the result if something else does not fit, or is no regular request.

#: The bytes of a message in order.
Parts = tuple[bytes, ...]
Encode = Callable[..., Parts]
_Bare: TypeAlias = model.Quit | model.Noop | model.Version | model.SaslList


_pack_store = with_extras(SHORT, STORE).pack
_pack_expiration = with_extras(SHORT, EXPIRATION).pack
_pack_arithmetic = with_extras(SHORT, ARITHMETIC).pack

_STORE_SIZE: Final = STORE.size
_ARITHMETIC_SIZE: Final = ARITHMETIC.size
_EXPIRATION_SIZE: Final = EXPIRATION.size

# mypy reports a check of a declared type as redundant; these names hide the type from it.
_BYTES: type = bytes
_INT: type = int
_TUPLE: type = tuple


def _is_key(key: bytes) -> bool:
    return isinstance(key, _BYTES) and 0 < len(key) <= MAX_KEY


def _encode_get(request: model.Get, first: int, opaque: int) -> Parts:
    keys = request.keys
    if not isinstance(keys, _TUPLE) or len(keys) != 1 or request.exptime is not None or request.meta is not None:
        return ()
    key = keys[0]
    if not isinstance(key, _BYTES) or not 0 < len(key) <= MAX_KEY:
        return ()
    return (pack_short(first + len(key) * KEY_BYTE, len(key), opaque, 0) + key,)


def _encode_store(request: model.Set | model.Add | model.Replace, first: int, opaque: int) -> Parts:
    key, value = request.key, request.value
    if not isinstance(key, _BYTES) or not 0 < len(key) <= MAX_KEY or request.meta is not None:
        return ()
    if not isinstance(value, _BYTES):
        return ()
    first, size = first + len(key) * KEY_BYTE, _STORE_SIZE + len(key) + len(value)
    return _pack_store(first, size, opaque, request.cas, request.flags, request.exptime) + key, value


def _encode_concatenation(request: model.Append | model.Prepend, first: int, opaque: int) -> Parts:
    key, value, cas = request.key, request.value, request.cas
    if not _is_key(key) or not isinstance(value, _BYTES) or not isinstance(cas, _INT) or request.meta is not None:
        return ()
    return pack_short(first + len(key) * KEY_BYTE, len(key) + len(value), opaque, cas) + key, value


def _encode_delete(request: model.Delete, first: int, opaque: int) -> Parts:
    key, cas = request.key, request.cas
    if not isinstance(key, _BYTES) or not 0 < len(key) <= MAX_KEY or not isinstance(cas, _INT):
        return ()
    if request.meta is not None:
        return ()
    return (pack_short(first + len(key) * KEY_BYTE, len(key), opaque, cas) + key,)


def _encode_arithmetic(request: model.Increment | model.Decrement, first: int, opaque: int) -> Parts:
    key, delta, initial, exptime, cas = request.key, request.delta, request.initial, request.exptime, request.cas
    if not _is_key(key) or not isinstance(delta, _INT) or not isinstance(initial, _INT) or not isinstance(cas, _INT):
        return ()
    if exptime is None:
        exptime = NO_CREATE
    elif not isinstance(exptime, _INT) or exptime == NO_CREATE:
        return ()
    if request.meta is not None:
        return ()
    first, size = first + len(key) * KEY_BYTE, _ARITHMETIC_SIZE + len(key)
    return (_pack_arithmetic(first, size, opaque, cas, delta, initial, exptime) + key,)


def _encode_touch(request: model.Touch, first: int, opaque: int) -> Parts:
    key, exptime = request.key, request.exptime
    if not _is_key(key) or not isinstance(exptime, _INT):
        return ()
    return (_pack_expiration(first + len(key) * KEY_BYTE, _EXPIRATION_SIZE + len(key), opaque, 0, exptime) + key,)


def _encode_bare(request: _Bare, first: int, opaque: int) -> Parts:
    return (pack_short(first, 0, opaque, 0),)


# --- the operations


@dataclass(frozen=True, slots=True)
class Operation:
    """The message type of an opcode, how to decode and encode it, and whether it uses the CAS.

    Where ``encode`` is missing, all is encoded by :func:`encode_request`.
    """

    request: type[AnyRequest]
    decode: Decode
    encode: Encode | None = None
    uses_cas: bool = False


def _bare(request: _Bare) -> Operation:
    return Operation(type(request), _decoder_of_bare(request), _encode_bare)


_BY_OPCODE: dict[int, Operation] = {
    Opcode.GET: Operation(model.Get, _decode_get, _encode_get),
    Opcode.GETK: Operation(model.Get, _decode_get, _encode_get),
    Opcode.GAT: Operation(model.Get, _decode_get_and_touch),
    Opcode.GATK: Operation(model.Get, _decode_get_and_touch),
    Opcode.SET: Operation(model.Set, _decoder_of_store(model.Set), _encode_store, True),
    Opcode.ADD: Operation(model.Add, _decoder_of_store(model.Add), _encode_store, True),
    Opcode.REPLACE: Operation(model.Replace, _decoder_of_store(model.Replace), _encode_store, True),
    Opcode.APPEND: Operation(model.Append, _decoder_of_concatenation(model.Append), _encode_concatenation, True),
    Opcode.PREPEND: Operation(model.Prepend, _decoder_of_concatenation(model.Prepend), _encode_concatenation, True),
    Opcode.DELETE: Operation(model.Delete, _decode_delete, _encode_delete, True),
    Opcode.INCREMENT: Operation(model.Increment, _decoder_of_arithmetic(model.Increment), _encode_arithmetic, True),
    Opcode.DECREMENT: Operation(model.Decrement, _decoder_of_arithmetic(model.Decrement), _encode_arithmetic, True),
    Opcode.TOUCH: Operation(model.Touch, _decode_touch, _encode_touch),
    Opcode.FLUSH: Operation(model.Flush, _decode_flush),
    Opcode.STAT: Operation(model.Stats, _decode_stats),
    Opcode.VERBOSITY: Operation(model.Verbosity, _decode_verbosity),
    Opcode.SASL_AUTH: Operation(model.SaslAuth, _decoder_of_sasl(model.SaslAuth)),
    Opcode.SASL_STEP: Operation(model.SaslStep, _decoder_of_sasl(model.SaslStep)),
    Opcode.SASL_LIST_MECHS: _bare(model.SaslList()),
    Opcode.QUIT: _bare(model.Quit()),
    Opcode.NOOP: _bare(model.Noop()),
    Opcode.VERSION: _bare(model.Version()),
}

# GETK and GATK mean the same as GET and GAT and return the key; the opaque makes that unnecessary.
_DEFAULT_OPCODES: dict[type[Request[object]], int] = {
    operation.request: opcode
    for opcode, operation in _BY_OPCODE.items()
    if opcode not in (Opcode.GETK, Opcode.GAT, Opcode.GATK)
}

#: The operation of every opcode that has a message, quiet ones included.
OPERATIONS: dict[int, Operation] = {
    number: operation
    for opcode, operation in _BY_OPCODE.items()
    for number in (opcode, OPCODES[opcode].twin)
    if number is not None
}


def opcode_for(request: Request[object], quiet: bool = False) -> int:
    """The opcode of this request, or its quiet twin. Raises LocalProtocolError if there is none."""
    opcode = _DEFAULT_OPCODES.get(type(request))
    if opcode is None:
        raise LocalProtocolError(f"{type(request).__name__} has no opcode of its own in binary")
    if isinstance(request, model.Get) and request.exptime is not None:
        opcode = Opcode.GAT
    if not quiet:
        return opcode
    twin = OPCODES[opcode].twin
    if twin is None:
        raise LocalProtocolError(f"{OPCODES[opcode].name} has no quiet form")
    return twin


def operation_for(request: Request[object], opcode: int) -> Operation:
    """The operation of this opcode. Raises LocalProtocolError unless it is that of the request."""
    operation = OPERATIONS.get(opcode)
    if operation is None or operation.request is not type(request):
        raise LocalProtocolError(f"opcode {opcode:#04x} does not say {type(request).__name__}")
    return operation


# --- requests that are not of the regular form


def encode_request(
    request: Request[object], opcode: int, opaque: int, vbucket: int = 0, data_type: int = 0, ignored_cas: int = 0
) -> Parts:
    """The packet of a request whose fields are of the declared types; meta options are left out.

    ``ignored_cas`` is the CAS of a request that has none. Raises LocalProtocolError that names what does not fit.
    """
    extras, key, value, cas = checked_parts(request, opcode)
    if not OPERATIONS[opcode].uses_cas:
        cas = ignored_cas
    size = len(extras) + len(key) + len(value)
    header = HEADER.pack_checked(_REQUEST, opcode, len(key), len(extras), data_type, vbucket, size, opaque, cas)
    head = header + extras + key
    return (head, value) if value else (head,)


def checked_parts(request: Request[object], opcode: int) -> tuple[bytes, bytes, bytes, int]:
    """Extras, key, value and CAS of the packet of a request.

    Raises LocalProtocolError that names what does not fit: first of the extras, then the lengths, then the header.
    """
    operation_for(request, opcode)
    layout, numbers, key, value, cas = _fields(request)
    extras = layout.pack_checked(*numbers)
    check_bytes("key", key, MAX_KEY)
    fault = shape_fault(OPCODES[opcode].request, OPCODES[opcode].name, len(extras), len(key), len(value))
    if fault is not None:
        raise LocalProtocolError(fault)
    check_number("body_length", len(extras) + len(key) + len(value), 0, U32)
    check_number("cas", cas, 0, U64)
    return extras, key, value, cas


def _fields(request: Request[object]) -> tuple[Layout, tuple[int, ...], bytes, bytes, int]:
    """The layout of the extras and the numbers in them, key, value and CAS. Raises LocalProtocolError."""
    match request:
        case model.Get(keys, exptime):
            if len(keys) != 1:
                raise LocalProtocolError(f"keys are {len(keys)}, one binary packet carries 1")
            return (NONE, (), keys[0], b"", 0) if exptime is None else (EXPIRATION, (exptime,), keys[0], b"", 0)
        case model.Set() | model.Add() | model.Replace():
            return STORE, (request.flags, request.exptime), request.key, request.value, request.cas
        case model.Append() | model.Prepend():
            return NONE, (), request.key, request.value, request.cas
        case model.Delete(key, cas):
            return NONE, (), key, b"", cas
        case model.Increment() | model.Decrement():
            if request.exptime == NO_CREATE:
                what = "which means do not create on the wire: say None for that"
                raise LocalProtocolError(f"exptime is {NO_CREATE}, {what}")
            exptime = NO_CREATE if request.exptime is None else request.exptime
            return ARITHMETIC, (request.delta, request.initial, exptime), request.key, b"", request.cas
        case model.Touch(key, exptime):
            return EXPIRATION, (exptime,), key, b"", 0
        case model.Flush():
            return (NONE, (), b"", b"", 0) if request.exptime is None else (EXPIRATION, (request.exptime,), b"", b"", 0)
        case model.Stats(group):
            return NONE, (), group, b"", 0
        case model.SaslAuth() | model.SaslStep():
            check_bytes("mechanism", request.mechanism, MAX_MECHANISM)
            return NONE, (), request.mechanism, request.data, 0
        case model.Verbosity(level):
            return VERBOSITY, (level,), b"", b"", 0
    # The rest of the requests has no fields.
    return NONE, (), b"", b"", 0
