"""Meta replies, both ways. A reply is written, and read, in the light of its request's flags."""

from __future__ import annotations

import re
from collections.abc import Callable

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64, check_failure, check_number
from memproto._wire.exchange import LineCollector, too_large
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.model import (
    Add,
    AnyReply,
    Append,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    Item,
    ItemMeta,
    MetaDebug,
    MetaDebugReply,
    MetaEnvelope,
    Noop,
    Ok,
    Prepend,
    Replace,
    Request,
    Set,
    Status,
    Stored,
    Values,
)
from memproto.model._checks import is_item_meta
from memproto.text._failures import error_line, failure_in, unexpected
from memproto.text._lines import COUNTS, CRLF, check_item, check_word, take_line, unsigned, words_of
from memproto.text.meta._flags import base64_word, decoded_key

Parts = tuple[bytes, ...]

# The requests to which NS, EX and NF are answers.
_CODED = (Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement)

_HD, _VA, _EN, _NS, _EX, _NF = b"HD", b"VA", b"EN", b"NS", b"EX", b"NF"


# --- writing


# A key that came in a line can go out in one, with any CR in it; one with these cannot stand there as it is.
_NO_WORD = re.compile(b"[\0\n ]").search


def _key_flag(key: bytes, encoded: bool) -> bytes:
    """What ``k`` returns: a base64 key has a bare ``b`` behind it."""
    return b"k" + (base64_word(key) + b" b" if encoded or _NO_WORD(key) else key)


def _key_of(request: Request[object]) -> bytes:
    if isinstance(request, Get):
        return request.keys[0]
    key: bytes = getattr(request, "key", b"")
    return key


def _echoes(envelope: MetaEnvelope) -> list[bytes]:
    """What a failure still returns: the opaque and the key, and from ms a CAS of 0."""
    words = []
    for word in envelope.flags:
        letter = word[:1]
        if letter == b"O":
            words.append(word)
        elif letter == b"k":
            words.append(_key_flag(_key_of(envelope.request), b"b" in envelope.flags))
        elif letter == b"c" and envelope.command == b"ms":
            words.append(b"c0")
    return words


def _code(code: bytes, words: list[bytes]) -> Parts:
    return (b" ".join((code, *words)) + CRLF,)


def _write_values(reply: Values, envelope: MetaEnvelope) -> Parts:
    flags = envelope.flags
    if not reply.items:
        return () if b"q" in flags else _code(_EN, _echoes(envelope))
    if len(reply.items) != 1:
        raise LocalProtocolError(f"items are {len(reply.items)}, one meta reply carries 1")
    (item,) = reply.items
    words = _item_flags(item, envelope)
    with_value = b"v" in flags and not (item.meta is not None and item.meta.unchanged)
    if not with_value:
        return _code(_HD, words)
    head = b" ".join((_VA, b"%d" % len(item.value), *words)) + CRLF
    return head, item.value, CRLF


_NOTHING_TOLD = ItemMeta()
_DETAILS: dict[bytes, Callable[[Item, ItemMeta], bytes]] = {
    b"s": lambda item, meta: b"s%d" % (len(item.value) if meta.size is None else meta.size),
    b"t": lambda _, meta: b"t%d" % meta.ttl,
    b"h": lambda _, meta: b"h%d" % meta.hit_before,
    b"l": lambda _, meta: b"l%d" % meta.last_access,
}


def _item_flags(item: Item, envelope: MetaEnvelope) -> list[bytes]:
    words = []
    meta = item.meta or _NOTHING_TOLD
    if not is_item_meta(item.meta) or type(item.value) is not bytes or item.flags >> 32 or item.cas >> 64:
        check_item(item)
    for word in envelope.flags:
        letter = word[:1]
        if letter == b"f":
            words.append(b"f%d" % item.flags)
        elif letter == b"c":
            words.append(b"c%d" % item.cas)
        elif letter == b"k":
            asked = _key_of(envelope.request)
            if item.key != asked:
                raise LocalProtocolError(f"key of the item is {item.key!r}, asked was {asked!r}")
            words.append(_key_flag(item.key, item.base64))
        elif letter == b"O":
            words.append(word)
        elif letter in _DETAILS:
            words.append(_DETAILS[letter](item, meta))
    for letter, present in ((b"Z", meta.lost), (b"X", meta.stale), (b"W", meta.won)):
        if present:
            words.append(letter)
    return words


