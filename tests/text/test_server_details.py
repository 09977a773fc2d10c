"""What a text server says and understands, detail by detail: keys in base64, reasons, options, foreign letters."""

from __future__ import annotations

import pytest

from memproto import (
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Get,
    Increment,
    InvalidRequest,
    Item,
    ItemMeta,
    Limits,
    MetaDebugReply,
    MetaEnvelope,
    MetaOptions,
    Ok,
    ServerConnection,
    Set,
    Status,
    Stored,
    Values,
    Verbosity,
)
from memproto.model import Envelope
from memproto.text import decode_reply, decode_request, encode_reply

MISS = Failure(Status.KEY_NOT_FOUND)
EXISTS = Failure(Status.KEY_EXISTS)
NOT_STORED = Failure(Status.NOT_STORED)
FOO, BINARY = b"foo", b"\0\xff"

#: A command whose key is base64 and which asks for it, a reply, and what memcached 1.6.18 says then.
BASE64_KEYS: list[tuple[bytes, AnyReply, bytes]] = [
    (b"mg Zm9v b k v c O1\r\n", Values((Item(FOO, b"ab", cas=1),)), b"VA 2 kfoo c1 O1\r\nab\r\n"),
    (b"mg Zm9v k b O1 v f\r\n", Values((Item(FOO, b"ab", 5, base64=True),)), b"VA 2 kZm9v b O1 f5\r\nab\r\n"),
    (b"mg foo k\r\n", Values((Item(FOO, b"ab", base64=True),)), b"HD kZm9v b\r\n"),
    (b"mg AP8= b k t\r\n", Values((Item(BINARY, b"", base64=True),)), b"HD kAP8= b t-1\r\n"),
    (b"mg Zm9v b k O1\r\n", Values(), b"EN kZm9v b O1\r\n"),
    (b"mg Zm9v b k O1\r\n", MISS, b"EN kZm9v b O1\r\n"),
    (b"mg AP8= b k\r\n", Values(), b"EN kAP8= b\r\n"),
    (b"ms Zm9v 1 b k O1 c\r\nv\r\n", Stored(3), b"HD kZm9v b O1 c3\r\n"),
    (b"ms AP8= 0 b k\r\n\r\n", Stored(), b"HD kAP8= b\r\n"),
    (b"ms Zm9v 1 b k ME\r\nv\r\n", EXISTS, b"NS kZm9v b\r\n"),
    (b"ms Zm9v 1 b k C999 O1\r\nv\r\n", EXISTS, b"EX kZm9v b O1\r\n"),
    (b"ms Zm9v 1 b k MR\r\nv\r\n", MISS, b"NS kZm9v b\r\n"),
    (b"ms Zm9v 1 b k C5 O7\r\nv\r\n", MISS, b"NF kZm9v b O7\r\n"),
    (b"ms Zm9v 1 b k MA\r\nv\r\n", NOT_STORED, b"NS kZm9v b\r\n"),
    (b"ms AP8= 1 b k MP c\r\nv\r\n", NOT_STORED, b"NS kAP8= b c0\r\n"),
    (b"md Zm9v O3 k b\r\n", Deleted(), b"HD O3 kZm9v b\r\n"),
    (b"md Zm9v b k O1\r\n", MISS, b"NF kZm9v b O1\r\n"),
    (b"md AP8= b k C9 O2\r\n", EXISTS, b"EX kAP8= b O2\r\n"),
    (b"ma Zm9v b k v O1\r\n", Counter(11), b"VA 2 kZm9v b O1\r\n11\r\n"),
    (b"ma Zm9v k b O1\r\n", Counter(11), b"HD kZm9v b O1\r\n"),
    (b"ma AP8= k b\r\n", Counter(11), b"HD kAP8= b\r\n"),
    (b"ma Zm9v k b C9 O1\r\n", EXISTS, b"EX kZm9v b O1\r\n"),
    (b"ma Zm9v b k O1\r\n", MISS, b"NF kZm9v b O1\r\n"),
    (b"ma Zm9v b k\r\n", NOT_STORED, b"NS kZm9v b\r\n"),
    # Asked in base64, answered in base64, which is a difference that is declared.
    (b"me Zm9v b\r\n", MetaDebugReply(((b"exp", b"-1"),)), b"ME Zm9v exp=-1\r\n"),
    (b"me AP8= b\r\n", MetaDebugReply(((b"exp", b"-1"),)), b"ME AP8= exp=-1\r\n"),
    (b"me Zm9v b k O1 q\r\n", MISS, b"EN\r\n"),
]


