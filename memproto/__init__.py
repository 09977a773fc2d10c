"""memproto: the memcached protocol, and no I/O.

Bytes go in and requests or replies come out; replies or requests go in and bytes come out. Sockets, clocks,
threads and storage stay with the program that embeds it. ``memproto.engine`` has the rules of a cache,
``memproto.testing`` the hypothesis strategies; ``memproto.binary`` and ``memproto.text`` encode and decode whole
messages.
"""

from memproto import model
from memproto._wire.dialects import ReceiveBuffer, ServerDialect
from memproto._wire.packing import Field, Layout
from memproto.binary import decode_packet, encode_packet
from memproto.binary._layout import OPCODES, Body, OpcodeSpec, Presence, Quiet
from memproto.connection._state import ClientState, ServerState
from memproto.connection.client import ClientConnection, Exchange
from memproto.connection.events import ClientEvent, ConnectionClosed, ReplyReceived, ServerEvent
from memproto.connection.observer import Observer
from memproto.connection.observer_events import (
    NoReply,
    ObservedExchange,
    ObserverEvent,
    Side,
    SkippedBytes,
    SkipReason,
    UnmatchedReply,
)
from memproto.connection.server import ServerConnection
from memproto.errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from memproto.limits import MAX_KEY, MAX_MECHANISM, Limits
from memproto.model import *
from memproto.translate import TranslationError, translate, translate_reply

__all__ = [
    "MAX_KEY",
    "MAX_MECHANISM",
    "OPCODES",
    "Body",
    "ClientConnection",
    "ClientEvent",
    "ClientState",
    "ConnectionClosed",
    "Exchange",
    "Field",
    "Layout",
    "Limits",
    "LocalProtocolError",
    "NoReply",
    "ObservedExchange",
    "Observer",
    "ObserverEvent",
    "OpcodeSpec",
    "Presence",
    "ProtocolError",
    "Quiet",
    "ReceiveBuffer",
    "RemoteProtocolError",
    "ReplyReceived",
    "ServerConnection",
    "ServerDialect",
    "ServerEvent",
    "ServerState",
    "Side",
    "SkipReason",
    "SkippedBytes",
    "TranslationError",
    "UnmatchedReply",
    "__version__",
    "decode_packet",
    "encode_packet",
    "translate",
    "translate_reply",
]
# Requests, replies, envelopes, enums.
__all__ += model.__all__

__version__ = "0.2.0"
