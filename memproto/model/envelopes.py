"""Envelopes: a request with the details that its dialect adds, the event of a server connection."""

from __future__ import annotations

from typing import ClassVar, Final, final

from memproto.model._message import Message
from memproto.model.enums import Dialect
from memproto.model.requests import AnyRequest


class Envelope(Message):
    """A request with the details that its dialect adds: the event of a server connection."""

    __match_args__: ClassVar = ("request",)
    __slots__ = __match_args__
    #: The dialect that this envelope belongs to; ``None`` for one that is not memproto's own.
    dialect: ClassVar[Dialect | None] = None

    def __init__(self, request: AnyRequest) -> None:
        self.request: Final[AnyRequest] = request


@final
class BinaryEnvelope(Envelope):
    """A request with the fields of its binary packet that are not part of its meaning.

    ``opcode`` chooses among the opcodes of one meaning (GET, GETK, GETKQ ...); the server copies ``opaque`` into
    the reply. ``vbucket``, ``data_type`` and ``ignored_cas`` (the CAS of a request whose operation has no use for
    one) are not used by memcached; they are kept so that encoding gives the same bytes again.
    """

    __match_args__: ClassVar = ("request", "opcode", "opaque", "vbucket", "data_type", "ignored_cas")
    __slots__ = ("data_type", "ignored_cas", "opaque", "opcode", "vbucket")
    dialect: ClassVar[Dialect] = Dialect.BINARY

    def __init__(
        self,
        request: AnyRequest,
        opcode: int,
        opaque: int = 0,
        vbucket: int = 0,
        data_type: int = 0,
        ignored_cas: int = 0,
    ) -> None:
        self.request = request  # type: ignore[misc]
        self.opcode: Final[int] = opcode
        self.opaque: Final[int] = opaque
        self.vbucket: Final[int] = vbucket
        self.data_type: Final[int] = data_type
        self.ignored_cas: Final[int] = ignored_cas


@final
class ClassicEnvelope(Envelope):
    """A request with the parts of its classic command line that are not part of its meaning.

    ``verb`` is the command word, which chooses among those of one meaning (get, gets; set, cas). ``line`` is the
    command line as it was received, without its end; equality leaves it out. If it is empty, the encoder writes
    the line from the other fields.
    """

    __match_args__: ClassVar = ("request", "verb", "noreply", "line")
    __slots__ = ("line", "noreply", "verb")
    dialect: ClassVar[Dialect] = Dialect.CLASSIC
    _not_compared = ("line",)

    def __init__(self, request: AnyRequest, verb: bytes, noreply: bool = False, line: bytes = b"") -> None:
        self.request = request  # type: ignore[misc]
        self.verb: Final[bytes] = verb
        self.noreply: Final[bool] = noreply
        self.line: Final[bytes] = line


@final
class MetaEnvelope(Envelope):
    """A request with the parts of its meta command line that are not part of its meaning.

    ``flags`` are the flags in their order, each a letter and its token, those that only shape the reply
    (v, k, f, O ...) among them. The request is made of them once; replies are written and read in the light of them.
    ``line`` is as in :class:`ClassicEnvelope`.
    """

    __match_args__: ClassVar = ("request", "command", "flags", "line")
    __slots__ = ("command", "flags", "line")
    dialect: ClassVar[Dialect] = Dialect.META
    _not_compared = ("line",)

    def __init__(self, request: AnyRequest, command: bytes, flags: tuple[bytes, ...] = (), line: bytes = b"") -> None:
        self.request = request  # type: ignore[misc]
        self.command: Final[bytes] = command
        self.flags: Final[tuple[bytes, ...]] = flags
        self.line: Final[bytes] = line