@pytest.mark.parametrize(("asked", "reply", "said"), BASE64_KEYS, ids=lambda value: repr(value)[:50])
def test_a_base64_key_comes_back_as_base64(asked: bytes, reply: AnyReply, said: bytes) -> None:
    envelope = decode_request(asked)
    assert encode_reply(reply, envelope) == said
    # A client finds its key in it.
    assert isinstance(decode_reply(said, envelope), Values if isinstance(envelope.request, Get) else type(reply))


@pytest.mark.parametrize(
    ("asked", "request_"),
    [
        (b"mg Zm9v b\r\n", Get((FOO,), None, MetaOptions(base64=True))),
        (b"ms Zm9v 0 b\r\n\r\n", Set(FOO, b"", meta=MetaOptions(base64=True))),
        (b"ma Zm9v b\r\n", Increment(FOO, meta=MetaOptions(base64=True))),
        (b"ma Zm9v b MD\r\n", Decrement(FOO, meta=MetaOptions(base64=True))),
        # A delete leaves nothing that could remember how its key was spelt.
        (b"md Zm9v b\r\n", Delete(FOO)),
    ],
)
def test_base64_flag_is_kept_in_the_options_of_all_but_delete(asked: bytes, request_: AnyRequest) -> None:
    assert decode_request(asked).request == request_


#: Letters that another command has, or none but memcached's parser: accepted, and without effect.
FOREIGN = {
    b"mg": (b"I", b"F5", b"D2", b"J3", b"MX", b"Pp", b"L", b"Lx"),
    b"ms": (b"h", b"l", b"t", b"u", b"v", b"f", b"R5", b"D2", b"J3", b"P"),
    b"md": (b"c", b"f", b"h", b"l", b"s", b"t", b"u", b"v", b"N5", b"R5", b"D2", b"J3", b"F5", b"MX", b"L1"),
    b"ma": (b"f", b"h", b"l", b"s", b"u", b"I", b"R5", b"F5", b"P1"),
}


