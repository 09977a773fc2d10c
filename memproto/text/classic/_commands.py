"""The commands of classic text: the one statement of their words, arguments, messages and replies.

The server's readers and writers, the client's encoders and reply readers, the table in the documentation and the
strategies of :mod:`memproto.testing` are derived from this table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memproto import model
from memproto.model import AnyRequest, Failure, Request, Status
from memproto.text._failures import Refusals, error_line, failure_in, lines_of
from memproto.text._lines import CRLF

#: The last word of a command that asks for no reply.
NOREPLY: Final = b"noreply"

CAS_VERB: Final = b"cas"
STATS: Final = b"stats"
SHUTDOWN: Final = b"shutdown"

# More words than any line has.
_MANY: Final = 1 << 62


class Argument(NamedTuple):
    """What stands behind the command word, in ``fewest`` to ``most`` words.

    ``field`` is the field of the message that has it; it is empty if none has it.
    """

    name: str
    field: str
    fewest: int = 1
    most: int = 1


KEY: Final = Argument("key", "key")
FLAGS: Final = Argument("flags", "flags")
EXPTIME: Final = Argument("exptime", "exptime")
#: The length of the data, which follow the line.
LENGTH: Final = Argument("length", "value")
CAS: Final = Argument("cas", "cas")
DELTA: Final = Argument("delta", "delta")
LEVEL: Final = Argument("level", "level")
KEYS: Final = Argument("keys", "keys", 1, _MANY)
#: memcached answers a ``gat`` without keys, too.
ANY_KEYS: Final = Argument("keys", "keys", 0, _MANY)
#: A historic argument of delete, which must be 0.
ZERO: Final = Argument("0", "", 0, 1)
DELAY: Final = Argument("delay", "exptime", 0, 1)
#: Words that are the message, or that memcached does not look at.
WORDS: Final = Argument("words", "", 0, _MANY)

_STORE: Final = (KEY, FLAGS, EXPTIME, LENGTH)
# memcached reads flags and expiry, and keeps those of the item.
_CONCATENATE: Final = (KEY, Argument("flags", ""), Argument("exptime", ""), LENGTH)

#: The word for a condition that does not hold; after ``add`` and ``replace`` the command says which.
NOT_STORED: Final = b"NOT_STORED"

_NONE: Final[Refusals] = {}
_REFUSED: Final[Refusals] = {
    NOT_STORED: Status.NOT_STORED,
    b"EXISTS": Status.KEY_EXISTS,
    b"NOT_FOUND": Status.KEY_NOT_FOUND,
}
_NOT_ADDED: Final[Refusals] = {**_REFUSED, NOT_STORED: Status.KEY_EXISTS}
_NOT_REPLACED: Final[Refusals] = {**_REFUSED, NOT_STORED: Status.KEY_NOT_FOUND}
_MISS: Final[Refusals] = {b"END": Status.KEY_NOT_FOUND}
_NO_GROUP: Final[Refusals] = {b"ERROR": Status.KEY_NOT_FOUND}
_NOT_FLUSHED: Final[Refusals] = {b"CLIENT_ERROR flush_all not allowed": Status.AUTH_ERROR}
_NOT_AUTHENTICATED: Final[Refusals] = {b"CLIENT_ERROR authentication failure": Status.AUTH_ERROR}


class Command(NamedTuple):
    """One command: its word, message, arguments and replies.

    ``verb`` is the first word of the line, ``request`` the class of the message, ``arguments`` what stands behind the
    word, in order. ``success`` is the line of a success, without its end; it is empty if the success has content of its
    own (items, a number, lines), or if there is none. ``refusals`` are the lines of failures that are particular to the
    command. ``noreply`` is whether that word may end the line. ``fewest`` and ``most`` are how many words the line has,
    the command word included.
    """

    verb: bytes
    request: type[AnyRequest]
    arguments: tuple[Argument, ...]
    success: bytes = b""
    refusals: Refusals = _NONE
    noreply: bool = False

    @property
    def fewest(self) -> int:
        """The least words of the line."""
        return 1 + sum(argument.fewest for argument in self.arguments)

    @property
    def most(self) -> int:
        """The most words of the line."""
        return 1 + sum(argument.most for argument in self.arguments) + self.noreply


_TABLE: Final = (
    Command(b"get", model.Get, (KEYS,), b"", _MISS),
    Command(b"gets", model.Get, (KEYS,), b"", _MISS),
    Command(b"gat", model.Get, (EXPTIME, ANY_KEYS), b"", _MISS),
    Command(b"gats", model.Get, (EXPTIME, ANY_KEYS), b"", _MISS),
    Command(b"set", model.Set, _STORE, b"STORED", _REFUSED, noreply=True),
    Command(b"add", model.Add, _STORE, b"STORED", _NOT_ADDED, noreply=True),
    Command(b"replace", model.Replace, _STORE, b"STORED", _NOT_REPLACED, noreply=True),
    Command(b"append", model.Append, _CONCATENATE, b"STORED", _REFUSED, noreply=True),
    Command(b"prepend", model.Prepend, _CONCATENATE, b"STORED", _REFUSED, noreply=True),
    Command(CAS_VERB, model.Set, (*_STORE, CAS), b"STORED", _REFUSED, noreply=True),
    Command(b"delete", model.Delete, (KEY, ZERO), b"DELETED", _REFUSED, noreply=True),
    Command(b"incr", model.Increment, (KEY, DELTA), b"", _REFUSED, noreply=True),
    Command(b"decr", model.Decrement, (KEY, DELTA), b"", _REFUSED, noreply=True),
    Command(b"touch", model.Touch, (KEY, EXPTIME), b"TOUCHED", _REFUSED, noreply=True),
    Command(b"flush_all", model.Flush, (DELAY,), b"OK", _NOT_FLUSHED, noreply=True),
    Command(b"verbosity", model.Verbosity, (LEVEL,), b"OK", noreply=True),
    Command(STATS, model.Stats, (WORDS,), b"", _NO_GROUP),
    Command(b"version", model.Version, (WORDS,)),
    Command(b"quit", model.Quit, (WORDS,)),
    Command(SHUTDOWN, model.AdminCommand, (WORDS,)),
    Command(b"cache_memlimit", model.AdminCommand, (WORDS,), noreply=True),
    Command(b"slabs", model.AdminCommand, (WORDS,)),
    Command(b"lru", model.AdminCommand, (WORDS,)),
    Command(b"lru_crawler", model.AdminCommand, (WORDS,)),
    # Of hosted services; memcached does not know it.
    Command(b"config", model.ClusterConfig, (Argument("get", ""), Argument("cluster", ""))),
)

#: The commands by their word.
COMMANDS: Final[dict[bytes, Command]] = {command.verb: command for command in _TABLE}

#: The same words with another meaning, and lines without a known command.
SPECIAL: Final = (
    # Before authentication: its data are user and password.
    Command(b"set", model.SaslAuth, _STORE, b"STORED", _NOT_AUTHENTICATED),
    # Classic has no command that does nothing; clients send this.
    Command(b"version", model.Noop, ()),
    Command(b"", model.UnknownLine, (WORDS,)),
)

#: The command of each request; of several the first, whose replies are those of the others.
BY_REQUEST: Final[dict[type[Request[object]], Command]] = {
    command.request: command for command in (*SPECIAL, *reversed(_TABLE))
}

ADMIN_VERBS: Final = tuple(command.verb for command in _TABLE if command.request is model.AdminCommand)

#: The commands whose VALUE lines have a CAS.
WITH_CAS: Final = (b"gets", b"gats")

#: The arguments of ``config`` that ask for the nodes of a cluster, and the first word of the reply.
CONFIG: Final = b"CONFIG"
CLUSTER: Final = b"cluster"
GET_CLUSTER: Final = (b"get", CLUSTER)

# --- words of replies

END: Final = b"END"
VALUE: Final = b"VALUE"
STAT: Final = b"STAT"
VERSION: Final = b"VERSION"

# --- statistics and lists of items

#: Groups of statistics, each with the number of words that name it; memcached does not look at the words behind.
STATS_GROUPS: Final = {
    b"detail": 2,
    **dict.fromkeys((b"settings", b"items", b"slabs", b"sizes", b"conns", b"reset"), 1),
}
#: The group whose reply is PREFIX lines.
DETAIL_DUMP: Final = b"detail dump"
#: Groups that do something and have no statistics: the one line of their success.
STATS_WITHOUT_LINES: Final = {b"reset": b"RESET", b"detail on": b"OK", b"detail off": b"OK"}
#: ``stats`` with this group is an AdminCommand, because its reply has other lines than STAT.
CACHEDUMP: Final = b"cachedump"
#: Commands that list items, by their second word, and the line that ends their reply.
DUMPS: Final[dict[tuple[bytes, ...], bytes]] = {
    (CACHEDUMP,): END,
    (b"metadump",): END,
    (b"mgdump",): b"EN",
}
#: The beginning of the lines that end with LF alone, by the second word of the command; memcached writes them so.
LF_LINES: Final[dict[tuple[bytes, ...], bytes]] = {(b"metadump",): b"key="}
#: First words of a line that refuses a list of items.
DUMP_REFUSALS: Final = (b"BUSY", b"BADCLASS", b"LOCKED")

#: What an unknown group of statistics is answered, and the line for it if the group begins with "detail".
UNKNOWN_GROUP: Final = Failure(Status.KEY_NOT_FOUND)
DETAIL_USAGE: Final = Failure(Status.INVALID_ARGUMENTS, b"usage: stats detail on|off|dump")


def stats_group(words: list[bytes]) -> bytes:
    """The group that the words behind ``stats`` name."""
    return b" ".join(words[: STATS_GROUPS.get(words[0], len(words)) if words else 0])


# --- failures


_LINES: Final = {kind: lines_of(command.refusals, NOT_STORED) for kind, command in BY_REQUEST.items()}


def failure_line(failure: Failure, request: Request[object]) -> bytes:
    """The line, with its end, that says a failure to this request. Raises LocalProtocolError."""
    if failure == UNKNOWN_GROUP and isinstance(request, model.Stats) and request.group.startswith(b"detail"):
        # An unknown group like any other in binary; here memcached says which groups there are.
        return error_line(DETAIL_USAGE)
    # With a CAS they compare it, as ``cas`` does.
    kind = model.Set if isinstance(request, model.Add | model.Replace) and request.cas else type(request)
    line = _LINES.get(kind, _LINES[model.UnknownLine]).get(failure.status)
    # A code has no room for a text; a sentence gives way to the text that the failure has.
    if line is None or (failure.text is not None and b" " in line):
        return error_line(failure)
    return line + CRLF


def failure_of(line: bytes, request: Request[object]) -> Failure | None:
    """The failure that a line says to this request, ``None`` if it says none."""
    command = BY_REQUEST.get(type(request))
    if command is not None and line in command.refusals:
        return Failure(command.refusals[line])
    failure = failure_in(line)
    return UNKNOWN_GROUP if failure == DETAIL_USAGE and isinstance(request, model.Stats) else failure
