"""What a connection tells its embedder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from memproto.enums import Dialect
from memproto.messages import AnyReply, AnyRequest, Silence, message

if TYPE_CHECKING:
    from memproto.client import Exchange

R_co = TypeVar("R_co", covariant=True)


@message
class BinaryEnvelope:
    """A request with what the binary protocol wraps around it: the event of a server connection.

    ``opcode`` chooses among the opcodes of one meaning (GET, GETK, GETKQ ...); ``opaque`` is echoed into the
    reply. ``vbucket``, ``data_type`` and ``ignored_cas`` (the CAS of a request whose operation has no use for
    one) are not used by memcached; they are kept so that encoding gives the same bytes again.
    """

    request: AnyRequest
    opcode: int
    opaque: int = 0
    vbucket: int = 0
    data_type: int = 0
    ignored_cas: int = 0

    @property
    def dialect(self) -> Dialect:
        """The dialect that this envelope belongs to."""
        return Dialect.BINARY


#: Every kind of envelope; today there is one dialect.
Envelope: TypeAlias = BinaryEnvelope


@message
class ConnectionClosed:
    """The stream ended where it may end: the peer quit or closed between two messages, and all is answered."""


@message
class ReplyReceived(Generic[R_co]):
    """A request of ours has been answered: the event of a client connection.

    ``reply`` is also to be found as ``exchange.reply``, where type checkers know its type.
    """

    exchange: Exchange[R_co]
    reply: AnyReply | Silence


ServerEvent: TypeAlias = Envelope | ConnectionClosed
ClientEvent: TypeAlias = ReplyReceived[object] | ConnectionClosed
