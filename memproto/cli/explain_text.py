"""What captured text lines mean, classic and meta, of either direction: a line each."""

from __future__ import annotations

from collections.abc import Iterator

from memproto import ProtocolError
from memproto.text import META_FLAGS, Returned

# How many bytes of a line are shown.
_SHOWN = 60

_STORE = "key, flags, expiry, bytes"
#: The first word of a line -> what the line is, and what its words are.
_MEANINGS = {
    b"get": "fetch: keys",
    b"gets": "fetch with CAS: keys",
    b"gat": "fetch and touch: expiry, keys",
    b"gats": "fetch with CAS and touch: expiry, keys",
    b"set": f"store: {_STORE}",
    b"add": f"store if absent: {_STORE}",
    b"replace": f"store if present: {_STORE}",
    b"append": f"append: {_STORE}",
    b"prepend": f"prepend: {_STORE}",
    b"cas": f"store if the CAS is still this: {_STORE}, CAS",
    b"delete": "remove: key",
    b"incr": "add: key, number",
    b"decr": "subtract: key, number",
    b"touch": "set the expiry: key, expiry",
    b"flush_all": "remove all items: delay",
    b"stats": "statistics: group",
    b"version": "the server's version",
    b"quit": "close the connection",
    b"mg": "meta get",
    b"ms": "meta set",
    b"md": "meta delete",
    b"ma": "meta arithmetic",
    b"mn": "meta noop",
    b"me": "meta debug",
    b"VALUE": "a hit: key, flags, bytes, CAS if asked for",
    b"END": "end of the items",
    b"STORED": "stored",
    b"NOT_STORED": "not stored: the condition does not hold",
    b"EXISTS": "not done: the CAS is another",
    b"NOT_FOUND": "there is no such item",
    b"DELETED": "removed",
    b"TOUCHED": "the expiry is set",
    b"OK": "done",
    b"STAT": "a statistic: name, value",
    b"VERSION": "the version",
    b"ERROR": "unknown command",
    b"CLIENT_ERROR": "refused, the client's fault",
    b"SERVER_ERROR": "refused, the server's fault",
    b"HD": "done, no value",
    b"VA": "a value: bytes",
    b"EN": "a miss",
    b"NS": "not stored",
    b"EX": "not done: the CAS is another",
    b"NF": "there is no such item",
    b"MN": "answer to mn",
    b"ME": "metadata of the item",
}
# Where in such a line the length of the data behind it stands.
_LENGTH_AT = {
    **dict.fromkeys((b"set", b"add", b"replace", b"append", b"prepend", b"cas"), 4),
    b"VALUE": 3,
    b"VA": 1,
    b"ms": 2,
}
# How many words stand before the flags of a meta line.
_FLAGS_AT = {b"mg": 2, b"md": 2, b"ma": 2, b"ms": 3, b"VA": 2, **dict.fromkeys((b"HD", b"EN", b"NS", b"EX", b"NF"), 1)}
# Letters that only replies have, and what letters mean there.
_RETURNED = {b"W": "you are to store it again", b"X": "stale", b"Z": "another client is to store it again"}
_RETURNED.update(
    (letter, flag.meaning.removeprefix("return "))
    for table in META_FLAGS.values()
    for letter, flag in table.items()
    if flag.returned is not Returned.NEVER
)


def explain_text(data: bytes) -> str:
    """All lines in ``data`` with their meaning. Raises ``ProtocolError`` if the last is not whole."""
    rows = list(_rows(data))
    width = max((len(shown) for shown, _ in rows), default=0)
    return "\n".join(f"  {shown:{width}}  {meaning}".rstrip() for shown, meaning in rows)


def _rows(data: bytes) -> Iterator[tuple[str, str]]:
    while data:
        line, end, rest = data.partition(b"\n")
        if not end:
            raise ProtocolError(f"{len(data)} bytes at the end are less than one line")
        words = line.split()
        yield _shown(line + end), _meaning(words)
        data = rest
        size = _size_behind(words)
        if size is not None:
            if len(data) < size + 2:
                raise ProtocolError(f"{len(data)} bytes at the end are less than the data, {size} bytes and CR LF")
            yield _shown(data[: size + 2]), f"data: {size} bytes, CR LF"
            data = data[size + 2 :]


def _shown(line: bytes) -> str:
    return repr(line) if len(line) <= _SHOWN else f"{line[:_SHOWN]!r}... ({len(line)} bytes)"


def _meaning(words: list[bytes]) -> str:
    if not words:
        return "an empty line"
    if len(words) == 1 and words[0].isdigit():
        return "the new number"
    meaning = _MEANINGS.get(words[0], "unknown")
    at = _FLAGS_AT.get(words[0])
    flags = [] if at is None else [f"{word.decode('latin-1')} {_flag(words[0], word[:1])}" for word in words[at:]]
    return "; ".join((meaning, *flags))


def _flag(command: bytes, letter: bytes) -> str:
    known = META_FLAGS.get(command)
    if known is None:
        return _RETURNED.get(letter, "unknown")
    return known[letter].meaning if letter in known else "unknown"


def _size_behind(words: list[bytes]) -> int | None:
    at = _LENGTH_AT.get(words[0]) if words else None
    if at is None or len(words) <= at or not words[at].isdigit():
        return None
    return int(words[at])
