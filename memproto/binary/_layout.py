"""The binary protocol, declared: header, extras and the opcode table. The single statement of the layout.

Readers, writers, packers, the documentation's wire tables and the test strategies are derived from here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from construct import Bytes, Check, Int8ub, Int16ub, Int32ub, Int64ub, Rebuild, Struct, len_, this

from memproto._fields import check_fields
from memproto._wire.arguments import misuse
from memproto._wire.packing import Layout
from memproto.errors import LocalProtocolError
from memproto.model import Opcode

# --- the header: 24 bytes, all big-endian

HEADER = Layout(
    Struct(
        "magic" / Int8ub * "0x80 request, 0x81 response",
        "opcode" / Int8ub * "what is asked; a response repeats it",
        "key_length" / Int16ub * "bytes of key",
        "extras_length" / Int8ub * "bytes of extras",
        "data_type" / Int8ub * "reserved: ignored in requests, 0 in memcached's responses",
        "vbucket_or_status" / Int16ub * "request: vbucket id, ignored by memcached; response: status",
        "body_length" / Int32ub * "extras + key + value, in bytes",
        "opaque" / Int32ub * "copied into the response bit for bit",
        "cas" / Int64ub * "version of the item, 0 for none",
    )
)

# The whole packet for construct itself: the reference that the derived fast path is tested against.
PACKET = Struct(
    "magic" / Int8ub,
    "opcode" / Int8ub,
    "key_length" / Rebuild(Int16ub, len_(this.key)),
    "extras_length" / Rebuild(Int8ub, len_(this.extras)),
    "data_type" / Int8ub,
    "vbucket_or_status" / Int16ub,
    "body_length" / Rebuild(Int32ub, len_(this.extras) + len_(this.key) + len_(this.value)),
    "lengths_agree" / Check(this.body_length >= this.extras_length + this.key_length),
    "opaque" / Int32ub,
    "cas" / Int64ub,
    "extras" / Bytes(this.extras_length),
    "key" / Bytes(this.key_length),
    "value" / Bytes(this.body_length - this.extras_length - this.key_length),
)

# --- extras

_FLAGS = "flags" / Int32ub * "the client's own 32 bits, stored with the item and given back"
_EXPIRATION = "expiration" / Int32ub * "0 never; up to 2592000 seconds from now; above that Unix time"

NONE = Layout(Struct())
FLAGS = Layout(Struct(_FLAGS))
EXPIRATION = Layout(Struct(_EXPIRATION))
STORE = Layout(Struct(_FLAGS, _EXPIRATION))
ARITHMETIC = Layout(
    Struct(
        "delta" / Int64ub * "how much to add or subtract",
        "initial" / Int64ub * "the number a missing item is created with",
        "expiration" / Int32ub * "of a created item; 0xffffffff: do not create",
    )
)
VERBOSITY = Layout(Struct("level" / Int32ub * "how much the server logs"))
# The number in the answer to INCREMENT and DECREMENT: it lies in the value, not in the extras.
COUNTER = Layout(Struct("counter" / Int64ub * "the new number"))
RANGE = Layout(
    Struct(
        "size" / Int16ub * "bytes of the end key",
        "reserved" / Int8ub * "zero",
        "range_flags" / Int8ub * "flags of the range operation",
        "max_results" / Int32ub * "most results wanted",
    )
)

# --- the opcode table


class Presence(enum.Enum):
    """Whether a part of a packet must, may or must not be there."""

    MUST = "must"
    MAY = "may"
    MUST_NOT = "-"
    #: memcached does not look: bytes in the place of this part are read as the next packet.
    UNCHECKED = "not checked"


class Quiet(enum.Enum):
    """Which replies a quiet opcode does not get."""

    NOTHING = "answers always"
    MISS = "a miss is not answered"
    SUCCESS = "a success is not answered"


MUST, MAY, MUST_NOT, UNCHECKED = Presence


@dataclass(frozen=True, slots=True)
class Body:
    """What follows the header in one direction. ``extras`` lists the layouts allowed, ``None`` is any.

    Raises :class:`~memproto.LocalProtocolError` for a field of a wrong type.
    """

    extras: tuple[Layout, ...] | None = (NONE,)
    key: Presence = MUST_NOT
    value: Presence = MUST_NOT
    #: The sizes of extras allowed, ``None`` is any; follows from ``extras``.
    sizes: frozenset[int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        sizes = None if self.extras is None else frozenset(layout.size for layout in self.extras)
        object.__setattr__(self, "sizes", sizes)

    def extras_of(self, size: int) -> Layout | None:
        """The layout for extras of this many bytes, ``None`` if there is none."""
        return next((layout for layout in self.extras or () if layout.size == size), None)


_MOST = 0xFF

ANYTHING = Body(None, MAY, MAY)


@dataclass(frozen=True, slots=True)
class OpcodeSpec:
    """One row of the opcode table: number, name, quiet rule, and what each direction carries.

    ``reply`` is the form of a success; a failure of any opcode has no extras, no key and a text as value (only a
    GETK or GATK miss carries the key instead). ``twin`` is the quiet opcode of the same meaning, and of a
    quiet opcode the one that is not quiet. ``supported`` is whether memcached knows the opcode at all,
    ``allowed_before_auth`` whether a client may send it before it has authenticated.

    Raises :class:`~memproto.LocalProtocolError` for a field of a wrong type and for an opcode beyond one byte.
    """

    opcode: int
    name: str
    request: Body = ANYTHING
    reply: Body = ANYTHING
    quiet: Quiet = Quiet.NOTHING
    twin: int | None = None
    supported: bool = False
    allowed_before_auth: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name, number in (("opcode", self.opcode), ("twin", self.twin)):
            if number is not None and not 0 <= number <= _MOST:
                raise LocalProtocolError(f"{name} is {number}, must be 0 to {_MOST}")


def _pair(
    opcode: Opcode,
    request: Body = ANYTHING,
    reply: Body = ANYTHING,
    hides: Quiet = Quiet.SUCCESS,
    supported: bool = True,
    allowed_before_auth: bool = False,
) -> tuple[OpcodeSpec, ...]:
    """The row of an opcode and that of its quiet twin, whose name has a Q more, if there is one."""
    twin = Opcode.__members__.get(f"{opcode.name}Q")
    spec = OpcodeSpec(opcode, opcode.name, request, reply, Quiet.NOTHING, twin, supported, allowed_before_auth)
    return (spec,) if twin is None else (spec, replace(spec, opcode=twin, name=twin.name, quiet=hides, twin=opcode))


_BARE = Body()
_KEY = Body(key=MUST)
_STORE = Body((STORE,), MUST, MAY)
_CONCATENATE = Body(key=MUST, value=MAY)
_COUNT = Body((ARITHMETIC,), MUST)
_TOUCH = Body((EXPIRATION,), MUST, UNCHECKED)
_SASL = Body(key=MUST, value=MAY)
_RANGE = Body((RANGE,), MUST, MAY)
_ITEM = Body((FLAGS,), MUST_NOT, MAY)
_ITEM_AND_KEY = Body((FLAGS,), MUST, MAY)
_TEXT = Body(value=MAY)

_RANGES = [opcode for opcode in Opcode if Opcode.RGET <= opcode <= Opcode.RDECR and opcode.name[-1] != "Q"]
_OTHERS = [opcode for opcode in Opcode if opcode >= Opcode.SET_VBUCKET]

_ROWS = (
    *_pair(Opcode.GET, _KEY, _ITEM, Quiet.MISS),
    *_pair(Opcode.GETK, _KEY, _ITEM_AND_KEY, Quiet.MISS),
    *_pair(Opcode.SET, _STORE, _BARE),
    *_pair(Opcode.ADD, _STORE, _BARE),
    *_pair(Opcode.REPLACE, _STORE, _BARE),
    *_pair(Opcode.DELETE, _KEY, _BARE),
    *_pair(Opcode.INCREMENT, _COUNT, Body(value=MUST)),
    *_pair(Opcode.DECREMENT, _COUNT, Body(value=MUST)),
    *_pair(Opcode.QUIT, _BARE, _BARE),
    *_pair(Opcode.FLUSH, Body((NONE, EXPIRATION)), _BARE),
    *_pair(Opcode.NOOP, _BARE, _BARE),
    *_pair(Opcode.VERSION, _BARE, _TEXT, allowed_before_auth=True),
    *_pair(Opcode.APPEND, _CONCATENATE, _BARE),
    *_pair(Opcode.PREPEND, _CONCATENATE, _BARE),
    *_pair(Opcode.STAT, Body(key=MAY, value=UNCHECKED), Body(key=MAY, value=MAY)),
    # memcached sends the flags here, against most documents; clients must take both.
    *_pair(Opcode.TOUCH, _TOUCH, Body((FLAGS, NONE))),
    *_pair(Opcode.GAT, _TOUCH, _ITEM, Quiet.MISS),
    *_pair(Opcode.GATK, _TOUCH, _ITEM_AND_KEY, Quiet.MISS),
    *_pair(Opcode.SASL_LIST_MECHS, _BARE, _TEXT, allowed_before_auth=True),
    *_pair(Opcode.SASL_AUTH, _SASL, _TEXT, allowed_before_auth=True),
    *_pair(Opcode.SASL_STEP, _SASL, _TEXT, allowed_before_auth=True),
    # Named by the protocol's documents, answered with "unknown command" by memcached.
    *_pair(Opcode.VERBOSITY, Body((VERBOSITY,)), _BARE, supported=False),
    *(row for opcode in _RANGES for row in _pair(opcode, _RANGE, supported=False)),
    *(row for opcode in _OTHERS for row in _pair(opcode, supported=False)),
)

#: Every opcode with a name, by number.
OPCODES = MappingProxyType({spec.opcode: spec for spec in _ROWS})

#: "Do not create" in the expiration of INCREMENT and DECREMENT.
NO_CREATE = 0xFFFFFFFF


def opcodes_of(opcodes: object) -> tuple[OpcodeSpec, ...]:
    """The embedder's own opcodes. Raises LocalProtocolError."""
    if isinstance(opcodes, str | bytes) or not isinstance(opcodes, Iterable):
        raise misuse("opcodes", opcodes, "an iterable of OpcodeSpec")
    specs = tuple(opcodes)
    for index, spec in enumerate(specs):
        if not isinstance(spec, OpcodeSpec):
            raise misuse(f"opcodes[{index}]", spec, "an OpcodeSpec")
    return specs
