"""Client commands as data: the requests to send, and the result computed from the replies. No I/O.

    commands = Commands(RAW)
    command = commands.get(b"key")           # Command[bytes | None]
    exchanges = command.send(connection)
    ...                                      # write their bytes; read until the last of them is answered
    value = command.result([exchange.reply for exchange in exchanges])

Blocking clients, asyncio clients and clients for several servers share these. With another serde than ``RAW`` the
values are other objects than bytes. A refusal for which a command has no result raises :class:`ServerError`.
"""

from memproto.commands._command import Command, authenticate
from memproto.commands._commands import Commands, Key
from memproto.commands._results import AuthenticationError, Lease, Replies, ReplyTooLargeError, ServerError
from memproto.serde import RAW, Serde

__all__ = [
    "RAW",
    "AuthenticationError",
    "Command",
    "Commands",
    "Key",
    "Lease",
    "Replies",
    "ReplyTooLargeError",
    "Serde",
    "ServerError",
    "authenticate",
]
