"""Text connections driven from literal bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from memproto import (
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Authenticated,
    ClientConnection,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Limits,
    MetaDebug,
    MetaDebugReply,
    Noop,
    Ok,
    Quit,
    SaslAuth,
    ServerConnection,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from tests.support.helpers import Told, each_byte, tell
from tests.support.serving import Served, feed

TEXT = (Dialect.CLASSIC, Dialect.META)

_STUBS: dict[type[AnyRequest], AnyReply] = {
    Get: Values(),
    Delete: Deleted(),
    Increment: Counter(1),
    Decrement: Counter(1),
    Touch: Touched(),
    Flush: Ok(),
    Stats: StatsReply(),
    Version: VersionReply(b"1.6.18"),
    Verbosity: Ok(),
    Noop: Ok(),
    Quit: Ok(),
    AdminCommand: AdminReply(),
    MetaDebug: MetaDebugReply(),
    SaslAuth: Authenticated(),
    UnknownLine: Failure(Status.UNKNOWN_COMMAND),
}


def stub(envelope: Envelope) -> AnyReply:
    """A reply that says the least: a miss for gets, success for the rest, a refusal of what is unknown."""
    request = envelope.request
    return request.reply if isinstance(request, InvalidRequest) else _STUBS.get(type(request), Stored(1))


def serve(
    pieces: Iterable[bytes],
    answer: Callable[[Envelope], AnyReply] = stub,
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    dialects: Collection[Dialect] = tuple(Dialect),
    eof: bool = False,
) -> Served[Envelope]:
    """Feed the pieces, answer each request at once, and collect all there is to see."""
    server = ServerConnection(limits, auth_required=auth_required, dialects=dialects)
    return feed(server, pieces, answer, Envelope, eof=eof)


def serve_three_ways(
    data: bytes,
    answer: Callable[[Envelope], AnyReply] = stub,
    *,
    limits: Limits | None = None,
    auth_required: bool = False,
    dialects: Collection[Dialect] = tuple(Dialect),
) -> Served[Envelope]:
    """Serve the bytes whole, byte by byte, and with ``version`` behind them; the outcome of the first, if all agree."""

    def run(pieces: Iterable[bytes]) -> Served[Envelope]:
        return serve(pieces, answer, limits=limits, auth_required=auth_required, dialects=dialects)

    whole = run([data])
    assert run(each_byte(data)) == whole
    trailed = run([data + b"version\r\n"])
    if whole.closed:
        assert trailed == whole
    elif not auth_required and Dialect.CLASSIC in dialects:
        assert trailed.requests == [*whole.requests, Version()]
        assert trailed.output == whole.output + b"VERSION 1.6.18\r\n"
    return whole


def tell_three_ways(
    ask: Callable[[ClientConnection], object],
    data: bytes,
    dialect: Dialect = Dialect.CLASSIC,
    limits: Limits | None = None,
) -> Told:
    """Tell a client the bytes whole, byte by byte, and with the answer to a last VERSION behind them."""

    def fresh() -> ClientConnection:
        client = ClientConnection(limits, dialect=dialect)
        ask(client)
        return client

    whole = tell(fresh(), [data])
    assert tell(fresh(), each_byte(data)) == whole
    client = fresh()
    if whole.fault is None:
        assert client.send(Version()).data == b"version\r\n"
        assert tell(client, [data + b"VERSION 1\r\n"]) == Told([*whole.replies, VersionReply(b"1")])
    else:
        assert tell(client, [data + b"VERSION 1\r\n"]) == whole
    return whole


# --- recorded replies, cut without the code under test


def requests_in(data: bytes) -> list[bytes]:
    """Cut a stream of well-formed requests behind each of them."""
    found = []
    while data:
        size = data.index(b"\n") + 1
        words = data[:size].split()
        if words[:1] and words[0] in (b"set", b"add", b"replace", b"append", b"prepend", b"cas"):
            size += int(words[4]) + 2
        elif words[:1] == [b"ms"]:
            size += int(words[2]) + 2
        found.append(data[:size])
        data = data[size:]
    return found


def recorded_reply(told: bytes, to: bytes) -> bytes:
    """What answers this request at the head of a recorded stream; empty if it got silence."""
    line = told[: told.find(b"\n") + 1]
    code = line.split()
    words = to[: to.index(b"\n")].split()
    if not words:
        return line
    if (words[-1] == b"noreply" and words[0] not in (b"version", b"stats")) or words == [b"quit"] or not line:
        return b""
    if words[0] in (b"mg", b"ms", b"md", b"ma", b"mn", b"me"):
        return b"" if b"q" in words and not _is_loud(code, words) else _with_value(told, line, code)
    size = 0
    if line.startswith((b"VALUE ", b"STAT ")):
        while not told[size:].startswith(b"END\r\n"):
            head = told[size : told.index(b"\n", size) + 1]
            size += len(head)
            if head.startswith(b"VALUE "):
                size += int(head.split()[3]) + 2
        return told[: size + 5]
    return line


def _with_value(told: bytes, line: bytes, code: list[bytes]) -> bytes:
    return told[: len(line) + int(code[1]) + 2] if code[0] == b"VA" else line


def _is_loud(code: list[bytes], words: list[bytes]) -> bool:
    """Whether this line is for the quiet request, whose opaque or key it then has if they were asked for."""
    if code[0].endswith(b"ERROR"):
        return True
    hits: tuple[bytes, ...] = (b"HD", b"VA") if words[0] == b"mg" else (b"NS", b"EX", b"NF")
    if words[0] == b"ma" and b"N0" in words:
        # A defect of memcached 1.6.18: it tells the success of a quiet ma that creates.
        hits = (*hits, b"VA")
    opaques = [word for word in words if word.startswith(b"O")]
    return code[0] in hits and set(opaques) <= set(code) and (b"k" not in words[2:] or b"k" + words[1] in code)
