"""The fake memcached: what a test starts, looks at, and lets fail."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from memproto import AnyReply, AnyRequest, ClientConnection, Dialect, LocalProtocolError
from memproto.engine import Engine
from memproto.testing.arguments import check_count, check_port, check_type, misuse
from memproto.testing.fake.discovery import Node
from memproto.testing.fake.faults import Fault
from memproto.testing.fake.items import FakeItems
from memproto.testing.fake.listener import Listener
from memproto.testing.fake.loop import Endpoint, Loop
from memproto.testing.fake.pipe import FakePipe
from memproto.testing.fake.rules import Kinds, Rule
from memproto.testing.fake.sockets import FakeSocketModule, connect
from memproto.testing.fake.state import FakeOptions, FakeState, ReceivedRequest
from memproto.testing.fake.tls import Tls, Trust, tls_of

#: How many ports are tried until one is free for both TCP and UDP.
_ATTEMPTS = 20


class Outage:
    """What :meth:`FakeMemcached.down` and :meth:`FakeMemcached.refuse` return: a block that ends with ``up()``."""

    def __init__(self, fake: FakeMemcached) -> None:
        self._fake = fake

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._fake.up()


class FakeMemcached:
    """A memcached for tests, in this process, on a thread of its own.

    ``with FakeMemcached() as fake:`` listens until the end of the block. A fake that is not started serves clients in
    memory only.

    - ``host``, ``port``: where it listens; port 0 is a free one.
    - ``path``: a Unix socket to listen on in place of a port.
    - ``version``: the reply to ``version``.
    - ``dialects``: what clients may speak, :class:`~memproto.Dialect` members; ``None`` is all.
    - ``users``: a mapping of names to passwords. Clients must log in, by SASL PLAIN or by the text command.
    - ``item_size_max``: the largest item, in bytes, at most ``memory_limit``.
    - ``memory_limit``: the memory of all items, in bytes; without ``evict`` a full cache refuses stores.
    - ``tls``: ``True`` makes a certificate, which :attr:`client_context` and :attr:`ca_pem` trust; this needs trustme,
      which ``memproto[testing]`` brings. It may also be the paths of a certificate and of its key, or the SSLContext
      of a server.
    - ``udp``: listen on UDP too, on the same port; each datagram is a connection. Not with ``users`` or ``path``.
    - ``max_requests``: how many of the last requests :attr:`requests` keeps.

    Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type or out of range, and ImportError if
    trustme is missing.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: str | os.PathLike[str] | None = None,
        version: str = "1.6.18",
        dialects: Collection[Dialect] | None = None,
        users: Mapping[str, str] | None = None,
        item_size_max: int = 1024 * 1024,
        memory_limit: int = 64 * 1024 * 1024,
        evict: bool = True,
        tls: Tls = False,
        udp: bool = False,
        max_requests: int = 10_000,
    ) -> None:
        check_type("host", host, (str,), "a str")
        check_type("path", path, (str, os.PathLike, type(None)), "a str, a Path or None")
        check_type("version", version, (str,), "a str")
        check_type("udp", udp, (bool,), "True or False")
        if udp and (users is not None or path is not None):
            raise LocalProtocolError("udp is True, which goes neither with users nor with path")
        check_port("port", port)
        check_count("item_size_max", item_size_max, 1)
        check_count("memory_limit", memory_limit, 1)
        check_count("max_requests", max_requests)
        self._host = host
        self._port = port
        self._path = None if path is None else os.fspath(path)
        if self._path is not None and (not self._path or "\0" in self._path):
            raise misuse("path", self._path, "the path of a file")
        self._with_udp = udp
        self._state = FakeState(
            FakeOptions(
                version=version.encode(),
                dialects=dialects,
                users=users,
                item_size_max=item_size_max,
                memory_limit=memory_limit,
                evict=evict,
                max_requests=max_requests,
            )
        )
        self._state.rules.settle = self._settle
        self._items = FakeItems(lambda: self._state.access(self._settle))
        self._tls, self._trust = tls_of(tls, "localhost", host)
        self._listener: Listener | None = None
        self._loop: Loop | None = None
        # The thread that is in paused().
        self._pauser: int | None = None

    # --- start and stop

    def start(self) -> Self:
        """Listen. Raises OSError if the address cannot be used, and RuntimeError if it is started already."""
        if self._loop is not None:
            raise RuntimeError("the fake is started already")
        for _ in range(_ATTEMPTS):
            self._listener = listener = Listener(self._host, self._port, self._path)
            try:
                self._loop = Loop(self._state, listener, self._tls, self._udp_socket if self._with_udp else None)
            except OSError:
                # The port of TCP is in use for UDP. Another one may be free, if any will do.
                listener.close()
                if self._port:
                    raise
            else:
                return self
        raise OSError("there is no port that is free for both TCP and UDP")

    def _udp_socket(self) -> Endpoint:
        from memproto.testing.fake.udp import UdpSocket

        return UdpSocket(self._state, self._state.clock.elapsed, *self.address)

    def stop(self) -> None:
        """Close all connections and stop listening; a fake that is not started stays so.

        Raises the first error that a connection met with because of the test, such as a rule whose reply does not
        answer the request; and RuntimeError, with nothing stopped, in a block of :meth:`paused`. Gives an
        :class:`UnusedRuleWarning` for each rule that is not removed and that no request met with.
        """
        if self._pauser == threading.get_ident():
            raise RuntimeError("the fake cannot be stopped in a block of paused(), which its clients wait for")
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
        self._raise_error()
        for rule in self._state.rules.active:
            rule.warn_if_unused()

    def _raise_error(self) -> None:
        errors, self._state.errors = self._state.errors, []
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except Exception:
            # The error of the test itself says more.
            if error is None:
                raise

    # --- where it is

    @property
    def host(self) -> str:
        """The host that it listens on."""
        return self._host

    @property
    def port(self) -> int:
        """The port that it listens on, or did. Raises RuntimeError if it never was started, or is on a Unix socket."""
        if self._listener is None or self._path is not None:
            raise RuntimeError("the fake has no port: it was never started, or it listens on a Unix socket")
        return self._listener.port

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises RuntimeError as :attr:`port` does."""
        return self._host, self.port

    @property
    def path(self) -> str | None:
        """The Unix socket that it listens on, ``None`` if it listens on a port."""
        return self._path

    @property
    def url(self) -> str:
        """``memcached://HOST:PORT``, or ``memcached://PATH`` of a Unix socket. Raises as :attr:`address` does."""
        if self._path is not None:
            return f"memcached://{os.path.abspath(self._path)}"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"memcached://{host}:{self.port}"

    @property
    def client_context(self) -> ssl.SSLContext:
        """The TLS context of a client that trusts this fake. Raises RuntimeError without ``tls=True``."""
        return self._made_for_it.client_context

    @property
    def ca_pem(self) -> bytes:
        """The certificate that a client has to trust, in PEM. Raises RuntimeError without ``tls=True``."""
        return self._made_for_it.ca_pem

    @property
    def _made_for_it(self) -> Trust:
        if self._trust is None:
            raise RuntimeError("no certificate was made for the fake: it was made without tls=True")
        return self._trust

    # --- in memory

    @property
    def socket_module(self) -> FakeSocketModule:
        """A module ``socket`` for clients that take one; they talk to this fake without a network.

        The fake need not be started. Waiting takes no time: it advances the time of the fake.
        """
        return FakeSocketModule(self._state)

    def pipe(self, client: ClientConnection | None = None) -> FakePipe:
        """Join a client and this fake in memory; the fake need not be started.

        Raises ConnectionRefusedError while the fake is down or refuses connections.
        """
        return FakePipe(connect(self._state), client)

    # --- what it holds

    @property
    def items(self) -> FakeItems:
        """The items by key, a live mapping, which any thread may use, also to prepare a test."""
        return self._items

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests that clients have sent so far, the oldest first: the last ``max_requests``, a new list."""
        self._settle()
        with self._state.lock:
            return list(self._state.requests)

    @property
    def engine(self) -> Engine:
        """The cache itself. While clients are served, use it in a block of :meth:`paused` only."""
        return self._state.engine

    def execute(self, request: AnyRequest) -> AnyReply:
        """Execute a request now, as if a client had sent it, without rules and without a trace in :attr:`requests`."""
        with self.paused():
            return self._state.execute(request)

    @contextmanager
    def paused(self) -> Iterator[Engine]:
        """Execute no request of a client until the end of the block; what clients have sent before is carried out."""
        self._settle()
        with self._state.lock:
            before, self._pauser = self._pauser, threading.get_ident()
            try:
                yield self._state.engine
            finally:
                self._pauser = before

    def clear(self) -> None:
        """Return to the state after the start: no items, requests, rules; the time of the system; not down.

        Connections stay open, but those whose replies are delayed are closed. Raises what :meth:`stop` would raise.
        """
        if self._loop is not None:
            self._loop.close_delayed()
        for conversation in self._state.in_memory:
            if conversation.delayed:
                conversation.hang_up()
        with self.paused():
            rules = self._state.rules.active
            self._state.reset()
        self.up()
        self._raise_error()
        for rule in rules:
            rule.warn_if_unused()

    def _settle(self) -> None:
        if self._loop is not None and self._pauser != threading.get_ident():
            self._loop.settle()

    # --- time

    @property
    def now(self) -> float:
        """The time of the items, in Unix seconds. It follows ``time.time()`` until it is set; then it stands still."""
        return self._state.clock.now

    @now.setter
    def now(self, value: float) -> None:
        self._settle()
        self._state.clock.now = value

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once: items expire, and delayed replies are sent.

        Raises :class:`~memproto.LocalProtocolError` for a negative number.
        """
        self._settle()
        self._state.clock.advance(seconds)
        self._settle()

    # --- faults

    def down(self) -> Outage:
        """Close all connections, and refuse new ones at the same address, until :meth:`up`. The items stay."""
        self._state.accepting = False
        for conversation in self._state.in_memory:
            conversation.hang_up()
        if self._loop is not None:
            self._loop.down()
        return Outage(self)

    def refuse(self) -> Outage:
        """Refuse new connections until :meth:`up`; those that there are go on."""
        self._state.accepting = False
        if self._loop is not None:
            self._loop.refuse()
        return Outage(self)

    def up(self) -> None:
        """Accept connections again."""
        self._state.accepting = True
        if self._loop is not None:
            self._loop.up()

    def fail(
        self,
        request: Kinds = None,
        *,
        key: bytes | None = None,
        nth: int = 1,
        times: int | None = None,
        how: Fault,
    ) -> Rule:
        """Let requests meet with a fault, until the rule is removed; as a context manager it removes itself.

        ``request`` is a class of requests or a tuple of classes; without it all. ``key`` is a pattern with ``*``, ``?``
        and ``[...]``, such as ``b"user:*"``; a get of many keys fits if one of them does. The fault begins with the
        ``nth`` request that fits, counted from 1, and happens ``times`` times, or always. Of several rules the one made
        last applies.

        Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type or out of range.
        """
        self._settle()
        with self._state.lock:
            return self._state.rules.add(request, key, nth, times, how)

    # --- discovery

    def discovery(self, nodes: Iterable[Node]) -> None:
        """Answer ``config get cluster`` with these nodes, pairs of host and port, as ElastiCache and Memorystore do.

        Each call makes a configuration with a higher number. Without any call the command is unknown, as it is to
        memcached. ``nodes`` may be ``cluster.addresses`` of a :class:`FakeCluster`.

        Raises :class:`~memproto.LocalProtocolError` for what is no pair of a str and an int.
        """
        self._settle()
        with self._state.lock:
            self._state.discovery.set(nodes)
