"""Fast paths: the usual message takes them, and they agree with the irregular ones on every other.

A spy stands where the irregular path begins. Without it nobody would notice that a fast path is never taken any more:
the result is the same, only late.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    Add,
    AnyReply,
    Append,
    ClientConnection,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
    MetaOptions,
    Noop,
    Prepend,
    ProtocolError,
    Replace,
    Request,
    ServerConnection,
    Set,
    Signal,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
)
from memproto.binary import _client as _binary_client
from memproto.binary import _client_multi_packet, _client_readers
from memproto.binary._server import BinaryServer
from memproto.engine import Engine, _reads
from memproto.text import _client as _text_client
from memproto.text import _lines as _text
from memproto.text.classic import _client as _classic_client
from memproto.text.classic import _client_items as _classic_items
from memproto.text.classic import _client_readers as _classic_readers
from memproto.text.meta import _client as _meta_client
from memproto.text.meta import _client_multi_get as _meta_multi_get
from memproto.text.meta._client_irregular import IrregularReply
from tests.support.kinds import by_kind
from tests.support.mutations import mutated
from tests.support.reached import reached, reaches
from tests.support.telling import Told, tell
from tests.support.wire import each_byte, wire

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META

#: Every class that has a fast path for replies, by the name of the method.
FAST_PATHS = [
    (kind, name)
    for module in (
        _client_readers,
        _client_multi_packet,
        _classic_items,
        _classic_readers,
        _meta_client,
        _meta_multi_get,
    )
    for kind in vars(module).values()
    if inspect.isclass(kind) and kind.__module__ == module.__name__
    for name in ("read", "_read_items")
    if name in vars(kind)
]


def test_every_fast_path_for_replies_is_known_here() -> None:
    assert sorted(f"{kind.__name__}.{name}" for kind, name in FAST_PATHS) == [
        "CounterReader.read",
        "GetReply.read",
        "ItemReader.read",
        "ItemsReader._read_items",
        "ItemsReader.read",
        "MultiGetReply._read_items",
        "MultiGetReply.read",
        "MultiGetReply.read",
        "SingleReply.read",
        "WordReader.read",
        "_CountCommand.read",
        "_DeleteCommand.read",
        "_GetCommand.read",
        "_NoopCommand.read",
        "_StoreCommand.read",
        "_TouchCommand.read",
    ]
    usual = {Get, Set, Add, Replace, Delete}
    assert usual < _binary_client._QUIET_PLANS.keys() < _binary_client._PLANS.keys()
    assert set(_classic_client.ENCODERS) == usual | {Append, Prepend, Increment, Decrement, Touch, Version, Noop}


@contextmanager
def only_irregular_replies() -> Iterator[None]:
    """Without the fast paths for replies."""
    with ExitStack() as stack:
        for kind, name in FAST_PATHS:
            stack.enter_context(patch.object(kind, name, lambda *arguments: None))
        yield


@contextmanager
def only_irregular_requests() -> Iterator[None]:
    """Without the fast paths for requests."""
    with (
        patch.object(_binary_client, "_PLANS", {}),
        patch.object(_binary_client, "_QUIET_PLANS", {}),
        patch.object(_text_client, "_REGULAR", {Dialect.CLASSIC: {}, Dialect.META: {}}),
    ):
        yield


def _never(name: str) -> Callable[..., None]:
    def never(*arguments: object, **named: object) -> None:
        raise AssertionError(f"the irregular path was taken: {name}")

    return never


@contextmanager
def forbidden(*places: tuple[object, str]) -> Iterator[None]:
    with ExitStack() as stack:
        for place, name in places:
            stack.enter_context(patch.object(place, name, _never(name)))
        yield


_REQUESTS: list[tuple[object, str]] = [
    (_binary_client, "encode_request"),
    (_classic_client, "encode_irregular"),
]
_ONE: list[tuple[object, str]] = [
    (_binary_client.BinaryClient, "read_irregular"),
    (_text_client.TextClient, "read_irregular"),
]
_MANY: list[tuple[object, str]] = [
    (_binary_client.BinaryClient, "read_irregular"),
    (_classic_items.ItemsReader, "_read_head"),
    (IrregularReply, "read_irregular"),
]

LONG = b"k" * 250
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
I31 = (1 << 31) - 1


@dataclass
class Usual:
    """A usual request, and a reply to it under the opaque 0."""

    dialect: Dialect
    request: Request[object]
    heard: bytes
    reply: AnyReply
    quiet: bool = False

    @property
    def several(self) -> bool:
        return isinstance(self.request, Get) and len(self.request.keys) > 1


def _hit(opcode: str, key: bytes, value: bytes, flags: int, cas: int, opaque: int = 0) -> bytes:
    size = (4 + len(key) + len(value)).to_bytes(4, "big")
    head = wire(f"81{opcode}") + len(key).to_bytes(2, "big") + wire("04000000") + size + opaque.to_bytes(4, "big")
    return head + cas.to_bytes(8, "big") + flags.to_bytes(4, "big") + key + value


def _bare(opcode: str, cas: int, opaque: int = 0) -> bytes:
    return wire(f"81{opcode}0000 00000000 00000000") + opaque.to_bytes(4, "big") + cas.to_bytes(8, "big")


def _usual() -> Iterator[Usual]:
    opcodes = {Set: ("01", "11"), Add: ("02", "12"), Replace: ("03", "13")}
    for key in (b"k", LONG):
        get, found = Get((key,)), Values((Item(key, b"value", U32, U64),))
        delete = Delete(key)
        for quiet in (False, True):
            yield Usual(BINARY, get, _hit("09" if quiet else "00", b"", b"value", U32, U64), found, quiet)
        yield Usual(BINARY, get, _hit("00", b"", b"", 0, 0), Values((Item(key, b""),)))
        yield Usual(BINARY, get, wire("81000000 00000001 00000009 00000000 0000000000000000 'Not found'"), Values())
        yield Usual(BINARY, delete, _bare("04", U64), Deleted(U64))
        yield Usual(CLASSIC, get, b"VALUE %b 4294967295 5 18446744073709551615\r\nvalue\r\nEND\r\n" % key, found)
        yield Usual(CLASSIC, get, b"END\r\n", Values())
        yield Usual(CLASSIC, delete, b"DELETED\r\n", Deleted())
        yield Usual(CLASSIC, delete, b"NOT_FOUND\r\n", Failure(Status.KEY_NOT_FOUND))
        yield Usual(CLASSIC, Add(key, b"value"), b"NOT_STORED\r\n", Failure(Status.KEY_EXISTS))
        yield Usual(CLASSIC, Increment(key, U64), b"18446744073709551615\r\n", Counter(U64))
        yield Usual(CLASSIC, Decrement(key), b"0\r\n", Counter(0))
        yield Usual(CLASSIC, Touch(key, -(1 << 31)), b"TOUCHED\r\n", Touched())
        for concatenation in (Append, Prepend):
            yield Usual(CLASSIC, concatenation(key, b"value"), b"STORED\r\n", Stored())
        yield Usual(META, get, b"VA 5 f4294967295 c18446744073709551615 k%b O0\r\nvalue\r\n" % key, found)
        yield Usual(META, get, b"EN k%b O0\r\n" % key, Values())
        yield Usual(META, delete, b"HD O0\r\n", Deleted())
        for kind, (usual, silent) in opcodes.items():
            for exptime in (0, I31):
                request = kind(key, b"value", U32, exptime)
                for opcode, quiet in ((usual, False), (silent, True)):
                    yield Usual(BINARY, request, _bare(opcode, U64), Stored(U64), quiet)
                yield Usual(CLASSIC, request, b"STORED\r\n", Stored())
                yield Usual(META, request, b"HD c18446744073709551615 O0\r\n", Stored(U64))
            yield Usual(BINARY, kind(key, b"", U32, U32, U64), _bare(usual, 1), Stored(1))
            yield Usual(CLASSIC, kind(key, b"", 0, -(1 << 31)), b"STORED\r\n", Stored())
            yield Usual(META, kind(key, b"", 0, -(1 << 31)), b"HD c0 O0\r\n", Stored())
        keys = (key, b"miss", b"b", key)
        items = Values((Item(key, b"value", U32, U64), Item(b"b", b"", 0, 1), Item(key, b"value", U32, U64)))
        hits = [_hit("0d", each.key, each.value, each.flags, each.cas, at) for at, each in zip((0, 2, 3), items.items)]  # noqa: B905
        yield Usual(BINARY, Get(keys), b"".join(hits) + _bare("0a", 0, 4), items)
        # Lines with numbers of many digits are left to the irregular path.
        few = Values((Item(key, b"value", 7, 99_999), Item(b"b", b"", 0, 1), Item(key, b"value", 7, 99_999)))
        lines = [b"VALUE %b %d %d %d\r\n%b\r\n" % (i.key, i.flags, len(i.value), i.cas, i.value) for i in few.items]
        yield Usual(CLASSIC, Get(keys), b"".join(lines) + b"END\r\n", few)
        meta = [b"VA %d f%d c%d k%b O0\r\n%b\r\n" % (len(i.value), i.flags, i.cas, i.key, i.value) for i in items.items]
        yield Usual(META, Get(keys), meta[0] + b"EN kmiss O0\r\n" + meta[1] + meta[2], items)


USUAL = list(_usual())


# The narrowest limits that a usual reply cannot reach.
@pytest.mark.parametrize("limits", [None, Limits(head=278, line=320)], ids=["default", "narrow"])
@pytest.mark.parametrize("usual", USUAL, ids=lambda usual: f"{usual.dialect.value}-{usual.request!r}"[:60])
def test_usual_requests_and_replies_take_the_fast_path(usual: Usual, limits: Limits | None) -> None:
    places = [*(_MANY if usual.several else _ONE), *([] if usual.several else _REQUESTS)]
    with forbidden(*places):
        client = ClientConnection(limits, dialect=usual.dialect)
        exchange = client.send_quiet(usual.request) if usual.quiet else client.send(usual.request)
        assert tell(client, [usual.heard]) == Told([usual.reply])
        assert exchange.reply == usual.reply
    with only_irregular_requests(), only_irregular_replies():
        client = ClientConnection(limits, dialect=usual.dialect)
        same = client.send_quiet(usual.request) if usual.quiet else client.send(usual.request)
        assert same.data == exchange.data
        assert tell(client, [usual.heard]) == Told([usual.reply])


@pytest.mark.parametrize(
    "usual", [each for each in USUAL if each.reply != Values()], ids=lambda usual: repr(usual)[:60]
)
def test_values_at_their_limits_take_the_fast_path(usual: Usual) -> None:
    # Nearer to the limit on all of them several values are looked at one by one.
    limits = Limits(value=5, answer=len(usual.heard) if usual.several else 5)
    with forbidden(*(_MANY if usual.several else _ONE)):
        client = ClientConnection(limits, dialect=usual.dialect)
        client.send_quiet(usual.request) if usual.quiet else client.send(usual.request)
        assert tell(client, [usual.heard]) == Told([usual.reply])


# --- hostile replies


def _outcome(usual: Usual, pieces: list[bytes], limits: Limits | None) -> tuple[Told, int, object]:
    client = ClientConnection(limits, dialect=usual.dialect)
    client.send_quiet(usual.request) if usual.quiet else client.send(usual.request)
    client.send(Get((b"next",)))
    told = tell(client, pieces)
    return told, client.outstanding, client.state


_SHORT = [usual for usual in USUAL if LONG not in usual.heard and getattr(usual.request, "exptime", 0) != I31]


@pytest.mark.untraced
@pytest.mark.parametrize("limits", [None, Limits(value=4, answer=4)], ids=["default", "small"])
@pytest.mark.parametrize("usual", _SHORT, ids=lambda usual: f"{usual.dialect.value}-{usual.request!r}"[:60])
@by_kind
@reaches(unusual=0.3)
@given(data=st.data())
def test_fast_and_irregular_agree_on_hostile_replies(usual: Usual, limits: Limits | None, data: st.DataObject) -> None:
    heard = data.draw(mutated(usual.heard + data.draw(st.sampled_from([b"", usual.heard]))))
    fast = _outcome(usual, [heard], limits)
    with only_irregular_replies():
        irregular = _outcome(usual, [heard], limits)
    if fast[0] != Told([usual.reply]):
        reached("unusual")
    assert fast == irregular
    assert _outcome(usual, each_byte(heard), limits) == irregular


# --- hostile requests

_KEYS = st.sampled_from(
    [
        *(b"k", b"", LONG, LONG + b"k", b"p" * 187, b"a b", b"noreply", b"\0", b"\r\n", b"\x7f", b"\x80" * 187),
        *("k", bytearray(b"k"), None, 5),
    ]
)
_NUMBERS = st.sampled_from(
    [0, 0, 1, -1, I31, I31 + 1, -I31 - 1, -I31 - 2, U32, U32 + 1, U64, U64 + 1, True, False, 1.0, "1", None, b"1"]
)
_VALUES = st.sampled_from([b"", b"value", "value", bytearray(b"v"), memoryview(b"v"), None, 5])
_OPTIONS = st.sampled_from([None, None, MetaOptions(), MetaOptions(base64=True), MetaOptions(vivify=5), "meta"])
_HOSTILE: dict[type, st.SearchStrategy[dict[str, object]]] = {
    Get: st.fixed_dictionaries({"keys": _KEYS.map(lambda key: (key,)) | _KEYS}, optional={"exptime": _NUMBERS}),
    Delete: st.fixed_dictionaries({"key": _KEYS}, optional={"cas": _NUMBERS}),
    **dict.fromkeys(
        (Append, Prepend), st.fixed_dictionaries({"key": _KEYS, "value": _VALUES}, optional={"cas": _NUMBERS})
    ),
    **dict.fromkeys(
        (Increment, Decrement),
        st.fixed_dictionaries(
            {"key": _KEYS}, optional={"delta": _NUMBERS, "initial": _NUMBERS, "exptime": _NUMBERS, "cas": _NUMBERS}
        ),
    ),
    **dict.fromkeys(
        (Set, Add, Replace),
        st.fixed_dictionaries(
            {"key": _KEYS, "value": _VALUES}, optional={"flags": _NUMBERS, "exptime": _NUMBERS, "cas": _NUMBERS}
        ),
    ),
}


def _said(dialect: Dialect, request: Request[object], quiet: bool) -> tuple[str, bytes | str]:
    client = ClientConnection(dialect=dialect)
    try:
        exchange = client.send_quiet(request) if quiet else client.send(request)
    except ProtocolError as error:
        assert client.outstanding == 0
        return type(error).__name__, str(error)
    assert client.outstanding == 1
    return "", exchange.data


@pytest.mark.parametrize("kind", _HOSTILE)
@pytest.mark.parametrize("dialect", Dialect)
@by_kind
@reaches(refused=0.2)
@given(data=st.data(), quiet=st.booleans())
def test_fast_and_irregular_agree_on_hostile_requests(
    dialect: Dialect, kind: type[Get], data: st.DataObject, quiet: bool
) -> None:
    fields = data.draw(_HOSTILE[kind])
    fields["meta"] = data.draw(_OPTIONS)
    request = kind(**fields)  # type: ignore[arg-type]
    fast = _said(dialect, request, quiet)
    with only_irregular_requests():
        irregular = _said(dialect, request, quiet)
    if fast[0]:
        reached("refused")
        assert fast[0] == LocalProtocolError.__name__
    assert fast == irregular


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Get(5), "keys is int, must be a tuple of bytes"),  # type: ignore[arg-type]
        (Get(None), "keys is None, must be a tuple of bytes"),  # type: ignore[arg-type]
        (Delete(b"k", 0, "meta"), "meta is str, must be a MetaOptions or None"),  # type: ignore[arg-type]
        (Set(b"k", b"", meta=5), "meta is int, must be a MetaOptions or None"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_a_wrong_type_is_named_by_send_and_by_send_all(dialect: Dialect, wrong: Request[object], message: str) -> None:
    client = ClientConnection(dialect=dialect)
    for send in (client.send, client.send_quiet, lambda request: client.send_all([Noop(), request])):
        with pytest.raises(LocalProtocolError) as caught:
            send(wrong)
        assert str(caught.value) == message
    assert (client.outstanding, client.reusable) == (0, True)


def test_a_type_error_of_another_origin_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise TypeError("of another origin")

    client = ClientConnection()
    monkeypatch.setattr(_binary_client.BinaryClient, "encode", broken)
    with pytest.raises(TypeError, match=r"^of another origin$"):
        client.send(Noop())
    with pytest.raises(TypeError, match=r"^of another origin$"):
        client.send_all([Noop()])
    assert client.outstanding == 0


# --- the server and the engine

_SERVED = [
    wire("80000001 00000000 00000001 00000000 0000000000000000 'k'"),
    wire("80010001 08000000 0000000a 00000000 0000000000000007 ffffffff ffffffff 'kv'"),
    wire("80040001 00000000 00000001 00000000 0000000000000000 'k'"),
    wire("80050001 14000000 00000015 00000000 0000000000000000")
    + wire("0000000000000001 0000000000000000 ffffffff 'k'"),
    wire("800a0000 00000000 00000000 00000000 0000000000000000"),
    b"get k\r\n",
    b"gets k l m\r\n",
    b"set k 4294967295 2147483647 1\r\nv\r\n",
    b"cas k 0 0 1 18446744073709551615\r\nv\r\n",
    b"incr k 18446744073709551615\r\n",
    b"touch k 100\r\n",
    b"delete k\r\n",
    b"mg k v f c\r\n",
    b"ms k 1 F1 T60 C5\r\nv\r\n",
    b"ma k D5 J1 N60\r\n",
    b"md k\r\n",
]


@pytest.mark.parametrize("data", _SERVED, ids=repr)
def test_usual_requests_are_not_looked_at_twice_by_a_server(data: bytes) -> None:
    with forbidden((BinaryServer, "_read_irregular"), (_text, "_scanned")):
        server = ServerConnection()
        server.receive_data(data)
        assert not isinstance(server.next_event(), Signal)
        assert server.next_event() is Signal.NEED_DATA


def test_a_usual_get_is_not_a_special_one_to_the_engine() -> None:
    engine = Engine()
    engine.execute(Set(b"k", b"v"), 1.0)
    with forbidden((_reads, "get_with_options"), (_reads, "_touch_entry")):
        assert engine.execute(Get((b"k",)), 2.0) == Values((Item(b"k", b"v", 0, 1),))
        assert engine.execute(Get((b"k", b"none")), 2.0) == Values((Item(b"k", b"v", 0, 1),))
