"""``memproto demo``: a server and a client exchange messages, and each is explained."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from memproto import Dialect, Item, ProtocolError
from memproto.capture.fields import format_fields, format_short
from memproto.capture.follower import Follower, Record
from memproto.cli.arguments import CommandLine
from memproto.clients.client import Client, ServerError

#: So many seconds the whole demonstration may take.
TIMEOUT = 20.0

#: Text first, because everyone can read it.
ORDER = (Dialect.CLASSIC, Dialect.META, Dialect.BINARY)

_DESCRIPTION = """\
Run a client and a server, and explain the bytes that they exchange.

Starts the reference server on a free port, sends it most kinds of requests in
each dialect, and stops it. The text dialects come first, word by word; the
first binary exchange is shown field by field, the others a line each packet.

The exit code is 0 if every reply was the expected one, else 1."""

LEGEND = """
How to read this:
  ===            what the client is asked to do
  request        what the client sends, with the meaning of each word, field or flag
  reply          what the server answers, likewise
  = Get(...)     the message as memproto decodes it: one type for each meaning, the same in all dialects
  > <            a packet of the client, of the server, in one line, without what is 0 in its header
  ->             what the client's method returns"""


class UnexpectedError(Exception):
    """Something is not as it should be; the text says what."""


class Demonstration:
    """A client whose traffic is printed with its meaning."""

    def __init__(self, port: int, dialect: Dialect) -> None:
        self._records: list[Record] = []
        self._follower = Follower(None, keep=True)
        self._in_full = True
        self.dialect = dialect

        def note(way: str, data: bytes) -> None:
            follow = self._follower.client_sent if way == ">" else self._follower.server_sent
            self._records += follow(data)

        self.client: Client = Client("127.0.0.1", port, timeout=5.0, dialect=dialect, trace=note)
        self.exchanges: int = 0

    def show(self, title: str, call: Callable[[], object], expected: object) -> None:
        """Make one call, print what went over the wire, and compare its result."""
        print(f"\n=== {title}\n")
        try:
            result = call()
        except ServerError as error:
            result = error.failure.reason
        self._explain()
        print(f"-> {result!r}")
        self.exchanges += 1
        if result != expected:
            raise UnexpectedError(f"{title}: expected {expected!r}, got {result!r}")

    def close(self) -> None:
        """Close the connection, and note that its bytes end here."""
        self.client.close()
        self._records += self._follower.end()

    def _explain(self) -> None:
        for record in self._records:
            in_full = self._in_full or self.dialect is not Dialect.BINARY
            print(format_fields(record) if in_full else format_short(record))
            self._in_full = False
        self._records.clear()

    def _cas_of(self, key: bytes) -> int:
        item = self.client.gets(key)
        self._records.clear()
        return 0 if item is None else item.cas

    def run(self) -> None:
        """Ask a bit of everything."""
        print(f"\n##### in {self.dialect.value}")
        client, show = self.client, self.show
        key, number = b"greeting", b"visits"
        show("version", lambda: client.version(), b"1.6.18")
        show("set, with flags 7", lambda: client.set(key, b"hello", flags=7), True)
        show("get", lambda: client.get(key), b"hello")
        show("get of a key that is not there: a miss", lambda: client.get(b"nothing"), None)
        show("append", lambda: client.append(key, b", world"), True)
        cas = self._cas_of(key)
        show("gets: the item with its CAS", lambda: client.gets(key), Item(key, b"hello, world", 7, cas))
        show("cas with that CAS", lambda: client.cas(key, b"bye", cas), True)
        show("cas with the same one again: too late", lambda: client.cas(key, b"no", cas), False)
        if self.dialect is Dialect.CLASSIC:
            # It cannot say both in one command.
            show("add of a counter", lambda: client.add(number, b"10"), True)
        else:
            show("incr of a missing counter, created with 10", lambda: client.incr(number, 1, initial=10), 10)
        show("incr", lambda: client.incr(number, 5), 15)
        words = b"Non-numeric server-side value for incr or decr"
        show("incr of a text: an error", lambda: client.incr(key), words)
        keys = (key, b"nothing", number)
        show("get of three keys in one round trip", lambda: client.get_multi(keys), {key: b"bye", number: b"15"})
        show("touch", lambda: client.touch(key, 60), True)
        show("delete", lambda: client.delete(number), True)
        show("stats, the group of items", lambda: client.stats(b"items")[b"items:1:number"], b"1")
        show("noop", lambda: client.noop(), True)
        show("quit; the client does not wait for the answer", self.close, None)


def _port_of(server: subprocess.Popen[str]) -> int:
    assert server.stderr is not None
    line = server.stderr.readline().strip()
    if not line.startswith("listening on "):
        raise UnexpectedError(f"the server did not start: {line or 'it said nothing'}")
    print(f"the server is {line}\n{LEGEND}")
    return int(line.rpartition(":")[2])


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; the exit code."""
    CommandLine("demo", _DESCRIPTION).parse_args(arguments)
    command = [sys.executable, "-m", "memproto", "serve", "-p", "-1", "--loop", "asyncio"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
    watchdog = threading.Timer(TIMEOUT, server.kill)
    watchdog.start()
    problem = None
    exchanges = 0
    try:
        port = _port_of(server)
        for dialect in ORDER:
            demonstration = Demonstration(port, dialect)
            with demonstration.client:
                demonstration.run()
            exchanges += demonstration.exchanges
    except BrokenPipeError:
        # Nobody reads this any more, which the caller knows to end in silence.
        raise
    except (UnexpectedError, ServerError, ProtocolError, OSError) as error:
        problem = f"{type(error).__name__}: {error}"
    finally:
        server.terminate()
        _, said = server.communicate()
        watchdog.cancel()
    if problem is None and server.returncode != 0:
        problem = f"the server ended with exit code {server.returncode}"
    if problem is not None:
        print(f"{said}the demonstration failed: {problem}", file=sys.stderr)
        return 1
    print(f"\n{exchanges} exchanges, all as expected; the server has stopped")
    return 0
