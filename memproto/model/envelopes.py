"""What a connection tells its embedder."""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

from memproto.model._message import message
from memproto.model.enums import Dialect
from memproto.model.requests import AnyRequest

R_co = TypeVar("R_co", covariant=True)


@message
class Envelope:
    """A request with what its dialect wraps around it: the event of a server connection."""

    request: AnyRequest

    @property
    def dialect(self) -> Dialect | None:
        """The dialect that this envelope belongs to; ``None`` for one that is not memproto's own."""
        return None


@message
class BinaryEnvelope(Envelope):
    """A request with what the binary protocol wraps around it.

    ``opcode`` chooses among the opcodes of one meaning (GET, GETK, GETKQ ...); ``opaque`` is echoed into the
    reply. ``vbucket``, ``data_type`` and ``ignored_cas`` (the CAS of a request whose operation has no use for
    one) are not used by memcached; they are kept so that encoding gives the same bytes again.
    """

    opcode: int
    opaque: int = 0
    vbucket: int = 0
    data_type: int = 0
    ignored_cas: int = 0

    @property
    def dialect(self) -> Dialect:
        """The dialect that this envelope belongs to."""
        return Dialect.BINARY


@message
class ClassicEnvelope(Envelope):
    """A request with what classic text wraps around it.

    ``verb`` is the command word, which chooses among those of one meaning (get, gets; set, cas). ``line`` is the
    command line as it was received, without its end, and is not compared; encoding writes the line
    anew if it is empty.
    """

    verb: bytes
    noreply: bool = False
    line: bytes = field(default=b"", compare=False)

    @property
    def dialect(self) -> Dialect:
        """The dialect that this envelope belongs to."""
        return Dialect.CLASSIC


@message
class MetaEnvelope(Envelope):
    """A request with what the meta dialect wraps around it.

    ``flags`` are the flag words in their order, those that only shape the reply (v, k, f, O ...) among them.
    ``line`` is as in :class:`ClassicEnvelope`.
    """

    command: bytes
    flags: tuple[bytes, ...] = ()
    line: bytes = field(default=b"", compare=False)

    @property
    def dialect(self) -> Dialect:
        """The dialect that this envelope belongs to."""
        return Dialect.META
