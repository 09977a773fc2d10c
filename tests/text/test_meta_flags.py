"""The table of the meta flags is what the readers and writers of both sides do."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AnyReply,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    Item,
    ItemMeta,
    LocalProtocolError,
    MetaEnvelope,
    MetaOptions,
    Replace,
    Set,
    Status,
    Stored,
    Values,
)
from memproto.text import decode_request, encode_reply, meta_envelope
from memproto.text.meta._flags import FLAGS_OF, Flag, Returned, Token

_TOKENS = {
    Token.NONE: b"",
    Token.ANY: b"x",
    Token.OPAQUE: b"7",
    Token.NUMBER32: b"60",
    Token.FLAGS: b"60",
    Token.NUMBER64: b"60",
    Token.MODE: b"",
}
_REQUESTS: dict[bytes, Get | Set | Delete | Increment] = {
    b"mg": Get((b"k",)),
    b"ms": Set(b"k", b"v"),
    b"md": Delete(b"k"),
    b"ma": Increment(b"k"),
}
_SUCCESSES: dict[bytes, AnyReply] = {
    b"mg": Values((Item(b"k", b"v", 1, 2, meta=ItemMeta(3, True, 4)),)),
    b"ms": Stored(2),
    b"md": Deleted(2),
    b"ma": Counter(1, 2, ItemMeta(3)),
}
_FLAGS = [(command, flag) for command, table in FLAGS_OF.items() for flag in table.values()]
_SETTING = [(command, flag) for command, flag in _FLAGS if flag.field or flag.option]


def _decoded(command: bytes, *words: bytes) -> MetaEnvelope:
    line = b" ".join((command, b"aaaa", *([b"1"] if command == b"ms" else []), *words))
    envelope = decode_request(line + b"\r\n" + (b"v\r\n" if command == b"ms" else b""))
    assert isinstance(envelope, MetaEnvelope)
    return envelope


def _word(flag: Flag) -> bytes:
    return flag.letter + (b"S" if flag.token is Token.MODE else _TOKENS[flag.token])


@pytest.mark.parametrize(("command", "flag"), _FLAGS, ids=lambda each: getattr(each, "letter", each))
def test_reply_has_a_flag_exactly_where_the_table_says_that_it_is_returned(command: bytes, flag: Flag) -> None:
    if flag.letter == b"M":
        assert flag.returned is Returned.NEVER
        return
    envelope = MetaEnvelope(_REQUESTS[command], command, (_word(flag),))
    # A get fails by a miss, a store by NOT_STORED.
    status = Status.NOT_STORED if command == b"ms" else Status.KEY_NOT_FOUND
    success = encode_reply(_SUCCESSES[command], envelope).split(b"\r\n")[0].split(b" ")[1:]
    failure = encode_reply(Failure(status), envelope).split()[1:]
    letters = [word[:1] for word in success if not word.isdigit()]
    assert letters == ([] if flag.returned is Returned.NEVER else [flag.letter])
    assert [word[:1] for word in failure] == ([flag.letter] if flag.returned is Returned.ALWAYS else [])


@pytest.mark.parametrize(("command", "flag"), _SETTING, ids=lambda each: getattr(each, "letter", each))
def test_reader_sets_the_field_that_the_table_names(command: bytes, flag: Flag) -> None:
    # Of a delete only an item that stays has options.
    stays = [b"I"] if command == b"md" and flag.option and flag.letter not in (b"I", b"b") else []
    request = _decoded(command, *stays, _word(flag)).request
    assert isinstance(request, Get | Set | Delete | Increment)
    expected: object = 60 if flag.token is not Token.NONE else flag.sets
    if flag.field:
        assert getattr(request, flag.field) == expected
    elif (command, flag.letter) == (b"md", b"b"):
        assert request.meta is None
    else:
        assert request.meta is not None
        assert getattr(request.meta, flag.option) == expected


@pytest.mark.parametrize(("command", "flag"), _SETTING, ids=lambda each: getattr(each, "letter", each))
def test_writer_writes_the_flag_of_the_field_that_the_table_names(command: bytes, flag: Flag) -> None:
    value: object = 60 if flag.token is not Token.NONE else flag.sets
    if flag.field:
        request = _REQUESTS[command].replace(**{flag.field: value})
    else:
        stays = {"invalidate": True} if command == b"md" else {}
        request = _REQUESTS[command].replace(meta=MetaOptions().replace(**(stays | {flag.option: value})))
    assert isinstance(request, Get | Set | Delete | Increment)
    assert _word(flag) in meta_envelope(request).flags


@pytest.mark.parametrize(
    ("request_", "flags"),
    [
        (Get((b"k",), 5, MetaOptions(3, 4, False, 6, 7, base64=True, details=True)), b"R4 C6 E7 u T5 N3 h l t b"),
        (Get((b"k",), 5, MetaOptions(3, 4, details=True, ttl_first=True)), b"R4 h l t T5 N3"),
        (Add(b"k", b"", 1, 2, 0, MetaOptions(3, new_cas=5, invalidate=True, base64=True)), b"ME F1 T2 E5 I b N3"),
        (Replace(b"k", b"", 1, 2, 3), b"F1 T2 C3"),
        (Delete(b"k", -1, MetaOptions(new_cas=5, invalidate=True, exptime=6, drop_value=True)), b"C0 I x T6 E5"),
        (Decrement(b"k", 1, 2, 3, 4, MetaOptions(exptime=5, new_cas=6, details=True)), b"MD D1 C4 T5 N3 J2 t E6"),
        (
            Increment(b"k", 1, 2, 3, 4, MetaOptions(exptime=5, details=True, ttl_first=True, base64=True)),
            b"MI D1 C4 t T5 N3 J2 b",
        ),
    ],
    ids=lambda each: each if isinstance(each, bytes) else "",
)
def test_writer_keeps_the_order_of_the_table(request_: Get | Add | Delete | Decrement, flags: bytes) -> None:
    assert b" ".join(meta_envelope(request_).flags) == flags


@pytest.mark.parametrize(
    ("words", "exptime", "options"),
    [
        ((b"T5", b"N3"), 5, MetaOptions(vivify=3)),
        ((b"N3", b"T5"), 5, MetaOptions(vivify=5)),
        ((b"t", b"N3", b"T5"), 5, MetaOptions(vivify=5, details=True, ttl_first=True)),
        ((b"T5", b"N3", b"h"), 5, MetaOptions(vivify=3, details=True)),
        # What belongs to other commands, or to proxies, is ignored; so is what stands behind a letter without a token.
        ((b"J3", b"D4", b"F5", b"Pxx", b"MX", b"I", b"vjunk"), None, MetaOptions()),
    ],
)
def test_flags_of_a_get_act_from_left_to_right(words: tuple[bytes, ...], exptime: int, options: MetaOptions) -> None:
    assert _decoded(b"mg", *words).request == Get((b"aaaa",), exptime, options)


@pytest.mark.parametrize(
    ("words", "exptime"), [((b"T5", b"N3"), 3), ((b"N3", b"T5"), 5)], ids=["T before N", "N before T"]
)
def test_flags_of_a_count_act_from_left_to_right(words: tuple[bytes, ...], exptime: int) -> None:
    assert _decoded(b"ma", *words).request == Increment(b"aaaa", 1, 0, exptime, 0, MetaOptions(exptime=5))


def test_envelope_carries_each_flag_without_what_nobody_looks_at() -> None:
    assert _decoded(b"mg", b"vjunk", b"kx", b"O12", b"T5").flags == (b"v", b"k", b"O12", b"T5")


@pytest.mark.parametrize("asked", [b"vjunk", b"v c", b"", b"O\r"])
def test_asked_flag_that_is_no_word_is_refused(asked: bytes) -> None:
    with pytest.raises(LocalProtocolError, match=r"^flags are \(.*\), not words of a line$"):
        meta_envelope(Get((b"k",)), asked)


def test_two_items_are_no_reply_to_a_meta_get() -> None:
    envelope = MetaEnvelope(Get((b"k",)), b"mg", (b"v",))
    with pytest.raises(LocalProtocolError, match=r"^items are 2, one meta reply carries 1$"):
        encode_reply(Values((Item(b"k", b""), Item(b"k", b""))), envelope)


def test_item_of_another_key_is_no_reply_to_a_meta_get_that_asks_for_the_key() -> None:
    envelope = MetaEnvelope(Get((b"k",)), b"mg", (b"v", b"k"))
    with pytest.raises(LocalProtocolError, match=r"^key of the item is b'x', asked was b'k'$"):
        encode_reply(Values((Item(b"x", b""),)), envelope)
