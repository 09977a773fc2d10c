"""The fake as a server: real clients on real sockets, what it holds, its clock, and that it always stops."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from memproto import Delete, Deleted, Dialect, Get, Increment, LocalProtocolError, Set, Stats, StatsReply, Version
from memproto.clients import Client, ServerError
from memproto.testing import Delay, FakeItem, FakeMemcached, ReceivedRequest
from memproto.testing.fake.link import Link
from memproto.testing.fake.listener import Listener
from memproto.testing.fake.loop import Endpoint, Loop
from tests.support.peers import DEADLINE


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeMemcached]:
    with FakeMemcached() as fake:
        yield fake


@pytest.fixture
def fake(shared: FakeMemcached) -> FakeMemcached:
    shared.clear()
    return shared


def ask(fake: FakeMemcached, data: bytes, size: int) -> bytes:
    """Send this on a connection of its own, and read so many bytes."""
    with socket.create_connection(fake.address, DEADLINE) as link:
        link.sendall(data)
        return read(link, size)


def read(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := link.recv(size - len(data))):
        data += piece
    return data


@pytest.mark.parametrize("dialect", Dialect)
def test_a_client_of_each_dialect_is_served(fake: FakeMemcached, dialect: Dialect) -> None:
    with Client(*fake.address, dialect=dialect) as client:
        assert client.set(b"key", b"value", 60, flags=5)
        assert client.get(b"key") == b"value"
        assert client.incr(b"absent") is None
    assert fake.items == {b"key": FakeItem(b"value", 5, 60, 1)}


def test_a_request_without_a_reply_is_carried_out_before_items_and_requests_are_shown(fake: FakeMemcached) -> None:
    with socket.create_connection(fake.address, DEADLINE) as link:
        for number in range(20):
            link.sendall(b"set key 0 0 2 noreply\r\n%02d\r\n" % number)
            assert fake.items[b"key"].value == b"%02d" % number
            assert len(fake.requests) == number + 1


def test_requests_that_the_system_of_the_client_would_keep_back_are_carried_out_too(fake: FakeMemcached) -> None:
    with socket.create_connection(fake.address, DEADLINE) as link:
        for number in range(20):
            link.sendall(b"mn\r\n")
            assert read(link, 4) == b"MN\r\n"
            for _ in range(4):
                link.sendall(b"set key 0 0 2 noreply\r\n%02d\r\n" % number)
            assert len(fake.requests) == 5 * number + 5


def test_requests_are_messages_with_connection_and_time(fake: FakeMemcached) -> None:
    fake.now = 1000
    ask(fake, b"set a 0 0 1\r\nx\r\n", 8)
    fake.advance(5)
    ask(fake, b"get a b\r\n", 20)
    first, second = fake.requests
    assert isinstance(first, ReceivedRequest)
    assert (first.request, second.request) == (Set(b"a", b"x"), Get((b"a", b"b")))
    assert (first.time, second.time) == (1000, 1005)
    assert second.connection == first.connection + 1
    assert second.envelope.dialect is Dialect.CLASSIC
    assert second.fault is None


def test_the_last_requests_are_kept() -> None:
    with FakeMemcached(max_requests=2) as fake:
        ask(fake, b"version\r\nget a\r\nget b\r\n", 26)
        assert [each.request for each in fake.requests] == [Get((b"a",)), Get((b"b",))]


def test_version_and_sizes_are_those_that_are_asked_for() -> None:
    with FakeMemcached(version="1.6.45", item_size_max=1024, memory_limit=4096) as fake:
        assert ask(fake, b"version\r\n", 16) == b"VERSION 1.6.45\r\n"
        assert (
            ask(fake, b"set k 0 0 2000\r\n" + bytes(2000) + b"\r\n", 41)
            == b"SERVER_ERROR object too large for cache\r\n"
        )
        for number in range(10):
            fake.items[b"%d" % number] = bytes(400)
        assert len(fake.items) == 4


def test_a_full_cache_without_evict_refuses_stores() -> None:
    with FakeMemcached(item_size_max=1024, memory_limit=1024, evict=False) as fake:
        fake.items[b"a"] = bytes(400)
        with pytest.raises(LocalProtocolError, match=r"^item b'b' of 400 bytes was refused: Out of memory"):
            fake.items[b"b"] = bytes(400)


def test_dialects_that_are_not_allowed_are_refused() -> None:
    with FakeMemcached(dialects={Dialect.META}) as fake:
        assert ask(fake, b"get k\r\nmn\r\n", 11) == b"ERROR\r\nMN\r\n"


# --- items


def test_items_are_stored_changed_and_deleted_by_a_test(fake: FakeMemcached) -> None:
    fake.items[b"a"] = b"1"
    fake.items[b"b"] = FakeItem(b"2", flags=7, exptime=60, cas=99)
    assert ask(fake, b"gets b\r\n", 24) == b"VALUE b 7 1 99\r\n2\r\nEND\r\n"
    assert list(fake.items) == [b"a", b"b"]
    del fake.items[b"a"]
    assert b"a" not in fake.items
    assert repr(fake.items) == "<FakeItems {b'b': FakeItem(value=b'2', flags=7, exptime=60, cas=99)}>"
    fake.items.clear()
    assert len(fake.items) == 0
    assert [each.request for each in fake.requests] == [Get((b"b",))]


def test_what_is_no_item_is_refused(fake: FakeMemcached) -> None:
    with pytest.raises(KeyError):
        _ = fake.items[b"absent"]
    with pytest.raises(KeyError):
        del fake.items[b"absent"]
    with pytest.raises(LocalProtocolError, match="key is 'k', must be bytes"):
        _ = fake.items["k"]  # type: ignore[index]
    with pytest.raises(LocalProtocolError, match="value is 'text', must be bytes or a FakeItem"):
        fake.items[b"k"] = "text"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("key", "item", "words"),
    [
        (b"", FakeItem(b""), "the size of the key is 0, must be an int, 1 to 250"),
        (b"k" * 251, FakeItem(b""), "the size of the key is 251, must be"),
        (b"k", FakeItem(b"", flags=2**32), "flags is 4294967296, must be an int, 0 to 4294967295"),
        (b"k", FakeItem(b"", exptime=2**63), "exptime is 9223372036854775808, must be"),
        (b"k", FakeItem(b"", cas=-1), "cas is -1, must be an int, 0 to"),
    ],
)
def test_an_item_that_no_client_could_store_is_refused(
    fake: FakeMemcached, key: bytes, item: FakeItem, words: str
) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        fake.items[key] = item
    assert str(caught.value).startswith(words)
    assert len(fake.items) == 0


def test_popitem_removes_some_item_that_is_not_expired(fake: FakeMemcached) -> None:
    fake.now = 1_900_000_000
    fake.items.update({b"a": FakeItem(b"1", exptime=60), b"b": FakeItem(b"2")})
    fake.advance(60)
    assert fake.items.popitem() == (b"b", FakeItem(b"2", cas=2))
    with pytest.raises(KeyError):
        fake.items.popitem()


def test_pop_removes_an_item_and_returns_it_or_a_default(fake: FakeMemcached) -> None:
    fake.items[b"a"] = FakeItem(b"1", flags=2, exptime=60)
    assert fake.items.pop(b"a") == FakeItem(b"1", 2, 60, 1)
    assert fake.items.pop(b"a", None) is None
    with pytest.raises(KeyError):
        fake.items.pop(b"a")
    fake.now = 1_900_000_000
    fake.items[b"a"] = FakeItem(b"1", exptime=60)
    fake.advance(60)
    assert fake.items.pop(b"a", None) is None


def test_the_exptime_of_an_item_is_what_a_store_would_say_now(fake: FakeMemcached) -> None:
    fake.now = 2_000_000_000
    fake.items[b"a"] = FakeItem(b"", exptime=60)
    fake.items[b"b"] = FakeItem(b"", exptime=2_100_000_000)
    fake.advance(10.5)
    assert fake.items[b"a"].exptime == 50
    assert fake.items[b"b"].exptime == 2_100_000_000


# --- time


def test_advance_expires_items(fake: FakeMemcached) -> None:
    ask(fake, b"set k 0 60 1\r\nx\r\n", 8)
    fake.advance(59)
    assert b"k" in fake.items
    fake.advance(2)
    assert b"k" not in fake.items
    assert ask(fake, b"get k\r\n", 5) == b"END\r\n"


def test_a_delayed_flush_is_seen_in_the_items(fake: FakeMemcached) -> None:
    ask(fake, b"set k 0 0 1\r\nx\r\nflush_all 30\r\n", 12)
    assert b"k" in fake.items
    fake.advance(31)
    assert dict(fake.items) == {}


def test_the_time_follows_freezegun() -> None:
    freezegun = pytest.importorskip("freezegun")
    with FakeMemcached() as fake, freezegun.freeze_time("2030-01-01") as frozen:
        ask(fake, b"set k 0 60 1\r\nx\r\n", 8)
        assert fake.now == 1893456000
        frozen.tick(61)
        assert ask(fake, b"get k\r\n", 5) == b"END\r\n"
        with fake.fail(Version, how=Delay(0.01)):
            assert ask(fake, b"version\r\n", 16) == b"VERSION 1.6.18\r\n"


def test_the_time_follows_time_machine() -> None:
    time_machine = pytest.importorskip("time_machine")
    with FakeMemcached() as fake, time_machine.travel(1893456000, tick=False) as traveller:
        ask(fake, b"set k 0 60 1\r\nx\r\n", 8)
        assert fake.now == 1893456000
        traveller.shift(61)
        assert ask(fake, b"get k\r\n", 5) == b"END\r\n"


@pytest.mark.parametrize(
    "wrong", [-1, float("nan"), "1", True, 2 * 10**12, 10**5000], ids=lambda value: str(type(value))
)
def test_a_wrong_time_is_refused(fake: FakeMemcached, wrong: object) -> None:
    with pytest.raises(LocalProtocolError, match=r"^seconds is .* must be a finite number of seconds, 0 to 10+$"):
        fake.advance(wrong)  # type: ignore[arg-type]
    if wrong != -1:
        with pytest.raises(LocalProtocolError, match=r"^now is .* must be a finite number of seconds, -10+ to 10+$"):
            fake.now = wrong  # type: ignore[assignment]


# --- the engine, and a clean state


def test_execute_and_paused_use_the_engine_between_requests(fake: FakeMemcached) -> None:
    fake.execute(Set(b"n", b"5"))
    with fake.paused() as engine:
        assert engine is fake.engine
        assert len(engine) == 1
        assert b"n" in fake.items
        with fake.paused():
            fake.execute(Increment(b"n"))
        with pytest.raises(RuntimeError, match="cannot be stopped in a block of paused"):
            fake.stop()
    assert fake.items[b"n"].value == b"6"
    assert fake.requests == []


def test_no_request_is_executed_while_paused(fake: FakeMemcached) -> None:
    with socket.create_connection(fake.address, DEADLINE) as link:
        with fake.paused():
            link.sendall(b"version\r\n")
            link.settimeout(0.05)
            with pytest.raises(TimeoutError):
                link.recv(1)
        link.settimeout(DEADLINE)
        assert read(link, 16) == b"VERSION 1.6.18\r\n"


def test_clear_gives_the_state_after_the_start(fake: FakeMemcached) -> None:
    fake.fail(Get, how=Delay(1000))
    fake.now = 5
    with socket.create_connection(fake.address, DEADLINE) as delayed, Client(*fake.address) as client:
        client.set(b"k", b"v")
        delayed.sendall(b"get k\r\n")
        assert len(fake.requests) == 2
        fake.refuse()
        fake.clear()
        assert (dict(fake.items), fake.requests) == ({}, [])
        assert fake.now > 1_000_000_000
        assert delayed.recv(1) == b""
        assert client.get(b"k") is None
        client.set(b"k", b"v")
    assert fake.items[b"k"].cas == 1


def test_statistics_have_those_of_the_process(fake: FakeMemcached) -> None:
    with Client(*fake.address) as client:
        client.get(b"k")
        stats = client.stats()
    assert stats[b"pid"] == b"%d" % os.getpid()
    assert stats[b"curr_connections"] == b"1"
    assert stats[b"version"] == b"1.6.18"
    assert stats[b"get_misses"] == b"1"
    assert fake.execute(Stats(b"items")) == StatsReply()


def test_settings_have_what_clients_look_for_and_those_of_the_cache(fake: FakeMemcached) -> None:
    with Client(*fake.address) as client:
        settings = client.stats(b"settings")
    assert settings[b"verbosity"] == b"0"
    assert settings[b"item_size_max"] == b"1048576"


# --- start and stop


def test_the_address_is_known_in_several_forms(fake: FakeMemcached) -> None:
    host, port = fake.address
    assert (fake.host, fake.port, fake.path) == (host, port, None)
    assert fake.url == f"memcached://127.0.0.1:{port}"


def test_it_listens_on_ipv6_and_on_a_port_that_is_given() -> None:
    with FakeMemcached(host="::1") as fake:
        assert fake.url == f"memcached://[::1]:{fake.port}"
        port = fake.port
    with FakeMemcached(host="::1", port=port) as fake:
        assert fake.port == port
        assert ask(fake, b"mn\r\n", 4) == b"MN\r\n"


def test_it_listens_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with FakeMemcached(path=tmp_path / "socket") as fake, closing(socket.socket(socket.AF_UNIX)) as link:
        link.connect(path)
        link.sendall(b"mn\r\n")
        assert read(link, 4) == b"MN\r\n"
        assert fake.url == f"memcached://{path}"
        with pytest.raises(RuntimeError, match="no port"):
            _ = fake.address
        with fake.down(), closing(socket.socket(socket.AF_UNIX)) as other, pytest.raises(ConnectionRefusedError):
            other.connect(path)
        with closing(socket.socket(socket.AF_UNIX)) as other:
            other.connect(path)
    assert not os.path.exists(path)


def test_an_address_that_cannot_be_used_is_an_os_error_that_names_it(fake: FakeMemcached, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"in use: '127.0.0.1:{fake.port}'"):
        FakeMemcached(port=fake.port).start()
    path = str(tmp_path / ("s" * 100))
    with pytest.raises(OSError, match=f"path too long: '{path}'"):
        FakeMemcached(path=path).start()
    with pytest.raises(OSError, match=f"in use: '{tmp_path}'"):
        FakeMemcached(path=tmp_path).start()


def test_an_error_in_the_thread_closes_the_connections_and_is_raised_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(link: Link) -> None:
        raise ZeroDivisionError("a defect")

    fake = FakeMemcached().start()
    with socket.create_connection(fake.address, DEADLINE) as link:
        assert fake.requests == []
        monkeypatch.setattr(Link, "read", broken)
        link.sendall(b"mn\r\n")
        assert link.recv(1) == b""
    with pytest.raises(ZeroDivisionError, match="a defect"):
        fake.stop()


def test_starting_twice_is_an_error_and_stopping_twice_is_none() -> None:
    fake = FakeMemcached()
    with pytest.raises(RuntimeError, match="no port"):
        _ = fake.address
    fake.stop()
    fake.start()
    with pytest.raises(RuntimeError, match="started already"):
        fake.start()
    fake.stop()
    fake.stop()
    with fake:
        assert ask(fake, b"mn\r\n", 4) == b"MN\r\n"


def test_many_starts_and_stops_leave_no_thread_and_no_descriptor() -> None:
    with FakeMemcached() as fake:
        ask(fake, b"mn\r\n", 4)
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    for _ in range(30):
        with FakeMemcached() as fake, socket.create_connection(fake.address, DEADLINE):
            assert fake.requests == []
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def test_it_stops_while_a_client_takes_nothing_and_while_a_reply_is_delayed() -> None:
    before = threading.active_count()
    fake = FakeMemcached().start()
    fake.items[b"k"] = bytes(1_000_000)
    fake.fail(Version, how=Delay(1000))
    with (
        socket.create_connection(fake.address, DEADLINE) as greedy,
        socket.create_connection(fake.address, DEADLINE) as patient,
    ):
        greedy.sendall(b"get k\r\n" * 1000)
        patient.sendall(b"version\r\n")
        assert ask(fake, b"mn\r\n", 4) == b"MN\r\n"
        fake.stop()
        assert patient.recv(1) == b""
    assert threading.active_count() == before


def test_a_client_that_takes_nothing_is_answered_no_further() -> None:
    with FakeMemcached() as fake, socket.create_connection(fake.address, DEADLINE) as greedy:
        fake.items[b"k"] = bytes(1_000_000)
        greedy.sendall(b"get k\r\n" * 1000)
        taken = len(fake.requests)
        assert taken < 100
        assert len(read(greedy, 10_000_000)) == 10_000_000
        assert len(fake.requests) > taken


def test_a_pipeline_of_large_values_is_answered_in_turns_with_other_clients(fake: FakeMemcached) -> None:
    fake.items[b"k"] = bytes(70_000)
    reply = b"VALUE k 0 70000\r\n" + bytes(70_000) + b"\r\nEND\r\n"
    assert ask(fake, b"get k\r\n" * 40, 40 * len(reply)) == reply * 40


def test_a_get_of_many_keys_and_values_over_the_limit_are_answered(fake: FakeMemcached) -> None:
    with Client(*fake.address, dialect=Dialect.CLASSIC) as client:
        keys = [b"%d" % number for number in range(2000)]
        client.set_multi(dict.fromkeys(keys, b"v" * 100))
        assert len(client.get_multi(keys)) == 2000
        assert client.set(b"large", bytes(1_000_000))
        with pytest.raises(ServerError, match="Too large"):
            client.set(b"large", bytes(2_000_000))
        assert client.get(b"large") is None


def test_a_loop_that_has_stopped_or_belongs_to_a_parent_process_runs_no_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeMemcached()
    loop = Loop(fake.pipe()._conversation._state, Listener("127.0.0.1", 0, None), None, None)
    loop.stop()
    loop.settle()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="served by the process that started it"):
        loop.settle()
    loop.stop()


def test_a_fork_can_stop_its_copy_and_the_parent_is_still_served() -> None:
    with FakeMemcached() as fake, socket.create_connection(fake.address, DEADLINE) as link:
        fake.items[b"k"] = b"v"
        child = os.fork() if hasattr(os, "fork") else pytest.skip("there is no fork")
        if child == 0:
            code = 1
            try:
                try:
                    fake.fail(how=Delay(1))
                except RuntimeError:
                    answer = ask(fake, b"mn\r\n", 4)
                    fake.stop()
                    code = 0 if answer == b"MN\r\n" else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        link.sendall(b"get k\r\n")
        assert read(link, 18) == b"VALUE k 0 1\r\nv\r\nEND\r\n"[:18]
        assert fake.execute(Delete(b"k")) == Deleted()


def test_connections_close_at_stop_though_a_child_has_inherited_them() -> None:
    fake = FakeMemcached().start()
    with socket.create_connection(fake.address, DEADLINE) as link:
        assert fake.requests == []
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)
            os._exit(0)
        address = fake.address
        fake.stop()
        assert link.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, DEADLINE)
        os.close(go)
        os.close(ready)
        os.waitpid(child, 0)


def test_a_client_that_sends_without_a_pause_does_not_hold_up_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0
    turn = Loop._turn

    def counted(loop: Loop, timeout: float | None) -> set[Endpoint]:
        nonlocal turns
        turns += 1
        return turn(loop, timeout)

    monkeypatch.setattr(Loop, "_turn", counted)
    monkeypatch.setattr("memproto.testing.fake.loop._MOST_SECONDS", 0.02)
    ended = threading.Event()

    def flood(link: socket.socket) -> None:
        while not ended.is_set():
            link.sendall(b"mn\r\nset key 0 0 1 noreply\r\nx\r\n" * 100)
            assert len(read(link, 400)) == 400 or ended.is_set()

    with FakeMemcached() as fake, ExitStack() as stack:
        links = [stack.enter_context(socket.create_connection(fake.address, DEADLINE)) for _ in range(3)]
        threads = [threading.Thread(target=flood, args=(link,)) for link in links]
        for thread in threads:
            thread.start()
        before = turns
        seen = len(fake.requests)
        assert turns - before < 200
        ended.set()
        for thread in threads:
            thread.join(DEADLINE)
        assert len(fake.requests) >= seen


def test_threads_may_look_at_the_items_while_clients_write(fake: FakeMemcached) -> None:
    errors: list[Exception] = []

    def look() -> None:
        try:
            for number in range(50):
                fake.items[b"own %d" % threading.get_ident()] = b"%d" % number
                assert all(len(item.value) < 10 for item in fake.items.values())
                assert len(fake.requests) <= 500
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    with Client(*fake.address) as client:
        for number in range(200):
            client.set(b"key%d" % (number % 10), b"%d" % number)
            client.delete(b"key%d" % (number % 7))
    for thread in threads:
        thread.join(DEADLINE)
    assert errors == []


def test_wrong_arguments_are_refused_by_name() -> None:
    for arguments, words in (
        ({"host": 1}, "host is 1, must be a str"),
        ({"port": -1}, "port is -1, must be an int, 0 to 65535"),
        ({"version": b"1"}, "version is b'1', must be a str"),
        ({"dialects": ()}, "dialects are none"),
        ({"path": ""}, "path is '', must be the path of a file"),
        ({"path": b"/tmp"}, "path is b'/tmp', must be a str, a Path or None"),
        ({"users": 5}, "users is 5, must be a mapping"),
        ({"users": {"name": 5}}, "the password of name is 5, must be a str"),
        ({"port": 65536}, "port is 65536, must be an int, 0 to 65535"),
        ({"item_size_max": 0}, "item_size_max is 0, must be an int, 1 or more"),
        ({"memory_limit": 0}, "memory_limit is 0, must be an int, 1 or more"),
        ({"memory_limit": 5}, "item_size_max is"),
    ):
        with pytest.raises(LocalProtocolError) as caught:
            FakeMemcached(**arguments)
        assert str(caught.value).startswith(words)
