"""The blocking clients: how each is made on sockets that are none, and how it is asked."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import memproto.clients.client
import memproto.clients.permits
import memproto.clients.stream
from memproto import Dialect
from tests.desync.oracle import Call, Done, Kind, Result
from tests.desync.sockets import FakeModule, Network, replaced

#: Carries out a call; the number is the CAS of a CAS call.
Ask: TypeAlias = Callable[[Call, int], Result]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A client: its name, the package it comes from, and how it is made, until the context ends."""

    name: str
    package: str
    make: Callable[[Network], AbstractContextManager[Ask]]

    @property
    def installed(self) -> bool:
        """Whether it is here."""
        return importlib.util.find_spec(self.package) is not None


def _ours(dialect: Dialect) -> Contestant:
    @contextmanager
    def make(network: Network) -> Iterator[Ask]:
        with (
            replaced(memproto.clients.stream, ("socket", "select", "time"), network),
            replaced(memproto.clients.client, ("time",), network),
        ):
            client = memproto.clients.client.Client(timeout=60.0, dialect=dialect)

            def ask(call: Call, cas: int) -> Result:
                match call.kind:
                    case Kind.GET:
                        return client.get(call.key)
                    case Kind.GETS:
                        item = client.gets(call.key)
                        return None if item is None else (item.value, item.cas)
                    case Kind.MANY:
                        return client.get_multi(call.keys)
                    case Kind.SET:
                        return client.set(call.key, call.value)
                    case Kind.ADD:
                        return client.add(call.key, call.value)
                    case Kind.CAS:
                        return bool(client.cas(call.key, call.value, cas))
                    case Kind.DELETE:
                        return client.delete(call.key)
                    case Kind.INCREMENT:
                        return client.incr(call.key, call.delta)

            yield ask

    return Contestant(f"memproto {dialect.name.lower()}", "memproto", make)


# A second key for the reads, which is never stored.
_OTHER: Final = b"other"


def _ours_pooled(dialect: Dialect) -> Contestant:
    """The same client with a pool. It does everything by commands on many keys."""

    @contextmanager
    def make(network: Network) -> Iterator[Ask]:
        with (
            replaced(memproto.clients.stream, ("socket", "select", "time"), network),
            replaced(memproto.clients.client, ("time",), network),
            replaced(memproto.clients.permits, ("time",), network),
        ):
            client = memproto.clients.client.Client(timeout=60.0, dialect=dialect, pool=1)

            def ask(call: Call, cas: int) -> Result:
                both = (_OTHER, call.key)
                match call.kind:
                    case Kind.GET:
                        return client.get_multi(both).get(call.key)
                    case Kind.GETS:
                        item = client.gets_multi(both).get(call.key)
                        return None if item is None else (item.value, item.cas)
                    case Kind.MANY:
                        return client.gat_multi(call.keys, 0)
                    case Kind.SET:
                        return client.set_multi({call.key: call.value}) == []
                    case Kind.ADD:
                        return call.key not in client.add_multi({call.key: call.value})
                    case Kind.CAS:
                        return bool(client.cas(call.key, call.value, cas))
                    case Kind.DELETE:
                        return call.key in client.delete_multi([call.key, call.key])
                    case Kind.INCREMENT:
                        return client.incr_multi([call.key], call.delta).get(call.key)

            yield ask

    return Contestant(f"memproto {dialect.name.lower()}, pool", "memproto", make)


def _pymemcache(ignore_exc: bool) -> Contestant:
    @contextmanager
    def make(network: Network) -> Iterator[Ask]:
        client = importlib.import_module("pymemcache.client.base").Client(
            ("127.0.0.1", 11211),
            connect_timeout=60,
            timeout=60,
            ignore_exc=ignore_exc,
            default_noreply=False,
            socket_module=FakeModule(network),
        )

        def ask(call: Call, cas: int) -> Result:
            result: Result
            match call.kind:
                case Kind.GET:
                    result = client.get(call.key)
                case Kind.GETS:
                    value, word = client.gets(call.key)
                    result = None if value is None else (value, int(word))
                case Kind.MANY:
                    result = client.get_many(call.keys)
                case Kind.SET:
                    result = client.set(call.key, call.value)
                case Kind.ADD:
                    result = client.add(call.key, call.value)
                case Kind.CAS:
                    result = bool(client.cas(call.key, call.value, b"%d" % cas))
                case Kind.DELETE:
                    result = client.delete(call.key)
                case Kind.INCREMENT:
                    result = client.incr(call.key, call.delta)
            return result

        yield ask
        client.close()

    return Contestant("pymemcache" + ", ignore_exc" * ignore_exc, "pymemcache", make)


@contextmanager
def _make_bmemcached(network: Network) -> Iterator[Ask]:
    with replaced(importlib.import_module("bmemcached.protocol"), ("socket",), network):
        client = importlib.import_module("bmemcached").Client(("127.0.0.1:11211",), socket_timeout=60, raw_data=True)

        def ask(call: Call, cas: int) -> Result:
            result: Result
            match call.kind:
                case Kind.GET:
                    result = client.get(call.key)
                case Kind.GETS:
                    value, number = client.gets(call.key)
                    result = None if value is None else (value, number)
                case Kind.MANY:
                    result = client.get_multi(list(call.keys))
                case Kind.SET:
                    result = client.set(call.key, call.value)
                case Kind.ADD:
                    result = client.add(call.key, call.value)
                case Kind.CAS:
                    result = client.cas(call.key, call.value, cas)
                case Kind.DELETE:
                    # It gives true for an absent key too.
                    result = client.delete(call.key) and Done.DONE
                case Kind.INCREMENT:
                    result = client.incr(call.key, call.delta)
            return result

        yield ask
        client.disconnect_all()


OURS = tuple(_ours(dialect) for dialect in (Dialect.BINARY, Dialect.CLASSIC, Dialect.META))
POOLED = tuple(_ours_pooled(dialect) for dialect in (Dialect.BINARY, Dialect.CLASSIC, Dialect.META))
RIVALS = (
    Contestant("python-binary-memcached", "bmemcached", _make_bmemcached),
    _pymemcache(False),
    _pymemcache(True),
)