@pytest.mark.parametrize(("command", "flag"), [(command, flag) for command in FOREIGN for flag in FOREIGN[command]])
def test_a_letter_of_another_command_is_accepted_and_ignored(command: bytes, flag: bytes) -> None:
    length, data = (b" 1", b"v\r\n") if command == b"ms" else (b"", b"")
    line = command + b" k" + length
    envelope = decode_request(line + b" " + flag + b"\r\n" + data)
    plain = decode_request(line + b"\r\n" + data)
    assert envelope.request == plain.request
    assert isinstance(envelope, MetaEnvelope)
    # What a letter without a token is followed by is not looked at.
    assert envelope.flags == (flag,)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (b"set k 0 0 x\r\n", "length is b'x', must be a number below 2147483646"),
        (b"set k 0 0 2147483646\r\n", "length is b'2147483646', must be a number below 2147483646"),
        (b"ms k x\r\n", "length is missing or not a number below 2147483646"),
        (b"ms k\r\n", "length is missing or not a number below 2147483646"),
        (b"set k x 0 0\r\n\r\n", "flags is b'x', not a number that fits"),
        (b"set k 0 x 0\r\n\r\n", "exptime is b'x', not a number that fits"),
        (b"cas k 0 0 1 x\r\n", "cas is b'x', must be 0 to 2**64 - 1"),
        (b"set " + b"k" * 251 + b" 0 0 0\r\n\r\n", "key is 251 bytes, limit is 250"),
        (b"set k 0 0\r\n", "set with 3 words behind it"),
        (b"get k" + b"k" * 250 + b"\r\n", "key is 251 bytes, limit is 250"),
        (b"gat x k\r\n", "exptime is b'x', must be a number"),
        (b"touch k x\r\n", "exptime is b'x', must be a number"),
        (b"incr k x\r\n", "delta is b'x', must be 0 to 2**64 - 1"),
        (b"delete k 1\r\n", "words behind the key are [b'1'], only 0 and noreply may stand there"),
        (b"flush_all x\r\n", "delay is b'x', must be a number"),
        (b"verbosity x\r\n", "level is b'x', must be a number"),
        (b"mg\r\n", "mg without a key"),
        (b"me\r\n", "me without a key"),
        (b"mg !! b\r\n", "key is b'!!', not base64 with padding"),
        (b"mg k v v\r\n", "flag v stands there twice"),
        (b"mg k !\r\n", "flag b'!' is not one of mg"),
        (b"mg k Tx\r\n", "token of T is b'x', must be a signed 32-bit number, an expiry"),
        (b"mg k" + b" v" * 17 + b"\r\n", "flags are 17, limit is 16"),
        (b"mg k O" + b"x" * 32 + b"\r\n", "opaque is 32 bytes, limit is 31"),
        (b"ms k 0 MX\r\n\r\n", "mode is b'X', none of b'ms'"),
        (b"ms k 0 MSS\r\n\r\n", "mode is b'SS', must be one letter"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_refusal_names_the_field_the_value_and_the_rule(asked: bytes, reason: str) -> None:
    server = ServerConnection()
    server.receive_data(asked)
    event = server.next_event()
    assert isinstance(event, Envelope)
    assert isinstance(event.request, InvalidRequest)
    assert event.request.reason == reason


@pytest.mark.parametrize("flags", [(), (b"c", b"O1"), (b"ME", b"k")])
def test_a_meta_value_that_is_too_large_keeps_command_and_flags(flags: tuple[bytes, ...]) -> None:
    server = ServerConnection(Limits(value=3))
    server.receive_data(b" ".join((b"ms key 4", *flags)) + b"\r\n")
    event = server.next_event()
    assert isinstance(event, MetaEnvelope)
    assert (event.command, event.flags) == (b"ms", flags)
    assert isinstance(event.request, InvalidRequest)
    assert event.request.reply == Failure(Status.VALUE_TOO_LARGE)
    assert event.request.reason == "value is 4 bytes, limit is 3"
    assert event.request.request == Set(b"key", b"")
    assert server.send(event.request.reply, event) == b"SERVER_ERROR object too large for cache\r\n"


@pytest.mark.parametrize("words", [b"", b" 0", b" noreply", b" 0 noreply"])
def test_a_delete_may_have_a_zero_and_noreply(words: bytes) -> None:
    envelope = decode_request(b"delete k" + words + b"\r\n")
    assert envelope.request == Delete(b"k")
    assert encode_reply(Deleted(), envelope) == (b"" if words.endswith(b"noreply") else b"DELETED\r\n")


@pytest.mark.parametrize("words", [(b"shutdown",), (b"shutdown", b"graceful"), (b"shutdown", b"x", b"y")])
def test_a_server_that_obeys_shutdown_says_nothing(words: tuple[bytes, ...]) -> None:
    envelope = decode_request(b" ".join(words) + b"\r\n")
    assert envelope.request == AdminCommand(words)
    assert encode_reply(AdminReply(()), envelope) == b""


@pytest.mark.parametrize(
    ("flag", "meta"),
    [
        (b"t5", ItemMeta(ttl=5)),
        (b"h1", ItemMeta(hit_before=True)),
        (b"l7", ItemMeta(last_access=7)),
        (b"W", ItemMeta(won=True)),
        (b"Z", ItemMeta(lost=True)),
        (b"X", ItemMeta(stale=True)),
        # As nothing was told.
        (b"t-1", None),
        (b"f0", None),
    ],
)
def test_what_a_server_tells_unasked_is_kept(flag: bytes, meta: ItemMeta | None) -> None:
    reply = decode_reply(b"VA 1 " + flag + b"\r\nv\r\n", decode_request(b"mg k v\r\n"))
    assert reply == Values((Item(b"k", b"v", meta=meta),))


def test_verbosity_without_a_level_is_silent_and_sets_level_zero() -> None:
    envelope = decode_request(b"verbosity noreply\r\n")
    assert envelope.request == Verbosity(0)
    assert encode_reply(Ok(), envelope) == b""
