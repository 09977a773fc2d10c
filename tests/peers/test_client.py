"""The blocking client in each dialect, with real memcached and with the reference server: the same results."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

import pytest

from memproto import Dialect, Item, Limits, LocalProtocolError
from memproto.clients.client import Client, ServerError
from memproto.commands import ReplyTooLargeError
from tests.support.peers import DEADLINE, server_of

NOISE = random.Random(7).randbytes(1_048_000)

#: Stands for the CAS that the last ``gets`` has told.
TOLD = -1

#: The whole surface of a client: calls one after the other, and what comes back; a CAS in a result is left out.
SURFACE: list[tuple[str, tuple[object, ...], object]] = [
    ("flush", (), True),
    ("noop", (), True),
    ("get", (b"key",), None),
    ("gets", (b"key",), None),
    ("gat", (b"key", 100), None),
    ("get_multi", ([],), {}),
    ("get_multi", ([b"key", b"other"],), {}),
    ("set", (b"key", b"b", 100, 7), True),
    ("get", (b"key",), b"b"),
    ("add", (b"key", b"no"), False),
    ("add", (b"other", b"", 0, 0xFFFF_FFFF), True),
    ("append", (b"key", b"c"), True),
    ("prepend", (b"key", b"a"), True),
    ("append", (b"absent", b"c"), False),
    ("prepend", (b"absent", b"a"), False),
    ("get_multi", ([b"absent", b"key", b"other"],), {b"key": b"abc", b"other": b""}),
    ("gets_multi", ([b"other", b"absent"],), {b"other": Item(b"other", b"", 0xFFFF_FFFF)}),
    ("gets", (b"key",), Item(b"key", b"abc", 7)),
    ("cas", (b"absent", b"no", TOLD), None),
    ("cas", (b"key", b"\r\n\x00\xff", TOLD, 0, 3), True),
    ("cas", (b"key", b"no", TOLD), False),
    ("gets", (b"key",), Item(b"key", b"\r\n\x00\xff", 3)),
    ("replace", (b"key", b"new"), True),
    ("replace", (b"absent", b"no"), False),
    ("gat", (b"key", 100), b"new"),
    ("touch", (b"key", 100), True),
    ("touch", (b"absent", 100), False),
    ("incr", (b"absent",), None),
    ("decr", (b"absent", 5), None),
    ("set", (b"count", b"10"), True),
    ("incr", (b"count",), 11),
    ("incr", (b"count", 2**64 - 1), 10),
    ("decr", (b"count", 3), 7),
    ("decr", (b"count", 9), 0),
    ("delete", (b"count",), True),
    ("delete", (b"count",), False),
    ("set_multi", ({},), []),
    ("set_multi", ({b"one": b"1", b"two": b"2", b"three": bytes(2**20 + 1), b"four": b"4"}, 100, 5), [b"three"]),
    ("gets_multi", ([b"four", b"three"],), {b"four": Item(b"four", b"4", 5)}),
    ("set_multi", ({b"%d" % number: b"<%d>" % number for number in range(2500)},), []),
    ("get_multi", ([b"%d" % number for number in range(2500)],), {b"%d" % n: b"<%d>" % n for n in range(2500)}),
    ("delete_multi", ([],), []),
    ("delete_multi", ([b"one", b"three", b"two", b"one"],), [b"one", b"two"]),
    ("delete_multi", ([b"%d" % number for number in range(-1, 2501)],), [b"%d" % number for number in range(2500)]),
    ("get_multi", ([b"one", b"two", b"four", b"7"],), {b"four": b"4"}),
    ("stats", (b"reset",), {}),
    ("flush", (1000,), True),
    ("version", (), b"1.6.18"),
    ("flush", (), True),
    ("get_multi", ([b"key", b"other", b"four"],), {}),
]


def go_through_the_surface(do: Callable[..., object]) -> None:
    """``do`` makes a call, given its name and arguments."""
    told = 0
    for name, arguments, expected in SURFACE:
        result = do(name, *[told if argument is TOLD else argument for argument in arguments])
        if isinstance(result, Item):
            assert result.cas > 0
            told, result = result.cas, bare(result)
        elif isinstance(result, dict):
            result = {key: bare(found) for key, found in result.items()}
        assert (name, arguments, result) == (name, arguments, expected)
        assert type(result) is type(expected)


def bare(found: object) -> object:
    return Item(found.key, found.value, found.flags) if isinstance(found, Item) else found


@pytest.fixture(scope="module", params=[pytest.param("memcached", marks=pytest.mark.peer("memcached")), "memproto"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with server_of(request.param) as port:
        yield port


@pytest.fixture(params=Dialect, ids=lambda dialect: dialect.name.lower())
def dialect(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.param
    return dialect


@pytest.fixture
def client(port: int, dialect: Dialect) -> Iterator[Client]:
    with Client(port=port, timeout=DEADLINE, dialect=dialect) as client:
        client.flush()
        yield client


def item(client: Client, key: bytes) -> Item:
    item = client.gets(key)
    assert item is not None
    return item


def test_the_whole_surface(client: Client) -> None:
    go_through_the_surface(lambda name, *arguments: getattr(client, name)(*arguments))


@pytest.mark.parametrize("value", [b"", b"value", b"\x00\r\n\xff" * 10, NOISE], ids=len)
def test_a_value_comes_back(client: Client, value: bytes) -> None:
    assert client.set(b"key", value, flags=0xFFFF_FFFF) is True
    assert client.get(b"key") == value
    found = item(client, b"key")
    assert found == Item(b"key", value, 0xFFFF_FFFF, found.cas)
    assert found.cas > 0
    assert client.gat(b"key", 100) == value
    assert client.get_multi([b"key", b"absent"]) == {b"key": value}


def test_what_is_not_there(client: Client) -> None:
    assert client.get(b"absent") is None
    assert client.gets(b"absent") is None
    assert client.gat(b"absent", 100) is None
    assert client.get_multi([b"absent", b"absent"]) == {}
    assert client.get_multi([]) == {}
    assert client.replace(b"absent", b"no") is False
    assert client.append(b"absent", b"no") is False
    assert client.prepend(b"absent", b"no") is False
    assert client.cas(b"absent", b"no", 77) is None
    assert client.delete(b"absent") is False
    assert client.incr(b"absent") is None
    assert client.decr(b"absent") is None
    assert client.touch(b"absent", 100) is False


def test_many_keys(client: Client) -> None:
    many = {b"key%d" % number: b"%d" % number for number in range(1000)}
    for key, value in many.items():
        client.set(key, value)
    assert client.get_multi(many) == many
    assert client.get_multi(reversed([*many, b"absent", *many])) == many
    assert client.get_multi([b"absent", b"key7", b"absent", b"key7"]) == {b"key7": b"7"}


def test_more_questions_than_the_sockets_hold(client: Client) -> None:
    # A client that sends it all before it reads would wait for a server that waits for the client.
    client.set(b"k" * 250, b"v" * 1000)
    assert client.get_multi([b"k" * 250] * 40_000) == {b"k" * 250: b"v" * 1000}


def test_storing_on_conditions(client: Client) -> None:
    assert client.add(b"key", b"b", flags=5) is True
    assert client.add(b"key", b"no") is False
    assert client.append(b"key", b"c") is True
    assert client.prepend(b"key", b"a") is True
    found = item(client, b"key")
    assert found == Item(b"key", b"abc", 5, found.cas)
    assert client.replace(b"key", b"new") is True
    found = item(client, b"key")
    assert found == Item(b"key", b"new", 0, found.cas)


def test_cas(client: Client) -> None:
    client.set(b"key", b"one")
    first = item(client, b"key").cas
    assert client.cas(b"key", b"no", first + 1000) is False
    assert client.cas(b"key", b"two", first, flags=3) is True
    second = item(client, b"key")
    assert second == Item(b"key", b"two", 3, second.cas)
    assert second.cas > first
    assert client.cas(b"key", b"no", first) is False
    assert client.delete(b"key") is True
    assert client.cas(b"key", b"no", second.cas) is None


def test_counting(client: Client, dialect: Dialect) -> None:
    if dialect is Dialect.CLASSIC:
        # There is no command for it.
        with pytest.raises(LocalProtocolError, match="can neither create a counter"):
            client.incr(b"key", 5, initial=10)
        assert client.get(b"key") is None
        client.add(b"key", b"10")
    else:
        assert client.incr(b"key", 5, initial=10) == 10
    assert client.incr(b"key", 5) == 15
    assert client.decr(b"key", 4) == 11
    assert client.decr(b"key", 3) == 8
    # memcached counts in place and pads with blanks, but not while another connection holds the item.
    assert client.get(b"key") in (b"8 ", b"8")
    assert client.decr(b"key", 9) == 0
    assert client.incr(b"key", 2**64 - 1) == 2**64 - 1
    assert client.incr(b"key") == 0
    if dialect is not Dialect.CLASSIC:
        client.set(b"key", b"20")
        assert client.decr(b"key", 4, initial=99) == 16
        assert client.decr(b"down", initial=0) == 0
        assert client.incr(b"gone", initial=3, exptime=int(time.time()) - 10) == 3
        assert client.get(b"gone") is None


@pytest.mark.parametrize("value", [b"word", b"", b"-1", b"1.5", b"18446744073709551616"])
def test_counting_what_is_no_number(client: Client, value: bytes) -> None:
    client.set(b"key", value)
    for count in (client.incr, client.decr):
        with pytest.raises(ServerError, match=r"^Non-numeric server-side value for incr or decr \(status 0x0006\)$"):
            count(b"key", 1)
    assert client.get(b"key") == value


def test_delete(client: Client) -> None:
    client.set(b"key", b"value")
    assert client.delete(b"key") is True
    assert client.get(b"key") is None


def test_expiry(client: Client) -> None:
    past = int(time.time()) - 10
    client.set(b"short", b"value", exptime=1)
    client.set(b"past", b"value", exptime=past)
    for key in (b"touched", b"gat", b"long", b"never"):
        client.set(key, b"value", exptime=1000)
    assert client.get(b"past") is None
    assert client.touch(b"touched", past) is True
    assert client.get(b"touched") is None
    assert client.gat(b"gat", past) == b"value"
    assert client.get(b"gat") is None
    before = item(client, b"long").cas
    assert client.touch(b"long", 2000) is True
    assert client.touch(b"never") is True
    assert item(client, b"long").cas == before
    deadline = time.monotonic() + DEADLINE
    while client.get(b"short") is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.get_multi([b"short", b"long", b"never"]) == {b"long": b"value", b"never": b"value"}


def test_flush(client: Client) -> None:
    client.set(b"key", b"value")
    assert client.flush(1000) is True
    assert client.get(b"key") == b"value"
    assert client.flush() is True
    assert client.get(b"key") is None
    client.set(b"key", b"value")
    assert client.flush(0) is True
    assert client.get(b"key") is None


def test_statistics(client: Client) -> None:
    before = client.stats()
    client.set(b"key", b"value")
    client.get_multi([b"key", b"absent", b"absent"])
    after = client.stats()
    assert after[b"version"] == b"1.6.18"
    names = (b"cmd_set", b"cmd_get", b"get_hits", b"get_misses", b"total_items")
    assert [int(after[name]) - int(before[name]) for name in names] == [1, 3, 1, 2, 1]
    assert client.stats(b"settings")[b"item_size_max"] == b"1048576"
    assert client.stats(b"settings")[b"binding_protocol"] in (b"auto-negotiate", b"binary")
    assert client.stats(b"reset") == {}
    assert client.stats()[b"cmd_set"] == b"0"
    with pytest.raises(ServerError, match=r"^Not found \(status 0x0001\)$"):
        client.stats(b"nonsense")


def test_version_and_noop(client: Client) -> None:
    assert client.version() == b"1.6.18"
    assert client.noop() is True


def test_over_the_limit(client: Client, dialect: Dialect) -> None:
    client.set(b"key", b"old")
    for store in (client.set, client.add, client.replace):
        with pytest.raises(ServerError, match=r"^Too large\. \(status 0x0003\)$"):
            store(b"key", bytes(2**20 + 1))
    # Nothing is better than what was to be replaced; and the connection is in step.
    assert client.get(b"key") is None
    client.set(b"key", NOISE)
    for put in (client.append, client.prepend):
        assert put(b"key", NOISE) is False
        assert client.get(b"key") == NOISE
        with pytest.raises(ServerError, match=r"status 0x0003"):
            put(b"key", bytes(2**20 + 1))
        # In meta any value that is too large costs the item.
        assert client.get(b"key") == (None if dialect is Dialect.META else NOISE)
        client.set(b"key", NOISE)


@pytest.mark.parametrize("length", [1, 186, 250])
def test_keys_at_the_limits(client: Client, dialect: Dialect, length: int) -> None:
    key = bytes(range(256))[-length:]
    if dialect is Dialect.CLASSIC or (dialect is Dialect.META and length > 186):
        # One has no way to write such a key, the other writes it in base64.
        assert client.set(b"k" * length, b"value")
        assert client.get(b"k" * length) == b"value"
        key = bytes(250)
        with pytest.raises(LocalProtocolError, match="key is"):
            client.set(key, b"value")
        return
    assert client.set(key, b"value")
    assert client.get_multi([key]) == {key: b"value"}


def test_wrong_arguments_are_not_sent(port: int, dialect: Dialect) -> None:
    sent: list[bytes] = []
    with Client(port=port, timeout=DEADLINE, dialect=dialect, trace=lambda way, data: sent.append(data)) as client:
        for key in (b"", b"k" * 251):
            with pytest.raises(LocalProtocolError, match="key"):
                client.set(key, b"value")
            with pytest.raises(LocalProtocolError, match="key"):
                client.get_multi([b"key", key])
        with pytest.raises(LocalProtocolError, match="exp"):
            client.set(b"key", b"value", exptime=2**32)
        with pytest.raises(LocalProtocolError, match="delta"):
            client.incr(b"key", 2**64)
        assert sent == []
        assert client.noop()
        assert len(sent) == 2


def test_a_call_after_close_opens_anew(client: Client) -> None:
    client.set(b"key", b"value")
    client.close()
    client.close()
    assert client.get(b"key") == b"value"


def test_a_limit_of_ones_own(port: int, client: Client, dialect: Dialect) -> None:
    client.set(b"key", bytes(1000))
    with Client(port=port, timeout=DEADLINE, dialect=dialect, limits=Limits(value=999)) as small:
        assert small.noop() is True
        before = list(small._connections)
        with pytest.raises(ReplyTooLargeError, match="value is 1000 bytes, limit is 999"):
            small.get(b"key")
        assert small.get(b"absent") is None
        assert small._connections == before


def test_a_negative_expiry_is_at_once(client: Client, dialect: Dialect) -> None:
    if dialect is Dialect.BINARY:
        with pytest.raises(LocalProtocolError, match="exp"):
            client.set(b"key", b"value", exptime=-1)
        return
    assert client.set(b"key", b"value", exptime=-1) is True
    assert client.get(b"key") is None
    client.set(b"key", b"value")
    assert client.touch(b"key", -1) is True
    assert client.get(b"key") is None


@pytest.mark.parametrize("one", Dialect, ids=lambda dialect: f"from {dialect.name.lower()}")
def test_what_one_dialect_stores_another_reads(port: int, client: Client, one: Dialect) -> None:
    with Client(port=port, timeout=DEADLINE, dialect=one) as writer:
        for flags, value in ((0, b""), (7, b"value"), (0xFFFF_FFFF, b"\x00\r\nEND\r\n"), (5, NOISE)):
            writer.set(b"key", value, flags=flags)
            # Whoever asks is told the same, CAS number included.
            assert client.gets(b"key") == writer.gets(b"key") == Item(b"key", value, flags, item(writer, b"key").cas)
        cas = item(client, b"key").cas
        assert writer.cas(b"key", b"10", cas, flags=3) is True
        assert client.cas(b"key", b"no", cas) is False
        assert client.incr(b"key", 5) == 15
        assert writer.append(b"key", b"0") is True
        found = item(client, b"key")
        assert found == Item(b"key", b"150", 3, found.cas)
        assert found.cas > cas
        assert client.touch(b"key", int(time.time()) - 10) is True
        assert writer.get(b"key") is None
