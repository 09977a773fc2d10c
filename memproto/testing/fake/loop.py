"""The thread that serves the clients of a fake: it owns all sockets, and never waits for a client."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from memproto.testing.fake.conversation import Conversation
from memproto.testing.fake.link import Link
from memproto.testing.fake.listener import Listener
from memproto.testing.fake.state import FakeState

#: How long :meth:`Loop.stop` waits for the thread, which waits for the lock at most, in seconds.
_PATIENCE = 5.0
#: How many seconds may pass until what clients have sent is carried out.
_MOST_SECONDS = 1.0
#: How long the thread sleeps at most, in seconds; selectors refuse some weeks.
_LONGEST_SLEEP = 3600.0


class Endpoint(Protocol):
    """What the thread needs of a client, and of the socket for datagrams."""

    socket: socket.socket
    #: Whether the socket is of no more use.
    broken: bool

    @property
    def events(self) -> int:
        """What the selector is to wait for."""
        ...

    def read(self) -> None:
        """Take what has arrived, and answer it."""

    def write(self, now: float) -> None:
        """Send what is due."""

    def wakes_at(self) -> float | None:
        """When there is something to do although nothing arrives."""
        ...

    def wake(self, now: float) -> None:
        """Do it."""

    def close(self) -> None:
        """Close the socket."""


class _Command:
    """A function that the thread is to call."""

    def __init__(self, function: Callable[[], None]) -> None:
        self.function: Callable[[], None] = function
        self.done: threading.Event = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.function()
        except Exception as error:
            self.error = error
        self.done.set()


class Loop:
    """Serves clients, from its creation until :meth:`stop`."""

    def __init__(
        self, state: FakeState, listener: Listener, tls: ssl.SSLContext | None, udp: Callable[[], Endpoint] | None
    ) -> None:
        self._state = state
        self._listener = listener
        self._tls = tls
        self._make_udp = udp
        self._elapsed = state.clock.elapsed
        # The clients, and the socket for datagrams.
        self._links: set[Link] = set()
        self._udp: Endpoint | None = None if udp is None else udp()
        # Those that have something to do at some time.
        self._timed: set[Endpoint] = set()
        self._commands: deque[_Command] = deque()
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)
        self._selector.register(self._wakee, selectors.EVENT_READ)
        self._watch_listener()
        if self._udp is not None:
            self._watch(self._udp)
        self._pid = os.getpid()
        # A daemon, so that a fake that nobody stops does not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name="FakeMemcached", daemon=True)
        self._thread.start()

    # --- called by other threads

    def call(self, function: Callable[[], None]) -> None:
        """Call a function in the thread that serves, and wait for it. Raises what it raises."""
        if os.getpid() != self._pid:
            raise RuntimeError("the fake is served by the process that started it; a child can only stop its copy")
        command = _Command(function)
        self._commands.append(command)
        self._wake()
        if not self._stopping:
            command.done.wait()
        if command.error is not None:
            raise command.error

    def settle(self) -> None:
        """Carry out what clients have sent before this call, as far as it has arrived.

        A client that sends without a pause is not waited for longer than a second.
        """
        self.call(self._settle)

    def down(self) -> None:
        """Refuse connections, and close those that there are."""
        self.call(self._down)

    def refuse(self) -> None:
        """Refuse connections; those that there are go on."""
        self.call(self._refuse)

    def up(self) -> None:
        """Accept connections again."""
        self.call(self._up)

    def close_delayed(self) -> None:
        """Close the connections that have replies whose time has not come."""
        self.call(self._close_delayed)

    def stop(self) -> None:
        """Close all. In a child process only the child's copies are closed."""
        if os.getpid() != self._pid:
            self._close_copies()
            return
        self._stopping = True
        self._wake()
        self._thread.join(_PATIENCE)
        self._close_copies()

    def _wake(self) -> None:
        with suppress(OSError):  # it is full, so that the thread wakes up anyway, or closed
            self._waker.send(b"\0")

    def _close_copies(self) -> None:
        for link in self._endpoints():
            link.socket.close()
        self._listener.close_copy()
        self._selector.close()
        self._waker.close()
        self._wakee.close()

    def _endpoints(self) -> list[Endpoint]:
        return [*self._links, *([] if self._udp is None else [self._udp])]

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn(self._wait())
                self._run_commands()
        except Exception as error:
            # Nobody would see it in this thread. The test learns of it when it stops the fake.
            self._state.errors.append(error)
        finally:
            # From now on nobody waits for a command; those that are here have somebody who does.
            self._stopping = True
            self._run_commands()
            for link in self._endpoints():
                self._drop(link)
            self._listener.close()

    def _run_commands(self) -> None:
        while self._commands:
            self._commands.popleft().run()

    def _wait(self) -> float | None:
        """How long the thread may sleep, ``None`` for no limit."""
        times = [at for at in (link.wakes_at() for link in self._timed) if at is not None]
        return min(max(min(times) - self._elapsed(), 0), _LONGEST_SLEEP) if times else None

    def _turn(self, timeout: float | None) -> set[Endpoint]:
        """Wait, and serve each client that has sent or taken something; these, and those that are new."""
        served: set[Endpoint] = set()
        for key, mask in self._selector.select(timeout):
            if key.fileobj is self._wakee:
                self._drain()
                continue
            if key.fileobj is self._listener.socket:
                served |= self._accept()
            else:
                self._serve(key.data, mask)
                served.add(key.data)
        now = self._elapsed()
        for link in list(self._timed):
            at = link.wakes_at()
            if at is not None and at <= now:
                link.wake(now)
            self._watch(link)
        return served

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._wakee.recv(4096):
                pass

    def _serve(self, link: Endpoint, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            link.read()
        if not link.broken:
            link.write(self._elapsed())
        self._watch(link)

    def _accept(self) -> set[Link]:
        links = {
            Link(accepted, Conversation(self._state, self._elapsed), self._tls) for accepted in self._listener.accept()
        }
        self._links |= links
        self._state.connections = len(self._links)
        for link in links:
            self._watch(link)
        return links

    def _watch(self, link: Endpoint) -> None:
        """Wait for what the link needs next, or close it."""
        if link.broken:
            self._drop(link)
            return
        events = link.events
        try:
            known = self._selector.get_key(link.socket).events
        except KeyError:
            known = 0
        if events != known:
            if known:
                self._selector.unregister(link.socket)
            if events:
                self._selector.register(link.socket, events, link)
        if link.wakes_at() is None:
            self._timed.discard(link)
        else:
            self._timed.add(link)

    def _drop(self, link: Endpoint) -> None:
        with suppress(KeyError):
            self._selector.unregister(link.socket)
        self._timed.discard(link)
        if isinstance(link, Link):
            self._links.discard(link)
        self._state.connections = len(self._links)
        link.close()

    # --- commands

    def _settle(self) -> None:
        # Until there was a turn for each client in which nothing had arrived from it.
        end = self._elapsed() + _MOST_SECONDS
        busy = self._turn(0)
        while busy and self._elapsed() < end:
            before = set(self._links)
            busy &= self._turn(0)
            busy |= self._links - before

    def _watch_listener(self) -> None:
        self._selector.register(self._listener.socket, selectors.EVENT_READ)

    def _refuse(self) -> None:
        if self._listener.listening:
            self._selector.unregister(self._listener.socket)
            self._listener.refuse()

    def _down(self) -> None:
        self._refuse()
        for link in self._endpoints():
            self._drop(link)
        self._udp = None

    def _up(self) -> None:
        if not self._listener.listening:
            self._listener.listen()
            self._watch_listener()
        if self._udp is None and self._make_udp is not None:
            self._udp = self._make_udp()
            self._watch(self._udp)

    def _close_delayed(self) -> None:
        for link in list(self._links):
            if link.conversation.delayed:
                self._drop(link)
        if self._udp is not None and self._make_udp is not None and self._udp.wakes_at() is not None:
            self._drop(self._udp)
            self._udp = self._make_udp()
            self._watch(self._udp)
