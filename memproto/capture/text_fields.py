"""What the words of classic and meta messages mean. Pure.

Requests are explained by the tables of commands and flags, replies by what they were decoded to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from memproto import (
    AnyReply,
    Counter,
    Deleted,
    Envelope,
    Failure,
    Item,
    MetaEnvelope,
    Ok,
    StatsReply,
    Status,
    Stored,
    Touched,
    Values,
    VersionReply,
)
from memproto.capture.rows import Row, text_row
from memproto.capture.splitter import LENGTH_AT
from memproto.text import CLASSIC_COMMANDS, META_FLAGS, Command, Returned

__all__ = ["text_reply_rows", "text_request_rows"]

_CRLF: Final = b"\r\n"
_NOREPLY: Final = b"noreply"
_MEANINGS: Final = {
    "flags": "the client's own 32 bits, stored with the item and given back",
    "exptime": "0 never; up to 2592000 seconds from now; above that Unix time",
    "length": "bytes of data behind the line",
    "cas": "only if the item still has this CAS",
}
_REPLIES: Final[dict[type[object], str]] = {
    Stored: "it is stored",
    Deleted: "it is removed",
    Touched: "its expiry is set",
    Counter: "the new number",
    VersionReply: "the server's version",
    Ok: "it is done",
}
# Flags that only replies have.
_REPLY_FLAGS: Final = {b"W": "you are to store it again", b"X": "stale", b"Z": "another client is to store it again"}


def text_request_rows(data: bytes) -> Iterator[Row]:
    """Yield the words of a request, and its data."""
    line, _, rest = data.partition(b"\n")
    words = line.split()
    command = CLASSIC_COMMANDS.get(words[0]) if words else None
    if command is not None:
        yield text_row("command", words[0], command.request.__name__)
        yield from _classic_words(command, words[1:])
    elif words and words[0] in META_FLAGS:
        yield text_row("command", words[0])
        yield from _meta_words(words)
    else:
        yield text_row("line", line.removesuffix(b"\r"))
    if rest:
        yield text_row("data", rest.removesuffix(_CRLF))


def _classic_words(command: Command, words: list[bytes]) -> Iterator[Row]:
    at = 0
    for argument in command.arguments:
        for word in words[at : at + argument.most]:
            if argument.fewest or not command.noreply or word != _NOREPLY:
                yield text_row(argument.name, word, _MEANINGS.get(argument.name, ""))
                at += 1
    for word in words[at:]:
        is_noreply = command.noreply and word == _NOREPLY
        yield text_row("noreply", word, "no reply is wanted") if is_noreply else text_row("word", word)


def _meta_words(words: list[bytes]) -> Iterator[Row]:
    names = ("key", "length") if words[0] in LENGTH_AT else ("key",)
    for name, word in zip(names, words[1:], strict=False):
        yield text_row(name, word, _MEANINGS.get(name, ""))
    for word in words[1 + len(names) :]:
        flag = META_FLAGS[words[0]].get(word[:1])
        yield text_row("flag", word, "unknown" if flag is None else flag.meaning)


def text_reply_rows(data: bytes, envelope: Envelope | None, reply: AnyReply) -> Iterator[Row]:
    """Yield the lines of a reply, and its data. ``envelope`` is the request, if it was seen."""
    items = list(reply.items) if isinstance(reply, Values) else []
    while data:
        line, end, data = data.partition(b"\n")
        words = line.split()
        # In a multi-get of meta, replies to several commands are one.
        item = items.pop(0) if items and len(words) > 1 and end and _has_data(words, items[0]) else None
        yield text_row("line", line + end, _meaning(words, envelope, reply, item, is_last=not data))
        if item is not None and data:
            yield text_row("data", data[: len(item.value)])
            data = data[len(item.value) + len(_CRLF) :]


def _has_data(words: list[bytes], item: Item) -> bool:
    length = b"%d" % len(item.value)
    return length in words[1:4]


def _meaning(
    words: list[bytes], envelope: Envelope | None, reply: AnyReply, item: Item | None, *, is_last: bool
) -> str:
    if isinstance(reply, Failure):
        status = reply.status
        meaning = f"refused: {status.name}" if isinstance(status, Status) else "refused"
    elif item is not None:
        meaning = (
            "a value: length" if isinstance(envelope, MetaEnvelope) else "an item: key, flags, length, CAS if asked for"
        )
    elif isinstance(reply, Values):
        meaning = "the end of the items" if is_last else ""
    elif isinstance(reply, StatsReply):
        meaning = "the end of the statistics" if is_last else "a statistic: name, value"
    else:
        meaning = _REPLIES.get(type(reply), "")
    if not isinstance(envelope, MetaEnvelope):
        return meaning
    flags = META_FLAGS.get(envelope.command, {})
    explained = [meaning] if meaning else []
    for word in words[2 if item is not None else 1 :]:
        flag = flags.get(word[:1])
        if flag is not None and flag.returned is not Returned.NEVER:
            explained.append(f"{word.decode('latin-1')} {flag.meaning.removeprefix('return ')}")
        elif word in _REPLY_FLAGS:
            explained.append(f"{word.decode('latin-1')} {_REPLY_FLAGS[word]}")
    return "; ".join(explained)
