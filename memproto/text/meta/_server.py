"""The server's side of the meta dialect: it reads requests and writes their replies."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from typing import Final

from memproto import model
from memproto._wire.checks import U64, check_failure, check_number
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY, Limits
from memproto.model import AnyReply, Failure, InvalidRequest, Item, MetaEnvelope, Status
from memproto.model._checks import is_item_meta
from memproto.text._failures import error_line
from memproto.text._lines import BAD_FORMAT, COUNTS, CRLF, HUGE, STORES, Block, Parts, check_item, check_word, length_of
from memproto.text.meta import _flags
from memproto.text.meta._flags import BASE64, CODES, KEY, QUIET, UNASKED, VALUE, FlagError, parse_flags
from memproto.text.meta._keys import decoded_key
from memproto.text.meta._operations import key_of, request_of

# --- requests: what a line says

Parsed = MetaEnvelope | Block


def _refused(text: bytes, reason: str, words: list[bytes], line: bytes) -> MetaEnvelope:
    refused = InvalidRequest(Failure(Status.INVALID_ARGUMENTS, None if text == BAD_FORMAT else text), reason)
    return MetaEnvelope(refused, words[0], (), line)


def _no_key(words: list[bytes], line: bytes) -> MetaEnvelope:
    refused = InvalidRequest(Failure(Status.UNKNOWN_COMMAND), f"{words[0].decode()} without a key")
    return MetaEnvelope(refused, words[0], (), line)


def _key(words: list[bytes], encoded: bool) -> bytes:
    """The key of a command. Raises FlagError."""
    word = words[1]
    if len(word) > MAX_KEY:
        raise FlagError(BAD_FORMAT, f"key is {len(word)} bytes, limit is {MAX_KEY}")
    if not encoded:
        return word
    key = decoded_key(word)
    if key is None:
        text = _flags.JOINT.get(words[0], b"error decoding key")
        raise FlagError(text, f"key is {word!r}, not base64 with padding")
    return key


def _without_data(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if len(words) < 2:
        return _no_key(words, line)
    try:
        flags = parse_flags(words[0], words[2:])
        key = _key(words, BASE64 in flags.words)
    except FlagError as error:
        return _refused(error.text, error.reason, words, line)
    return MetaEnvelope(request_of(words[0], key, b"", flags), words[0], flags.words, line)


def _store(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if len(words) < 2:
        return _no_key(words, line)
    size = length_of(words[2]) if len(words) > 2 else None
    if size is None:
        return _refused(BAD_FORMAT, f"length is missing or not a number below {HUGE}", words, line)

    def finish(data: bytes) -> MetaEnvelope:
        return MetaEnvelope(request_of(words[0], key, data, flags), words[0], flags.words, line)

    try:
        flags = parse_flags(words[0], words[3:])
        key = _key(words, BASE64 in flags.words)
    except FlagError as error:
        return Block(size, finish, _refused(error.text, error.reason, words, line))
    if size > limits.value:
        reason = f"value is {size} bytes, limit is {limits.value}"
        # memcached drops the old item in every mode of ms, so the refused request is a Set.
        refused = InvalidRequest(Failure(Status.VALUE_TOO_LARGE), reason, model.Set(key, b""))
        return Block(size, finish, MetaEnvelope(refused, words[0], flags.words, line))
    return Block(size, finish)


def _noop(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    return MetaEnvelope(model.Noop(), words[0], (), line)


def _debug(words: list[bytes], line: bytes, limits: Limits) -> Parsed:
    if len(words) < 2:
        return _refused(BAD_FORMAT, "me without a key", words, line)
    try:
        key = _key(words, BASE64 in words[2:])
    except FlagError as error:
        return _refused(BAD_FORMAT, error.reason, words, line)
    return MetaEnvelope(model.MetaDebug(key), words[0], tuple(words[2:]), line)


#: Command word -> what reads the rest of its line.
PARSERS: dict[bytes, Callable[[list[bytes], bytes, Limits], Parsed]] = {
    b"mg": _without_data,
    b"ms": _store,
    b"md": _without_data,
    b"ma": _without_data,
    b"mn": _noop,
    b"me": _debug,
}


# --- replies: the line that says one, in the light of the flags of its request

_NO_CODES: Final[dict[int, bytes]] = {}
_NO_ITEM_META = model.ItemMeta()

# Command -> by letter the fields that come back as flags, each with the template of its number.
_RETURNED: Final = {
    command: {letter: (field, letter + b"%d") for letter, field in returned.items()}
    for command, returned in _flags.RETURNED.items()
}
_NOTHING: Final[dict[bytes, tuple[str, bytes]]] = {}

# A key that came in a line can go out in one, with any CR in it; one with these cannot stand there as it is.
_NO_WORD = re.compile(b"[\0\n ]").search


def reply_parts(reply: AnyReply, envelope: MetaEnvelope) -> Parts:
    """The bytes that answer this request, in pieces; none where ``q`` hides them.

    Raises LocalProtocolError if the reply does not answer this kind of request.
    """
    request = envelope.request
    if isinstance(request, model.Get) and isinstance(reply, model.Values):
        return _write_values(request, reply, envelope)
    if isinstance(reply, model.Stored) and isinstance(request, STORES):
        return _write_done({"cas": reply.cas}, envelope)
    if isinstance(reply, Failure):
        return _write_failure(reply, envelope)
    if isinstance(reply, model.Counter) and isinstance(request, COUNTS):
        return _write_counter(reply, envelope)
    if isinstance(reply, model.Deleted) and isinstance(request, model.Delete):
        return _write_done({}, envelope)
    if isinstance(reply, model.Ok) and isinstance(request, model.Noop):
        return (b"MN\r\n",)
    if isinstance(reply, model.MetaDebugReply) and isinstance(request, model.MetaDebug):
        return _write_debug(request.key, reply, envelope)
    raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(request).__name__}")


def _line(code: bytes, words: list[bytes]) -> Parts:
    return (b" ".join((code, *words)) + CRLF,)


def _line_and_value(words: list[bytes], value: bytes) -> Parts:
    return b" ".join((b"VA", b"%d" % len(value), *words)) + CRLF, value, CRLF


def _key_flag(key: bytes, encoded: bool) -> bytes:
    """What ``k`` returns: a base64 key has a bare ``b`` behind it."""
    return b"k" + (b64encode(key) + b" b" if encoded or _NO_WORD(key) else key)


def _returned(envelope: MetaEnvelope, numbers: dict[str, int], item: Item | None = None) -> list[bytes]:
    """The flags that come back, in the order of the request; ``numbers`` are the fields that this reply has."""
    returned = _RETURNED.get(envelope.command, _NOTHING)
    words = []
    for word in envelope.flags:
        flag = returned.get(word[:1])
        if flag is None:
            continue
        field, template = flag
        if field == "opaque":
            words.append(word)
        elif field == "key":
            encoded = BASE64 in envelope.flags if item is None else item.base64
            words.append(_key_flag(key_of(envelope.request) if item is None else item.key, encoded))
        elif field in numbers:
            words.append(template % numbers[field])
        elif item is not None:
            numbers = _details_of(item, numbers)
            words.append(template % numbers[field])
    return words


def _write_values(request: model.Get, reply: model.Values, envelope: MetaEnvelope) -> Parts:
    flags = envelope.flags
    if not reply.items:
        return () if QUIET in flags else _line(b"EN", _returned_by_failure(envelope))
    if len(reply.items) != 1:
        raise LocalProtocolError(f"items are {len(reply.items)}, one meta reply carries 1")
    (item,) = reply.items
    if not is_item_meta(item.meta) or type(item.value) is not bytes or item.flags >> 32 or item.cas >> 64:
        check_item(item)
    asked = request.keys[0]
    if item.key != asked and KEY in flags:
        raise LocalProtocolError(f"key of the item is {item.key!r}, asked was {asked!r}")
    words = _returned(envelope, {"flags": item.flags, "cas": item.cas}, item)
    meta = item.meta
    if meta is not None and (meta.lost or meta.stale or meta.won):
        words += [letter for letter, present in zip(UNASKED, (meta.lost, meta.stale, meta.won), strict=True) if present]
    if VALUE not in flags or (meta is not None and meta.unchanged):
        return _line(b"HD", words)
    return _line_and_value(words, item.value)


def _details_of(item: Item, numbers: dict[str, int]) -> dict[str, int]:
    """These numbers of an item, and those that are seldom asked for."""
    meta = item.meta or _NO_ITEM_META
    return numbers | {
        "size": len(item.value) if meta.size is None else meta.size,
        "ttl": meta.ttl,
        "hit_before": meta.hit_before,
        "last_access": meta.last_access,
    }


def _write_done(numbers: dict[str, int], envelope: MetaEnvelope) -> Parts:
    return () if QUIET in envelope.flags else _line(b"HD", _returned(envelope, numbers))


def _write_counter(reply: model.Counter, envelope: MetaEnvelope) -> Parts:
    numbers = {"cas": reply.cas, "ttl": (reply.meta or _NO_ITEM_META).ttl}
    if VALUE not in envelope.flags or QUIET in envelope.flags:
        return _write_done(numbers, envelope)
    check_number("counter", reply.value, 0, U64)
    return _line_and_value(_returned(envelope, numbers), b"%d" % reply.value)


def _write_debug(key: bytes, reply: model.MetaDebugReply, envelope: MetaEnvelope) -> Parts:
    for name, value in reply.fields:
        for part in (name, value):
            check_word("field", part)
            if b"=" in part:
                raise LocalProtocolError(f"field is {part!r}, must hold no =")
    word = b64encode(key) if BASE64 in envelope.flags or _NO_WORD(key) else key
    return _line(b"ME", [word, *(name + b"=" + value for name, value in reply.fields)])


def _write_failure(failure: Failure, envelope: MetaEnvelope) -> Parts:
    check_failure(failure)
    request, status = envelope.request, failure.status
    if status == Status.KEY_NOT_FOUND and isinstance(request, model.Get):
        return () if QUIET in envelope.flags else _line(b"EN", _returned_by_failure(envelope))
    if status == Status.KEY_NOT_FOUND and isinstance(request, model.MetaDebug):
        # Of the words behind the key memcached looks at b and no other.
        return _line(b"EN", [])
    # With a CAS they compare it, as a Set does.
    kind = model.Set if isinstance(request, model.Add | model.Replace) and request.cas else type(request)
    code = CODES.get(kind, _NO_CODES).get(status)
    return (error_line(failure),) if code is None else _line(code, _returned_by_failure(envelope))


def _returned_by_failure(envelope: MetaEnvelope) -> list[bytes]:
    return _returned(envelope, _flags.RETURNED_BY_FAILURES.get(envelope.command, {}))