def _write_stored(reply: Stored, envelope: MetaEnvelope) -> Parts:
    if b"q" in envelope.flags:
        return ()
    words = []
    for word in envelope.flags:
        letter = word[:1]
        if letter == b"c":
            words.append(b"c%d" % reply.cas)
        elif letter == b"O":
            words.append(word)
        elif letter == b"k":
            words.append(_key_flag(_key_of(envelope.request), b"b" in envelope.flags))
    return _code(_HD, words)


def _write_deleted(reply: Deleted, envelope: MetaEnvelope) -> Parts:
    return () if b"q" in envelope.flags else _code(_HD, _echoes(envelope))


def _write_counter(reply: Counter, envelope: MetaEnvelope) -> Parts:
    if b"q" in envelope.flags:
        return ()
    words = []
    for word in envelope.flags:
        match word[:1]:
            case b"O":
                words.append(word)
            case b"k":
                words.append(_key_flag(_key_of(envelope.request), b"b" in envelope.flags))
            case b"c":
                words.append(b"c%d" % reply.cas)
            case b"t":
                words.append(b"t%d" % (reply.meta or ItemMeta()).ttl)
    if b"v" not in envelope.flags:
        return _code(_HD, words)
    check_number("counter", reply.value, 0, U64)
    text = b"%d" % reply.value
    return (b" ".join((_VA, b"%d" % len(text), *words)) + CRLF + text + CRLF,)


def _write_debug(reply: MetaDebugReply, envelope: MetaEnvelope) -> Parts:
    key = envelope.request.key if isinstance(envelope.request, MetaDebug) else b""
    for name, value in reply.facts:
        for part in (name, value):
            check_word("fact", part)
            if b"=" in part:
                raise LocalProtocolError(f"fact is {part!r}, must hold no =")
    word = base64_word(key) if b"b" in envelope.flags or _NO_WORD(key) else key
    return _code(b"ME", [word, *(name + b"=" + value for name, value in reply.facts)])


def reply_parts(reply: AnyReply, envelope: MetaEnvelope) -> Parts:
    """The bytes that answer this request, in pieces; none where ``q`` hides them.

    Raises LocalProtocolError if the reply does not answer this kind of request.
    """
    request = envelope.request
    match request, reply:
        case Get(), Values():
            return _write_values(reply, envelope)
        case ((Set() | Add() | Replace() | Append() | Prepend()), Stored()):
            return _write_stored(reply, envelope)
        case ((Increment() | Decrement()), Counter()):
            return _write_counter(reply, envelope)
        case Delete(), Deleted():
            return _write_deleted(reply, envelope)
        case Noop(), Ok():
            return (b"MN\r\n",)
        case MetaDebug(), MetaDebugReply():
            return _write_debug(reply, envelope)
        case _, Failure():
            return _write_failure(reply, envelope)
    raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(request).__name__}")


def _write_failure(failure: Failure, envelope: MetaEnvelope) -> Parts:
    check_failure(failure)
    request = envelope.request
    if failure.status == Status.KEY_NOT_FOUND and isinstance(request, Get):
        return () if b"q" in envelope.flags else _code(_EN, _echoes(envelope))
    if failure.status == Status.KEY_NOT_FOUND and isinstance(request, MetaDebug):
        # Of the words behind the key memcached looks at b and no other.
        return _code(_EN, [])
    code = _code_of(failure.status, request)
    if code is not None:
        return _code(code, _echoes(envelope))
    return (error_line(failure),)


def _code_of(status: int, request: Request[object]) -> bytes | None:
    if not isinstance(request, _CODED):
        return None
    plain = isinstance(request, Add | Replace) and not request.cas
    if status == Status.NOT_STORED:
        return _NS
    if status == Status.KEY_EXISTS:
        return _NS if plain and isinstance(request, Add) else _EX
    if status == Status.KEY_NOT_FOUND:
        return _NS if plain and isinstance(request, Replace) else _NF
    return None


