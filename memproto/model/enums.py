"""The protocol's numbers by name: magic bytes, opcodes, statuses; and the signals of a connection.

Each number stands here once. What an opcode carries is declared in ``memproto.binary._layout``.
"""

from __future__ import annotations

import enum


class Dialect(enum.Enum):
    """A wire format of the same requests and replies."""

    BINARY = "binary"
    CLASSIC = "classic"
    META = "meta"


class Signal(enum.Enum):
    """What ``next_event()`` returns when there is no event.

    Compare with ``is``: type checkers narrow the two members like literals.
    """

    #: All received bytes have been decoded; call ``receive_data()`` or ``receive_eof()``.
    NEED_DATA = "need data"
    #: Nothing more is decoded until the requests that are already returned have their replies.
    PAUSED = "paused"


class Magic(enum.IntEnum):
    """The first byte of every binary packet."""

    REQUEST = 0x80
    RESPONSE = 0x81
    # Couchbase's other framings move the key length and would be mis-framed; they are refused by name.
    FLEX_REQUEST = 0x08
    FLEX_RESPONSE = 0x18
    SERVER_REQUEST = 0x82
    CLIENT_RESPONSE = 0x83


class Opcode(enum.IntEnum):
    """Binary opcodes by the protocol's names. An opcode that is not here stays a plain ``int``."""

    GET = 0x00
    SET = 0x01
    ADD = 0x02
    REPLACE = 0x03
    DELETE = 0x04
    INCREMENT = 0x05
    DECREMENT = 0x06
    QUIT = 0x07
    FLUSH = 0x08
    GETQ = 0x09
    NOOP = 0x0A
    VERSION = 0x0B
    GETK = 0x0C
    GETKQ = 0x0D
    APPEND = 0x0E
    PREPEND = 0x0F
    STAT = 0x10
    SETQ = 0x11
    ADDQ = 0x12
    REPLACEQ = 0x13
    DELETEQ = 0x14
    INCREMENTQ = 0x15
    DECREMENTQ = 0x16
    QUITQ = 0x17
    FLUSHQ = 0x18
    APPENDQ = 0x19
    PREPENDQ = 0x1A
    VERBOSITY = 0x1B
    TOUCH = 0x1C
    GAT = 0x1D
    GATQ = 0x1E
    SASL_LIST_MECHS = 0x20
    SASL_AUTH = 0x21
    SASL_STEP = 0x22
    GATK = 0x23
    GATKQ = 0x24
    RGET = 0x30
    RSET = 0x31
    RSETQ = 0x32
    RAPPEND = 0x33
    RAPPENDQ = 0x34
    RPREPEND = 0x35
    RPREPENDQ = 0x36
    RDELETE = 0x37
    RDELETEQ = 0x38
    RINCR = 0x39
    RINCRQ = 0x3A
    RDECR = 0x3B
    RDECRQ = 0x3C
    SET_VBUCKET = 0x3D
    GET_VBUCKET = 0x3E
    DEL_VBUCKET = 0x3F
    TAP_CONNECT = 0x40
    TAP_MUTATION = 0x41
    TAP_DELETE = 0x42
    TAP_FLUSH = 0x43
    TAP_OPAQUE = 0x44
    TAP_VBUCKET_SET = 0x45
    TAP_CHECKPOINT_START = 0x46
    TAP_CHECKPOINT_END = 0x47


class Status(enum.IntEnum):
    """Binary statuses by memcached's names.

    Clients dispatch on the number; the words that come with it are for people. Statuses that are not here
    (Couchbase has more) stay plain ``int``. ``REPLY_TOO_LARGE`` is never on the wire.
    """

    SUCCESS = 0x0000
    KEY_NOT_FOUND = 0x0001
    KEY_EXISTS = 0x0002
    VALUE_TOO_LARGE = 0x0003
    INVALID_ARGUMENTS = 0x0004
    NOT_STORED = 0x0005
    DELTA_BAD_VALUE = 0x0006
    NOT_MY_VBUCKET = 0x0007
    AUTH_ERROR = 0x0020
    AUTH_CONTINUE = 0x0021
    UNKNOWN_COMMAND = 0x0081
    OUT_OF_MEMORY = 0x0082
    #: Not a status of the protocol, which has 16 bits for one: a ``ClientConnection`` gives it to a request whose reply
    #: was over one of its limits and was skipped. A server cannot send it.
    REPLY_TOO_LARGE = 0x10000

    @property
    def text(self) -> bytes:
        """The words memcached sends in the body of such a reply, empty where it has none."""
        return _STATUS_TEXTS.get(self, b"")


_STATUS_TEXTS: dict[int, bytes] = {
    Status.KEY_NOT_FOUND: b"Not found",
    Status.KEY_EXISTS: b"Data exists for key.",
    Status.VALUE_TOO_LARGE: b"Too large.",
    Status.INVALID_ARGUMENTS: b"Invalid arguments",
    Status.NOT_STORED: b"Not stored.",
    Status.DELTA_BAD_VALUE: b"Non-numeric server-side value for incr or decr",
    Status.AUTH_ERROR: b"Auth failure.",
    Status.UNKNOWN_COMMAND: b"Unknown command",
    Status.OUT_OF_MEMORY: b"Out of memory",
}

#: Number -> member, for turning wire integers into names without the cost of calling the enum.
STATUSES: dict[int, Status] = {int(status): status for status in Status if status is not Status.REPLY_TOO_LARGE}
