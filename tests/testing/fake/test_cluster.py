"""Several fakes as one cluster."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from memproto import Counter, Increment, LocalProtocolError, Version, VersionReply
from memproto.clients import Cluster
from memproto.testing import Delay, FakeCluster, FakeMemcached, Reply


def test_a_client_of_several_servers_finds_its_items_and_notices_an_outage() -> None:
    with FakeCluster(3) as cluster:
        assert len({*cluster.addresses}) == len(cluster) == 3
        with Cluster([f"{host}:{port}" for host, port in cluster.addresses]) as client:
            keys = [b"key%d" % number for number in range(30)]
            for key in keys:
                client.set(key, b"v", 60)
            assert sum(len(fake.items) for fake in cluster) == 30
            assert all(fake.items for fake in cluster[:2])
            cluster[1].down()
            assert len(client.get_multi(keys)) == 30 - len(cluster[1].items)
            cluster.advance(61)
            assert [len(fake.items) for fake in cluster] == [0, 0, 0]
        cluster.clear()
        assert [fake.requests for fake in cluster] == [[], [], []]
        socket.create_connection(cluster[1].address).close()


def test_if_one_cannot_be_started_none_is() -> None:
    before = threading.active_count()
    with FakeMemcached() as taken:
        ports = iter((0, 0, taken.port))
        cluster = FakeCluster(3, lambda: FakeMemcached(port=next(ports)))
        with pytest.raises(OSError, match="in use"):
            cluster.start()
    assert threading.active_count() == before
    cluster.stop()


def test_all_are_stopped_though_one_has_an_error_to_raise() -> None:
    cluster = FakeCluster(2).start()
    cluster[1].fail(Increment, how=Reply(Counter(-1)))
    pipe = cluster[1].pipe()
    pipe.send(Increment(b"k"))
    pipe.deliver_to_server()
    with pytest.raises(LocalProtocolError, match="counter is -1"):
        cluster.stop()
    for fake in cluster:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(fake.address)


def test_a_cluster_has_one_member_at_least() -> None:
    with pytest.raises(LocalProtocolError, match="count is 0, must be an int, 1 or more"):
        FakeCluster(0)


@pytest.mark.parametrize(
    ("make", "words"),
    [(5, "make is 5, must be a function that makes"), (dict, "what make.. returns is dict, must be a")],
)
def test_what_makes_no_fakes_is_refused(make: Callable[[], FakeMemcached], words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words):
        FakeCluster(2, make)


def test_the_members_are_made_as_the_test_says() -> None:
    cluster = FakeCluster(2, lambda: FakeMemcached(version="1.5.0"))
    cluster[0].fail(Version, how=Delay(1))
    pipe = cluster[0].pipe()
    exchange = pipe.send(Version())
    assert pipe.run() == []
    cluster.advance(1)
    assert len(pipe.run()) == 1
    assert exchange.reply == VersionReply(b"1.5.0")
