"""Requests and replies: one type per meaning, the same for every dialect.

Messages are plain data and know nothing of opcodes or wire formats. Keys and values are ``bytes``; numbers
are unsigned unless stated otherwise. Type checkers treat every field as read-only; at run time nothing guards
them, because guarding costs more than decoding the packet does.

Each request type names the types of the replies that answer it: ``Get.reply_types()`` is ``(Values,)``. Besides them, a
:class:`Failure` answers any request.
"""

from memproto.model._message import Message
from memproto.model.enums import *
from memproto.model.envelopes import *
from memproto.model.item_requests import *
from memproto.model.packet import *
from memproto.model.replies import *
from memproto.model.request_type import *
from memproto.model.requests import *
from memproto.model.server_requests import *

__all__ = [
    "STATUSES",
    "Add",
    "AdminCommand",
    "AdminReply",
    "AnyReply",
    "AnyRequest",
    "Append",
    "Authenticated",
    "BinaryEnvelope",
    "Challenge",
    "ClassicEnvelope",
    "ClusterConfig",
    "ClusterConfigReply",
    "ClusterNode",
    "Counter",
    "Decrement",
    "Delete",
    "Deleted",
    "Dialect",
    "Envelope",
    "Failure",
    "Flush",
    "Get",
    "Increment",
    "InvalidRequest",
    "Item",
    "ItemMeta",
    "Magic",
    "Mechanisms",
    "Message",
    "MetaDebug",
    "MetaDebugReply",
    "MetaEnvelope",
    "MetaOptions",
    "Noop",
    "Ok",
    "Opcode",
    "Packet",
    "Prepend",
    "Quit",
    "RawReply",
    "Replace",
    "Request",
    "SaslAuth",
    "SaslList",
    "SaslStep",
    "Set",
    "Signal",
    "Silence",
    "Stats",
    "StatsReply",
    "Status",
    "Stored",
    "Touch",
    "Touched",
    "Unknown",
    "UnknownLine",
    "Values",
    "Verbosity",
    "Version",
    "VersionReply",
]