def _status_of(code: bytes, request: Request[object]) -> Status | None:
    if code == _NS:
        if isinstance(request, Add):
            return Status.KEY_EXISTS
        return Status.KEY_NOT_FOUND if isinstance(request, Replace) else Status.NOT_STORED
    return {_EX: Status.KEY_EXISTS, _NF: Status.KEY_NOT_FOUND}.get(code)


# --- reading

# Flags that ask for facts, and what tells more of an item than its flags, CAS and key.
_ASKING = frozenset((b"h", b"l", b"t", b"N", b"R"))
_TOLD_BY_META = frozenset((b"W", b"Z", b"X"))
_MORE_NUMBERS = frozenset((b"h", b"l", b"t"))


class MetaCollector(LineCollector):
    """Reads the reply to one meta command from the head of the stream.

    With ``strict`` the reply must say whose it is in all the ways that ``flags`` ask for; else what it does not say is
    let pass, but for the key of a success.
    """

    __slots__ = ("_head", "_key_told", "_refusal", "flags", "limits", "request", "strict")

    def __init__(
        self, request: Request[object], flags: tuple[bytes, ...], limits: Limits, strict: bool = False
    ) -> None:
        self.request = request
        self.flags = flags
        self.limits = limits
        self.strict = strict
        # What a VA line says: the size of the value, how much of it is kept, and the flags.
        self._head: tuple[int, int, list[bytes]] | None = None
        self._refusal: Failure | None = None
        # Whether the reply had the key as it stands, with blanks.
        self._key_told = False

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        """The reply, ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if self._head is None:
            line = take_line(buffer, self.limits.line, self.limits.line, self.limits.bare_lf)
            if line is None:
                return None
            words = self._words_of(line)
            if words[:1] != [_VA]:
                return self._judge(line, words)
            size = unsigned(words[1], U32) if len(words) > 1 else None
            if size is None or b"v" not in self.flags or not isinstance(self.request, Get | Increment | Decrement):
                raise unexpected(line, type(self.request).__name__)
            self._head = size, size, words[2:]
            if size > self.limits.value:
                self._compare(words[2:], True)
                self._refusal = too_large(f"value is {size} bytes, limit is {self.limits.value}")
                buffer.discard(size)
                self._head = size, 0, []
        size, kept, flags = self._head
        if not buffer.gather(kept + 2):
            return None
        at = buffer.at
        if buffer.data[at + kept : at + kept + 2] != CRLF:
            raise RemoteProtocolError(f"value is not followed by CR LF after {size} bytes")
        buffer.at = at + kept + 2
        return self._refusal or self._success(flags, buffer.data[at : at + size])

    def _words_of(self, line: bytes) -> list[bytes]:
        """The words of a reply. The key may be several: a binary client stores keys with blanks as they are."""
        key = b" k" + _key_of(self.request)
        at = line.find(key) if b" " in key[1:] and isinstance(self.request, Get) else -1
        if at < 0 or line[at + len(key) : at + len(key) + 1] not in (b"", b" "):
            return words_of(line)
        self._key_told = True
        return words_of(line[:at] + line[at + len(key) :])

    def _judge(self, line: bytes, words: list[bytes]) -> AnyReply:
        code = words[0] if words else b""
        request = self.request
        failure = None if code == _HD else failure_in(line)
        if failure is not None:
            return failure
        if code == b"MN" and isinstance(request, Noop):
            return Ok()
        if code == b"ME" and isinstance(request, MetaDebug):
            if words[1:2] != [request.key] and decoded_key(b"".join(words[1:2])) != request.key:
                raise unexpected(line, f"MetaDebug of {request.key!r}")
            facts = [word.partition(b"=") for word in words[2:]]
            return MetaDebugReply(tuple((name, value) for name, _, value in facts))
        if code == _EN and isinstance(request, Get | MetaDebug):
            self._compare(words[1:])
            return Values() if isinstance(request, Get) else Failure(Status.KEY_NOT_FOUND)
        if isinstance(request, _CODED):
            status = None if code == _HD else _status_of(code, request)
            if status is not None:
                self._compare(words[1:])
                return Failure(status)
        # A value is left out only of what gives none, or if the client named the CAS of the one it has.
        named = isinstance(request, Get) and self._named_cas()
        lacking = b"v" in self.flags and isinstance(request, Get | Increment | Decrement) and not named
        if code != _HD or isinstance(request, Noop | MetaDebug) or lacking:
            raise unexpected(line, type(request).__name__)
        return self._success(words[1:], b"", with_value=False)

    def _named_cas(self) -> bool:
        return any(word[:1] == b"C" for word in self.flags)

    def _success(self, words: list[bytes], value: bytes, with_value: bool = True) -> AnyReply:
        self._compare(words, True)
        request = self.request
        numbers = _numbers(words)
        cas = numbers.get(b"c", 0)
        if isinstance(request, Delete):
            return Deleted(cas)
        if isinstance(request, COUNTS):
            number = unsigned(value, U64) if b"v" in self.flags else 0
            if number is None:
                raise RemoteProtocolError(f"counter is {value[:30]!r}, must be a number")
            return Counter(number, cas, ItemMeta(numbers[b"t"]) if b"t" in numbers else None)
        if isinstance(request, Get):
            base64 = b"b" in words
            meta = self._meta(words, numbers, with_value)
            return Values((Item(request.keys[0], value, numbers.get(b"f", 0), cas, base64, meta),))
        return Stored(cas)

    def _meta(self, words: list[bytes], numbers: dict[bytes, int], with_value: bool) -> ItemMeta | None:
        asked = any(word[:1] in _ASKING for word in self.flags)
        if with_value and not asked and _TOLD_BY_META.isdisjoint(words) and _MORE_NUMBERS.isdisjoint(numbers):
            return None
        meta = ItemMeta(
            ttl=numbers.get(b"t", -1),
            hit_before=bool(numbers.get(b"h", 0)),
            last_access=numbers.get(b"l", 0),
            won=b"W" in words,
            lost=b"Z" in words,
            stale=b"X" in words,
            unchanged=b"v" in self.flags and not with_value,
            size=None if with_value else numbers.get(b"s"),
        )
        return meta if asked or meta != _NOTHING_TOLD else None

    def _compare(self, words: list[bytes], success: bool = False) -> None:
        """The key and the opaque that came back must be those that were sent."""
        said = {b"k"} if self._key_told else set()
        encoded = b"b" in words
        for word in words:
            letter = word[:1]
            if letter == b"O" and word not in self.flags:
                raise RemoteProtocolError(f"opaque of the reply is {word[1:]!r}, which was not sent with this request")
            if letter == b"k" and len(word) > 1:
                key = decoded_key(word[1:]) if encoded else word[1:]
                if key != _key_of(self.request):
                    raise RemoteProtocolError(f"key of the reply is {key!r}, asked was {_key_of(self.request)!r}")
            said.add(letter)
        if b"k" in self.flags and b"k" not in said and (self.strict or success):
            raise RemoteProtocolError(f"key is missing in the reply, asked was {_key_of(self.request)!r}")
        if self.strict and b"O" not in said and any(word[:1] == b"O" for word in self.flags):
            raise RemoteProtocolError("opaque is missing in the reply, one was sent with this request")


def _numbers(words: list[bytes]) -> dict[bytes, int]:
    """The returned flags that are numbers, by letter. Raises RemoteProtocolError if one is none."""
    numbers = {}
    for word in words:
        letter, token = word[:1], word[1:]
        if letter in (b"c", b"f", b"t", b"h", b"l", b"s"):
            number = unsigned(token.removeprefix(b"-"), U64)
            if number is None:
                raise RemoteProtocolError(f"flag {letter.decode()} of the reply is {token!r}, must be a number")
            numbers[letter] = -number if token[:1] == b"-" else number
    return numbers
