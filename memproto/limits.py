"""The bounds that an embedder sets on what a peer can make a connection hold."""

from __future__ import annotations

from dataclasses import dataclass, fields

from memproto._fields import check_fields
from memproto.errors import LocalProtocolError

#: The protocol's own limit on the length of a key, in bytes.
MAX_KEY = 250

#: An expiry of up to 30 days counts from now, in seconds; a larger one is Unix time.
MONTH = 30 * 24 * 60 * 60

#: The longest name of a SASL mechanism that memcached takes, in bytes.
MAX_MECHANISM = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection will hold, in bytes and counts. Each is checked before the data is held.

    A server's packets over ``value`` are swallowed and refused as memcached does (status 0x03). A client skips a reply
    over ``value``, ``head``, ``answer`` or ``stats``, and its request fails with ``Status.REPLY_TOO_LARGE``. A line
    over ``line`` is a :class:`~memproto.RemoteProtocolError` on either side.

    Raises :class:`~memproto.LocalProtocolError` for a limit that is less than 1 or no int.
    """

    #: Longest value of one packet, in bytes; memcached's default for an item is 1 MiB (``-I``).
    value: int = 1024 * 1024
    #: Longest header + extras + key of one packet; memcached reads these into a buffer of 16 KiB. A well-formed
    #: request of a known opcode has at most 294 bytes of them and is taken in any case.
    head: int = 16 * 1024
    #: Longest data of one SASL request, in bytes: the client that sends them is not authenticated yet. ``line`` is the
    #: limit of text credentials, as with memcached, which takes half a megabyte of these.
    sasl: int = 16 * 1024
    #: Longest line of text, without its end; memcached has 2048.
    line: int = 2048
    #: Longest ``get`` or ``gets`` line, which memcached does not limit.
    keys_line: int = 4 * 1024 * 1024
    #: Whether a bare LF ends a line of text, as with memcached; if not, only CR LF does, and a bare LF is a
    #: :class:`~memproto.RemoteProtocolError`.
    bare_lf: bool = True
    #: Requests handed out (server) or sent (client) that still wait for their reply.
    outstanding: int = 1024
    #: Most keys of one multi-key get.
    keys: int = 100_000
    #: Most bytes of one answer that a client collects from many packets: a multi-key get, statistics.
    answer: int = 64 * 1024 * 1024
    #: Most packets of one answer to STAT.
    stats: int = 10_000

    def __post_init__(self) -> None:
        check_fields(self)
        for field in fields(self):
            number = getattr(self, field.name)
            if field.name != "bare_lf" and number < 1:
                raise LocalProtocolError(f"limit {field.name} is {number}, the least is 1")
