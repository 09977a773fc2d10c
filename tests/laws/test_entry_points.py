"""What a user hands in with a wrong type is refused where it enters, and nothing changes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import pytest

from memproto import (
    OPCODES,
    AnyReply,
    AnyRequest,
    BinaryEnvelope,
    Body,
    ClassicEnvelope,
    ClientConnection,
    Dialect,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    MetaDebug,
    MetaEnvelope,
    Noop,
    Ok,
    Opcode,
    OpcodeSpec,
    Packet,
    Quiet,
    ReceiveBuffer,
    ServerConnection,
    ServerDialect,
    ServerState,
    Set,
    Signal,
    Stored,
    Values,
    binary,
    decode_packet,
    encode_packet,
    text,
    translate,
    translate_reply,
    udp,
)
from memproto.commands import RAW, Commands, Serde, authenticate
from memproto.conventions import serde
from memproto.engine import Engine
from memproto.testing import Pipe, pieces, replies_to, text_replies_to
from memproto.udp import ReassemblyLimits
from tests.support.wrong_types import REPLIES, REQUESTS, wrong_replies, wrong_requests

GET = b"\x80\x00" + bytes.fromhex("0001 00000000 00000001 00000000 0000000000000000") + b"k"
GETK = b"\x80\x0c" + GET[2:]

GET_KEY = GET[:1] + b"\x0c" + GET[2:]


def server(data: bytes) -> tuple[ServerConnection, Envelope]:
    connection = ServerConnection()
    connection.receive_data(data)
    event = connection.next_event()
    assert isinstance(event, Envelope)
    return connection, event


# --- replies


# What is not written of an item is not looked at: its key where the request has it, what only meta says elsewhere.
ONLY_META = re.compile(r"items\[[01]\]\.(meta|base64)")
ONLY_META_OR_KEY = re.compile(r"items\[[01]\]\.(meta|base64)|items\[0\]\.key")
BASE64 = re.compile(r"items\[0\]\.base64")
BASE64_OR_KEY = re.compile(r"items\[0\]\.(base64|key)")


@pytest.mark.parametrize(
    ("data", "unwritten"),
    [
        (GET, ONLY_META_OR_KEY),
        (b"get k\r\n", ONLY_META),
        (b"mg k v f c k\r\n", BASE64),
        (b"mg k\r\n", BASE64_OR_KEY),
    ],
    ids=["binary", "classic", "mg", "HD"],
)
def test_every_wrong_field_of_every_reply_is_refused_by_send_and_nothing_changes(
    data: bytes, unwritten: re.Pattern[str]
) -> None:
    connection, event = server(data)
    checked = 0
    for wrong in wrong_replies():
        if unwritten.match(wrong.field):
            continue
        for send in (connection.send, connection.send_parts):
            with pytest.raises(LocalProtocolError) as caught:
                send(wrong.message, to=event)  # type: ignore[arg-type]
            assert str(caught.value).startswith(wrong.field), wrong
            assert connection.outstanding == 1
        checked += 1
    assert checked > (800 if unwritten in (BASE64, BASE64_OR_KEY) else 500)
    assert connection.send(Values((Item(b"k", b"v"),)), to=event)
    assert connection.outstanding == 0


@pytest.mark.parametrize("wrong", [None, "v", 5, bytearray(b"v"), memoryview(b"v")], ids=repr)
@pytest.mark.parametrize(
    "data", [GET, GETK, b"get k\r\n", b"gets k\r\n", b"mg k v\r\n", b"mg k v k f c\r\n", b"mg k\r\n"], ids=repr
)
def test_a_value_that_is_no_bytes_is_refused_if_it_is_the_only_one(data: bytes, wrong: object) -> None:
    connection, event = server(data)
    reply = Values((Item(b"k", wrong),))  # type: ignore[arg-type]
    for send in (connection.send, connection.send_parts):
        with pytest.raises(LocalProtocolError, match=r"^items\[0\]\.value is \w+, must be bytes$"):
            send(reply, to=event)
        assert connection.outstanding == 1
    assert connection.send(Values((Item(b"k", b"v"),)), to=event)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_wrong_reply_to_any_request_is_refused_by_encode_reply(request_: AnyRequest) -> None:
    for wrong in wrong_replies()[::7]:
        with pytest.raises(LocalProtocolError) as caught:
            binary.encode_reply(wrong.message, BinaryEnvelope(request_, 0))  # type: ignore[arg-type]
        assert str(caught.value).startswith(wrong.field), wrong
        for to in (ClassicEnvelope(request_, b"x"), MetaEnvelope(request_, b"x")):
            with pytest.raises(LocalProtocolError) as caught:
                text.encode_reply(wrong.message, to)  # type: ignore[arg-type]
            assert str(caught.value).startswith(wrong.field), wrong


@pytest.mark.parametrize("reply", [None, "OK", b"OK", Get((b"k",)), Item(b"k", b"v"), Stored, 0], ids=repr)
def test_what_is_no_reply_is_refused_by_send(reply: object) -> None:
    connection, event = server(GET)
    with pytest.raises(LocalProtocolError, match=r"^reply is .*, must be a reply, such as Values or Failure$"):
        connection.send(reply, to=event)  # type: ignore[arg-type]
    assert connection.outstanding == 1


@pytest.mark.parametrize("to", [None, Get((b"k",)), b"get", 1, Envelope])
def test_what_is_no_envelope_is_refused_by_send(to: object) -> None:
    connection, _ = server(GET)
    with pytest.raises(LocalProtocolError, match=r"^to is .*, must be the envelope that next_event\(\) gave, not its"):
        connection.send(Values(), to=to)  # type: ignore[arg-type]
    assert connection.outstanding == 1


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_a_reply_whose_types_are_right_is_sent_or_does_not_answer(reply: AnyReply) -> None:
    connection, event = server(GET)
    if isinstance(reply, Values | Failure):
        connection.send(reply, to=event)
        return
    with pytest.raises(LocalProtocolError, match="does not answer Get"):
        connection.send(reply, to=event)


@pytest.mark.parametrize("data", [GET_KEY, b"get k\r\n", b"mg k v k\r\n"], ids=["binary", "classic", "meta"])
def test_an_item_of_another_key_is_refused_where_its_key_is_written(data: bytes) -> None:
    connection, event = server(data)
    with pytest.raises(LocalProtocolError, match=r"^key of (the|an) item is b'other', "):
        connection.send(Values((Item(b"other", b"v"),)), to=event)
    assert connection.send(Values((Item(b"k", b"v"),)), to=event)


# --- requests


Encode = Callable[[AnyRequest], object]


@pytest.mark.parametrize(
    "encode",
    [
        lambda request: binary.encode_request(BinaryEnvelope(request, Opcode.SET)),
        lambda request: text.encode_request(ClassicEnvelope(request, b"set")),
        lambda request: text.encode_request(MetaEnvelope(request, b"ms")),
        lambda request: text.encode_request(MetaEnvelope(request, b"ms", (), b"ms k 1")),
    ],
    ids=["binary", "classic", "meta", "line"],
)
def test_every_wrong_field_of_every_request_is_refused_by_encode_request(encode: Encode) -> None:
    checked = 0
    for wrong in wrong_requests():
        with pytest.raises(LocalProtocolError) as caught:
            encode(wrong.message)  # type: ignore[arg-type]
        assert str(caught.value).startswith(f"request.{wrong.field}"), wrong
        checked += 1
    assert checked > 1500


@pytest.mark.parametrize(
    ("envelope", "words"),
    [
        (Get((b"k",)), "envelope is Get, must be a BinaryEnvelope"),
        (ClassicEnvelope(Noop(), b"mn"), "envelope is ClassicEnvelope, must be a BinaryEnvelope"),
        (BinaryEnvelope(Noop(), "noop"), "opcode is str, must be an int"),  # type: ignore[arg-type]
        (BinaryEnvelope(Noop(), 10, opaque=b"1"), "opaque is bytes, must be an int"),  # type: ignore[arg-type]
        (BinaryEnvelope("get", 0), "request is str, must be a Request"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_envelope_is_refused_in_binary(envelope: BinaryEnvelope, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        binary.encode_request(envelope)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("envelope", "words"),
    [
        (Get((b"k",)), "envelope is Get, must be a ClassicEnvelope or a MetaEnvelope"),
        (BinaryEnvelope(Noop(), 10), "envelope is BinaryEnvelope, must be a ClassicEnvelope or a MetaEnvelope"),
        (ClassicEnvelope(Get((b"k",)), "get"), "verb is str, must be bytes"),  # type: ignore[arg-type]
        (MetaEnvelope(Get((b"k",)), b"mg", [b"v"]), "flags is list, must be a tuple of bytes"),  # type: ignore[arg-type]
        (MetaEnvelope(Get((b"k",)), b"mg", ("v",)), "flags[0] is str, must be bytes"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_envelope_is_refused_in_text(envelope: ClassicEnvelope, words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        text.encode_request(envelope)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "call",
    [
        lambda: binary.decode_reply(b"", Get((b"k",))),  # type: ignore[arg-type]
        lambda: text.decode_reply(b"", Get((b"k",))),  # type: ignore[arg-type]
        lambda: binary.encode_reply(Ok(), Noop()),  # type: ignore[arg-type]
        lambda: text.encode_reply(Ok(), Noop()),  # type: ignore[arg-type]
    ],
)
def test_a_request_in_the_place_of_its_envelope_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError, match=r"^to is (Get|Noop), must be a (Binary|Classic)Envelope"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: text.meta_envelope("get"),  # type: ignore[arg-type]
        lambda: text.meta_envelope(Get("k")),  # type: ignore[arg-type]
        lambda: text.meta_envelope(MetaDebug("k")),  # type: ignore[arg-type]
        lambda: text.meta_envelope(Increment(b"k", 1.5)),  # type: ignore[arg-type]
        lambda: text.meta_envelope(Get((b"k",)), "v"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_type_is_refused_by_meta_envelope(call: Callable[[], object]) -> None:
    with pytest.raises(LocalProtocolError, match=r" is \w+, must be "):
        call()


# --- bytes


@pytest.mark.parametrize("data", [5, "get k\r\n", None, [1, 2], Get((b"k",))], ids=repr)
def test_what_is_not_bytes_is_refused_where_bytes_are_read(data: object) -> None:
    connection = ServerConnection()
    for read in (
        connection.receive_data,
        binary.decode_request,
        text.decode_request,
        lambda data: binary.decode_reply(data, BinaryEnvelope(Noop(), 10)),
        lambda data: text.decode_reply(data, MetaEnvelope(Noop(), b"mn")),
    ):
        with pytest.raises(LocalProtocolError, match=r"^data is .*, must be bytes, a bytearray or a memoryview$"):
            read(data)  # type: ignore[arg-type]
    assert connection.buffered == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_object_of_bytes_may_be_received_and_values_are_bytes(kind: type[bytes]) -> None:
    connection = ServerConnection()
    connection.receive_data(kind(b"set k 0 0 1\r\nv\r\n"))
    event = connection.next_event()
    assert isinstance(event, Envelope)
    assert event.request == Set(b"k", b"v")
    read = text.decode_request(kind(b"set k 0 0 1\r\nv\r\n")).request
    assert isinstance(read, Set)
    assert type(read.value) is bytes


# --- constructors


class _Codec(ServerDialect):
    def read(self, buffer: ReceiveBuffer) -> Envelope | None:
        return None

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        return ()


class _Wrong(NamedTuple):
    arguments: dict[str, object]
    words: str


_ALL = "(Dialect.BINARY, Dialect.CLASSIC, Dialect.META)"
_WRONG = [
    _Wrong({"dialect": "meta"}, f"dialect is 'meta', must be a member of Dialect {_ALL}; a codec of your own is"),
    _Wrong({"dialect": _Codec()}, f"dialect is _Codec, must be a member of Dialect {_ALL}; a codec of your own is"),
    _Wrong({"dialect": Dialect}, "dialect is the class Dialect, must be a member"),
    _Wrong({"dialect": 0}, "dialect is 0, must be a member"),
    _Wrong({"dialects": {"meta"}}, f"one of the dialects is 'meta', must be a member of Dialect {_ALL}"),
    _Wrong({"dialects": [Dialect.META, None]}, "one of the dialects is None, must be a member"),
    _Wrong({"dialects": "meta"}, "dialects is 'meta', must be a collection of Dialect members"),
    _Wrong({"dialects": Dialect.META}, "dialects is Dialect.META, must be a collection of Dialect members"),
    _Wrong({"dialects": iter([Dialect.META])}, "dialects is list_iterator, must be a collection of Dialect members"),
    _Wrong({"dialects": []}, "dialects are none, at least one must be allowed"),
    _Wrong({"dialect": Dialect.META, "dialects": [Dialect.META]}, "dialect and dialects are given, at most one"),
    _Wrong({"dialects": [Dialect.META], "codec": _Codec()}, "dialects and codec are given, at most one of them"),
    _Wrong({"dialect": Dialect.META, "codec": _Codec()}, "dialect and codec are given, at most one of them"),
    _Wrong({"codec": Dialect.META}, "codec is Dialect.META, must be an object with the methods of ServerDialect"),
    _Wrong({"codec": _Codec}, "codec is the class _Codec, must be an object with the methods of ServerDialect"),
    _Wrong({"codec": "lite"}, "codec is 'lite', must be an object with the methods of ServerDialect"),
    _Wrong({"limits": Dialect.META}, "limits is Dialect.META, must be a Limits"),
    _Wrong({"limits": 1024}, "limits is 1024, must be a Limits"),
    _Wrong({"limits": 0}, "limits is 0, must be a Limits"),
    _Wrong({"auth_required": None}, "auth_required is None, must be True or False"),
    _Wrong({"auth_required": "no"}, "auth_required is 'no', must be True or False"),
    _Wrong({"opcodes": [0x94]}, "opcodes[0] is 148, must be an OpcodeSpec"),
    _Wrong({"opcodes": 0x94}, "opcodes is 148, must be an iterable of OpcodeSpec"),
    _Wrong({"opcodes": b"\x94"}, "opcodes is b'\\x94', must be an iterable of OpcodeSpec"),
    _Wrong({"opcodes": OpcodeSpec(0x94, "GETL")}, "opcodes is OpcodeSpec, must be an iterable of OpcodeSpec"),
    _Wrong({"opcodes": {0x94: OpcodeSpec(0x94, "GETL")}}, "opcodes[0] is 148, must be an OpcodeSpec"),
]


@pytest.mark.parametrize("wrong", _WRONG, ids=lambda wrong: wrong.words[:40])
def test_a_wrong_argument_of_a_server_connection_is_refused_by_an_error_that_says_what_is_expected(
    wrong: _Wrong,
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        ServerConnection(**wrong.arguments)  # type: ignore[arg-type]
    assert str(caught.value).startswith(wrong.words)


def test_nothing_is_set_on_a_member_of_dialect() -> None:
    ServerConnection(dialect=Dialect.BINARY, auth_required=True)
    assert all(set(vars(member)) == set(vars(Dialect.META)) for member in Dialect)
    assert not hasattr(Dialect.BINARY, "locked")


@pytest.mark.parametrize("data", [GET, b"get k\r\n", b"mg k\r\n"], ids=["binary", "classic", "meta"])
@pytest.mark.parametrize("dialect", Dialect)
def test_a_dialect_alone_is_the_same_as_a_collection_of_it(dialect: Dialect, data: bytes) -> None:
    seen = []
    for connection in (
        ServerConnection(dialect=dialect),
        ServerConnection(dialects=[dialect]),
        ServerConnection(dialects={dialect: 1}),
    ):
        connection.receive_data(data)
        try:
            seen.append(repr(connection.next_event()))
        except Exception as error:  # noqa: BLE001, RUF100
            seen.append(repr(error))
    assert len(set(seen)) == 1


def test_the_usual_arguments_are_taken() -> None:
    own = OpcodeSpec(0x94, "GETL", quiet=Quiet.MISS)
    connection = ServerConnection(Limits(value=1), auth_required=True, dialects=tuple(Dialect), opcodes=iter([own]))
    assert connection.state is ServerState.UNAUTHENTICATED
    assert ServerConnection(None, codec=_Codec()).next_event() is Signal.NEED_DATA


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Limits(value="1"), "value is str, must be an int"),  # type: ignore[arg-type]
        (lambda: Limits(line=1.5), "line is float, must be an int"),  # type: ignore[arg-type]
        (lambda: Limits(keys=None), "keys is None, must be an int"),  # type: ignore[arg-type]
        (lambda: Limits(bare_lf="no"), "bare_lf is str, must be a bool"),  # type: ignore[arg-type]
        (lambda: Limits(outstanding=-1), "limit outstanding is -1, the least is 1"),
        (lambda: ReassemblyLimits(messages="1"), "messages is str, must be an int"),  # type: ignore[arg-type]
        (lambda: ReassemblyLimits(timeout=b"1"), "timeout is bytes, must be a float"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_limit_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        make()
    assert str(caught.value) == words


def test_whole_seconds_are_a_timeout() -> None:
    assert ReassemblyLimits(timeout=2).timeout == 2


# --- translation


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: translate(Get((b"k",)), Dialect.META), "envelope is Get, must be an Envelope"),  # type: ignore[call-overload]
        (lambda: translate(BinaryEnvelope(Noop(), 10), "meta"), "to is 'meta', must be a member of Dialect"),  # type: ignore[call-overload]
        (lambda: translate(BinaryEnvelope(Get("k"), 0), Dialect.META), "request.keys is str, must be"),  # type: ignore[arg-type]
        (lambda: translate_reply(Get((b"k",)), BinaryEnvelope(Noop(), 10)), "reply is Get, must be a reply"),  # type: ignore[arg-type]
        (lambda: translate_reply(Ok(), Noop()), "original is Noop, must be an Envelope"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_type_is_refused_by_translate(call: Callable[[], object], words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        call()
    assert str(caught.value).startswith(words)


# --- all the rest


def _text(value: str) -> tuple[bytes, int]:
    return value.encode()  # type: ignore[return-value]


def _lists(value: object) -> tuple[bytes, int]:
    return b"", []  # type: ignore[return-value]


# Functions that give no flags, or flags that are no number.
_TEXT = Serde(_text, lambda data, _: data.decode())
_LISTS: Serde[object] = Serde(_lists, lambda data, _: data)

_MISTAKES: list[tuple[Callable[[], object], str]] = [
    (lambda: Engine(memory_limit="64m"), "memory_limit is str, must be an int"),  # type: ignore[arg-type]
    (lambda: Engine(memory_limit=1.5e9), "memory_limit is float, must be an int"),  # type: ignore[arg-type]
    (lambda: Engine(item_size_max=None), "item_size_max is None, must be an int"),  # type: ignore[arg-type]
    (lambda: Engine(version="1.6"), "version is str, must be bytes"),  # type: ignore[arg-type]
    (lambda: Engine(evict="no"), "evict is str, must be a bool"),  # type: ignore[arg-type]
    (lambda: Engine(cas=None), "cas is None, must be a bool"),  # type: ignore[arg-type]
    (lambda: Engine(flush=0), "flush is int, must be a bool"),  # type: ignore[arg-type]
    (lambda: Engine(journal={}), "journal is dict, must be a Journal or None"),  # type: ignore[arg-type]
    (lambda: Engine(journal_state=5), "journal_state is int, must be a JournalState"),  # type: ignore[arg-type]
    (lambda: Engine(memory_limit=0, item_size_max=0), "item_size_max is 0, must be 1 to memory_limit (0)"),
    (lambda: Engine().execute(Noop(), math.nan), "now is nan, must be finite"),
    (lambda: Engine().execute(Noop(), math.inf), "now is inf, must be finite"),
    (lambda: Engine().begin(Flush(), math.nan), "now is nan, must be finite"),
    (lambda: Engine().expire(math.inf), "now is inf, must be finite"),
    (lambda: Engine().expire(0, -1), "most is -1, the least is 0"),
    (lambda: Engine().shrink(-1), "size is -1, the least is 0"),
    (lambda: Engine().shrink(0, -1), "most is -1, the least is 0"),
    (lambda: Engine().shrink(0, 1.5), "most is float, must be an int"),  # type: ignore[arg-type]
    (lambda: Engine().work(-1), "most is -1, the least is 0"),
    (lambda: Engine().work("1"), "most is str, must be an int"),  # type: ignore[arg-type]
    (lambda: Engine().expire("now"), "now is str, must be a float"),  # type: ignore[arg-type]
    (lambda: Engine().shrink(1.5), "size is float, must be an int"),  # type: ignore[arg-type]
    (lambda: Commands("raw"), "serde is 'raw', must be a Serde, a pair of functions"),  # type: ignore[arg-type]
    (lambda: Commands((1, 2)), "serde is tuple, must be a Serde, a pair of functions"),  # type: ignore[arg-type]
    (lambda: Commands(RAW).set_multi([(b"a", b"1")]), "items is list, must be a mapping"),  # type: ignore[arg-type]
    (lambda: Commands(RAW).get_multi(b"k"), "keys is b'k', must be an iterable of keys"),  # type: ignore[type-var]
    (lambda: Commands(RAW).gets_multi("k"), "keys is 'k', must be an iterable of keys"),
    (lambda: Commands(RAW).delete_multi(None), "keys is None, must be an iterable of keys"),  # type: ignore[arg-type]
    (lambda: Commands(RAW).set(b"k", b"v", flags="1"), "flags is str, must be an int"),  # type: ignore[arg-type]
    (lambda: Commands(_TEXT).set(b"k", "v"), "what the serde made of the value is b'v', must be a tuple of bytes and"),
    (lambda: Commands(_TEXT).add(b"k", "two"), "what the serde made of the value is b'two', must be a tuple"),
    (
        lambda: Commands(_LISTS).set_multi({b"k": 1}),
        "what the serde made of the value is tuple, must be a tuple of bytes",
    ),
    (lambda: Commands(RAW).get(b"k").check(None, Dialect.META), "limits is None, must be a Limits"),  # type: ignore[arg-type]
    (lambda: Commands(RAW).get(b"k").check(Limits(), "meta"), "dialect is 'meta', must be a member of"),  # type: ignore[arg-type]
    (lambda: authenticate(b"u", "p"), "username is bytes, must be a str"),  # type: ignore[arg-type]
    (lambda: authenticate("u", None), "password is None, must be a str"),  # type: ignore[arg-type]
    (lambda: serde(["raw"]), "client is ['raw'], must be one of raw, "),  # type: ignore[arg-type]
    (lambda: serde("pylibmc", limit="1"), "limit is str, must be an int"),  # type: ignore[arg-type]
    (lambda: serde("pylibmc", compress_over="1"), "compress_over is str, must be"),  # type: ignore[arg-type]
    (lambda: udp.split("text", 1), "payload is str, must be bytes"),  # type: ignore[arg-type]
    (lambda: udp.split(b"", 1, payload_size="1"), "payload_size is str, must be"),  # type: ignore[arg-type]
    (lambda: udp.split(b"", 1, maximum=None), "maximum is None, must be an int"),  # type: ignore[arg-type]
    (lambda: udp.accept_request("text"), "data is str, must be bytes"),  # type: ignore[arg-type]
    (lambda: udp.decode_datagram("text of 8"), "data is str, must be bytes"),  # type: ignore[arg-type]
    (lambda: udp.encode_datagram(b""), "datagram is bytes, must be a Datagram"),  # type: ignore[arg-type]
    (lambda: udp.encode_datagram(udp.Datagram(1, payload="")), "datagram.payload is str"),  # type: ignore[arg-type]
    (lambda: udp.Reassembler(5), "limits is int, must be a ReassemblyLimits or None"),  # type: ignore[arg-type]
    (lambda: udp.Reassembler().feed("text", now=0.0), "data is str, must be bytes"),  # type: ignore[arg-type]
    (lambda: udp.Reassembler().feed(bytes(8), now="1"), "now is str, must be a float"),  # type: ignore[arg-type]
    (lambda: udp.Reassembler().feed(bytes(8), now=math.nan), "now is nan, must be finite"),
    (lambda: udp.Reassembler().feed(udp.Datagram(1), now=1), "data is Datagram, must be bytes"),  # type: ignore[arg-type]
    (lambda: udp.Reassembler().expire(None), "now is None, must be a float"),  # type: ignore[arg-type]
    (lambda: udp.Reassembler().forget("1"), "request_id is str, must be an int"),  # type: ignore[arg-type]
    (lambda: Pipe(ServerConnection()), "client is ServerConnection, must be a Client"),  # type: ignore[arg-type]
    (lambda: Pipe(server=ClientConnection()), "server is ClientConnection, must be"),  # type: ignore[arg-type]
    (lambda: Pipe().write_to_server("text"), "data is 'text', must be bytes"),  # type: ignore[arg-type]
    (lambda: Pipe().write_to_client(Noop()), "data is Noop, must be bytes"),  # type: ignore[arg-type]
    (lambda: Pipe().deliver_to_server("1"), "size is '1', must be an int or None"),  # type: ignore[arg-type]
    (lambda: Pipe().deliver_to_client(-1), "size is -1, the least is 0"),
    (lambda: decode_packet("text"), "data is str, must be bytes"),  # type: ignore[arg-type]
    (lambda: decode_packet(b"", "0"), "at is str, must be an int"),  # type: ignore[arg-type]
    (lambda: decode_packet(b"", -1), "at is -1, the least is 0"),
    (lambda: encode_packet(b""), "packet is bytes, must be a Packet"),  # type: ignore[arg-type]
    (lambda: encode_packet(Packet("x", 1)), "magic is str, must be an int"),  # type: ignore[arg-type]
    (lambda: OpcodeSpec("x", "GETL"), "opcode is str, must be an int"),  # type: ignore[arg-type]
    (lambda: OpcodeSpec(256, "GETL"), "opcode is 256, must be 0 to 255"),
    (lambda: OpcodeSpec(1, "GETL", twin=-1), "twin is -1, must be 0 to 255"),
    (lambda: OpcodeSpec(1, "GETL", quiet="miss"), "quiet is str, must be a Quiet"),  # type: ignore[arg-type]
    (lambda: Body(5), "extras is int, must be a tuple of Layout or None"),  # type: ignore[arg-type]
    (lambda: Body(key="must"), "key is str, must be a Presence"),  # type: ignore[arg-type]
    (lambda: Body(value=True), "value is bool, must be a Presence"),  # type: ignore[arg-type]
    (lambda: replies_to(Stored()), "request is Stored, must be a request"),  # type: ignore[arg-type]
    (lambda: replies_to(BinaryEnvelope(Noop(), 10)), "request is BinaryEnvelope, must be a request"),  # type: ignore[arg-type]
    (lambda: text_replies_to(Noop()), "envelope is Noop, must be a ClassicEnvelope or a MetaEnvelope"),  # type: ignore[arg-type]
    (lambda: pieces("text"), "data is 'text', must be bytes"),  # type: ignore[arg-type]
    (lambda: OPCODES[8].request.extras_of(4).unpack("text"), "extras is str, must be"),  # type: ignore[arg-type, union-attr]
]


@pytest.mark.parametrize(("call", "words"), _MISTAKES, ids=[words[:50] for _, words in _MISTAKES])
def test_a_wrong_argument_is_refused_by_an_error_that_names_it(call: Callable[[], object], words: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        call()
    assert str(caught.value).startswith(words)


def test_a_wrong_time_changes_nothing_in_an_engine() -> None:
    engine = Engine()
    engine.execute(Set(b"k", b"v"), 0.0)
    for now in (math.nan, math.inf):
        for call in (engine.execute, engine.begin):
            with pytest.raises(LocalProtocolError, match=r"^now is \w+, must be finite$"):
                call(Set(b"k", b"other"), now)
    assert engine.execute(Get((b"k",)), 0.0) == Values((Item(b"k", b"v", cas=1),))


def test_a_wrong_time_changes_nothing_in_a_reassembler() -> None:
    reassembler = udp.Reassembler()
    first, second = udp.split(b"text", 1, payload_size=2)
    assert reassembler.feed(first, now=1) is None
    for now in (math.nan, math.inf, "1", None):
        for call in (lambda now: reassembler.feed(second, now), reassembler.expire):
            with pytest.raises(LocalProtocolError, match=r"^now is "):
                call(now)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=r"^data is str"):
        reassembler.feed("text", now=9.0)  # type: ignore[arg-type]
    assert len(reassembler) == 1
    assert reassembler.feed(second, now=1.0) == udp.Message(1, b"text")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_packet_has_bytes_whatever_it_was_read_from(kind: type[bytes]) -> None:
    packet = Packet(0x81, 0, b"\0\0\0\7", b"k", b"value", opaque=5)
    data = encode_packet(packet)
    taken = decode_packet(kind(b"before" + data + b"behind"), 6)
    assert taken == (packet, 6 + len(data))
    assert {type(part) for part in (taken[0].extras, taken[0].key, taken[0].value)} == {bytes}
    assert decode_packet(kind(data[:-1])) is None


# --- order of calls


def test_after_the_end_of_the_stream_a_client_says_why_nothing_can_be_sent() -> None:
    connection = ClientConnection()
    connection.receive_eof()
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match=r"^nothing can be sent any more: the stream has ended, or"):
            connection.send(Noop())
        connection.next_event()


def test_a_large_value_is_not_repeated_in_the_error_of_a_second_reply() -> None:
    connection, event = server(b"set k 0 0 100000\r\n" + bytes(100_000) + b"\r\nget k\r\n")
    later = connection.next_event()
    assert isinstance(later, Envelope)
    with pytest.raises(LocalProtocolError, match=r"^replies go in the order of requests: Set\(.{,130}$"):
        connection.send(Stored(), to=later)
    connection.send(Stored(), to=event)
    with pytest.raises(LocalProtocolError, match=r"^Set\(.{,140}$"):
        connection.send(Stored(), to=event)
