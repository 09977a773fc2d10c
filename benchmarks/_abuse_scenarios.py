"""What clients do to a server, by accident or on purpose.

Each scenario returns how much of it was done, and raises if an answer is wrong.
"""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks._abuse_bytes import garbage
from benchmarks._abuse_server import Watched
from benchmarks._servers import HOST

LARGE = 900_000
_FENCE, _FENCE_REPLY = b"mn\r\n", b"MN\r\n"
_SENT_AT_ONCE = 65536
#: A close that says nothing: the other side finds the connection reset.
_RESET = struct.pack("ii", 1, 0)


class WrongAnswerError(Exception):
    """The server did not answer as it must."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a scenario has done; ``note`` says what was counted."""

    count: int
    note: str


def expect(link: socket.socket, reply: bytes) -> None:
    """Read exactly this. Raises :class:`WrongAnswerError`."""
    got = bytearray()
    while len(got) < len(reply) and (piece := link.recv(len(reply) - len(got))):
        got += piece
    if got != reply:
        raise WrongAnswerError(f"{bytes(got[:100])!r} instead of {reply[:100]!r}")


def fence(link: socket.socket) -> None:
    """Until the server has carried out all that went before."""
    link.sendall(_FENCE)
    expect(link, _FENCE_REPLY)


def to_the_end(link: socket.socket) -> bytes:
    """All that comes until the server closes."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := link.recv(_SENT_AT_ONCE):
            data += piece
    return bytes(data)


def push(link: socket.socket, data: bytes, most: int, patience: float = 1.0) -> int:
    """Send ``data`` over and over, without reading, until the server takes no more; how many bytes it took."""
    link.settimeout(patience)
    sent = 0
    try:
        while sent < most:
            sent += link.send(data[: most - sent])
    except (TimeoutError, ConnectionError):
        pass
    return sent


@contextlib.contextmanager
def links(server: Watched, count: int) -> Iterator[list[socket.socket]]:
    """So many connections."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server.connect()) for _ in range(count)]


def store(server: Watched, key: bytes, size: int) -> None:
    """A value of this length under this key."""
    with server.connect() as link:
        link.sendall(b"set %b 0 0 %d\r\n%b\r\n" % (key, size, bytes(size)))
        expect(link, b"STORED\r\n")


# --- many connections


def idle(server: Watched, count: int) -> Done:
    """Connections that say nothing more after their first words."""
    before = server.resident()
    with links(server, count) as opened:
        for link in opened:
            fence(link)
        return Done(count, f"{(server.resident() - before) / count / 1024:.1f} KiB each")


def busy(server: Watched, count: int, rounds: int) -> Done:
    """Connections that all ask all the time, 20 at a time."""
    store(server, b"busy", 100)
    reply = b"VALUE busy 0 100\r\n" + bytes(100) + b"\r\nEND\r\n"
    begun = time.perf_counter()
    with links(server, count) as opened:
        for _ in range(rounds):
            for link in opened:
                link.sendall(b"get busy\r\n" * 20)
            for link in opened:
                expect(link, reply * 20)
    done = count * rounds * 20
    return Done(done, f"{done / (time.perf_counter() - begun):,.0f} requests/s")


def half_headers(server: Watched, count: int) -> Done:
    """Connections that send half a header and stay."""
    before = server.resident()
    with links(server, count + 1) as opened:
        for link in opened[1:]:
            link.sendall(b"\x80\x01\x00\x05\x08\x00\x00\x00\x00\x00")
        fence(opened[0])
        grown = server.resident() - before
        for link in opened[1:]:
            # The other half arrives after all.
            link.sendall(b"\x00\x0d" + bytes(20) + b"hello")
            expect(link, b"\x81\x01" + bytes(14))
        return Done(count, f"{grown / count / 1024:.1f} KiB each")


def half_values(server: Watched, count: int, size: int) -> Done:
    """Connections that announce a large value, send all but its end, and stay."""
    closed = 0
    with links(server, count) as opened:
        for link in opened:
            link.settimeout(2)
            with contextlib.suppress(ConnectionError, TimeoutError):
                link.sendall(b"set half 0 0 %d\r\n%b" % (size, bytes(size - 1)))
        time.sleep(0.6)
        for link in opened:
            link.setblocking(False)
            try:
                closed += not link.recv(1)
            except BlockingIOError:
                pass
            except ConnectionError:
                closed += 1
    return Done(count, f"{closed} closed for want of memory")


def storm(server: Watched, count: int) -> Done:
    """Connect and close, in the middle of a request or not, with a reset or without."""
    before = server.files()
    for number in range(count):
        with server.connect() as link:
            if number % 2:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            if number % 3:
                link.sendall((b"get storm\r\n" * 50)[: number % 500])
    _settle(server, before)
    return Done(count, f"{server.files() - before} files left open")


def limit(server: Watched, allowed: int, beyond: int) -> Done:
    """More connections than ``-c`` allows: the rest is refused in words; room comes back once they leave."""
    before = server.files()
    with links(server, allowed) as opened:
        for link in opened:
            fence(link)
        for _ in range(beyond):
            with server.connect() as refused:
                if to_the_end(refused) != b"ERROR Too many open connections\r\n":
                    raise WrongAnswerError("not refused as memcached refuses")
        for link in opened:
            fence(link)
    _settle(server, before)
    with links(server, allowed) as opened:
        for link in opened:
            fence(link)
    return Done(beyond, "refused, then all let in again")


def _settle(server: Watched, files: int) -> None:
    for _ in range(200):
        if server.files() <= files:
            return
        time.sleep(0.05)
    raise WrongAnswerError(f"{server.files()} files open, {files} before")


# --- slow ones


def slow_reader(server: Watched, values: int, pause: float) -> Done:
    """One who asks for much and takes it bit by bit."""
    store(server, b"slow", LARGE)
    reply = b"VALUE slow 0 %d\r\n%b\r\nEND\r\n" % (LARGE, bytes(LARGE))
    with server.connect() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SENT_AT_ONCE)
        link.sendall(b"get slow\r\n" * values)
        left = len(reply) * values
        while left:
            got = len(link.recv(min(left, 4 * _SENT_AT_ONCE)))
            if not got:
                raise WrongAnswerError(f"closed with {left} bytes to come")
            left -= got
            time.sleep(pause)
        fence(link)
    return Done(values, "values, all arrived")


def slow_writer(server: Watched, count: int, pause: float) -> Done:
    """Connections that send a byte at a time."""
    request = b"set w 0 0 5\r\nhello\r\n"
    with links(server, count) as opened:
        for byte in request:
            for link in opened:
                link.sendall(bytes((byte,)))
            time.sleep(pause)
        for link in opened:
            expect(link, b"STORED\r\n")
    return Done(count, f"a byte per {pause * 1000:.0f} ms, all stored")


def half_close(server: Watched, count: int, requests: int) -> Done:
    """Pipelined requests and then the end of what the client has to say: all answers arrive, then the server's end."""
    store(server, b"h", 10)
    reply = b"VALUE h 0 10\r\n" + bytes(10) + b"\r\nEND\r\n"
    for _ in range(count):
        with server.connect() as link:
            link.sendall(b"get h\r\n" * requests)
            link.shutdown(socket.SHUT_WR)
            if to_the_end(link) != reply * requests:
                raise WrongAnswerError("answers are missing after a half-close")
    return Done(count * requests, "answers, all arrived")


# --- those who do not read


def unread_gets(server: Watched, count: int, requests: int) -> Done:
    """Clients that pipeline gets of a large value and never read."""
    store(server, b"u", LARGE)
    return _unread(server, count, b"get u\r\n" * requests)


def unread_quiet_gets(server: Watched, count: int, requests: int) -> Done:
    """The same in binary, where a multi-get is many quiet ones and a noop."""
    store(server, b"u", LARGE)
    getkq = b"\x80\x0d\x00\x01" + bytes(4) + b"\x00\x00\x00\x01" + bytes(12) + b"u"
    return _unread(server, count, getkq * requests + b"\x80\x0a" + bytes(22))


def unread_multi_get(server: Watched, count: int, keys: int) -> Done:
    """The same in one line."""
    store(server, b"u", LARGE)
    return _unread(server, count, b"get" + b" u" * keys + b"\r\n")


def _unread(server: Watched, count: int, request: bytes) -> Done:
    with links(server, count) as opened:
        for link in opened:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.sendall(request)
        _look_on(server)
    return Done(count, "clients that read nothing")


def _look_on(server: Watched, times: int = 20) -> None:
    """Another client comes and goes while all that hangs."""
    with server.connect() as link:
        for _ in range(times):
            fence(link)
            time.sleep(0.02)


def unread_and_replaced(server: Watched, count: int, keys: int) -> Done:
    """Clients that ask for all there is and do not read, while all of it is replaced each time."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            for number in range(keys):
                store(server, b"r%d" % number, LARGE)
            link = stack.enter_context(server.connect())
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.sendall(b"get " + b" ".join(b"r%d" % number for number in range(keys)) + b"\r\n")
            _look_on(server)
    return Done(count, f"clients, {keys} values each")


def unread_stores(server: Watched, count: int) -> Done:
    """One who stores large values and never reads the answers."""
    with server.connect() as link:
        size = 1_000_000
        taken = push(link, b"set s 0 0 %d\r\n%b\r\n" % (size, bytes(size)), count * (size + 20), 5)
        return Done(taken // 1_000_000, "MB taken")


def unread_small(server: Watched, most: int) -> Done:
    """One who asks for ever and never reads."""
    with server.connect() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        taken = push(link, b"get nothing\r\nversion\r\n" * 5000, most)
        return Done(taken // 1000, "KB of requests taken")


# --- those whose requests are small and cost much


def appends(server: Watched, count: int, requests: int) -> Done:
    """Clients that all append a byte to large values, over and over: each time the whole value is copied."""
    for number in range(count):
        store(server, b"a%d" % number, LARGE)
    with links(server, count) as opened:
        for number, link in enumerate(opened):
            link.sendall(b"append a%d 0 0 1\r\nx\r\n" % number * requests)
        for link in opened:
            expect(link, b"STORED\r\n" * requests)
    return Done(count * requests, "values copied")


def datagrams(server: Watched, port: int, count: int) -> Done:
    """Datagrams of many gets of a large value each, to the UDP port; nothing is read."""
    store(server, b"u", LARGE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.connect((HOST, port))
        for number in range(count):
            link.send(number.to_bytes(2, "big") + b"\0\0\0\1\0\0" + b"get u\r\n" * 198)
            if number % 20 == 0:
                _look_on(server, 1)
    _look_on(server)
    return Done(count, "datagrams of 198 gets of 900 KB")


def encrypted(server: Watched, count: int, size: int) -> Done:
    """Idle connections with TLS, once each has stored and read a value."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    before = server.resident()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            link = stack.enter_context(context.wrap_socket(server.connect()))
            link.sendall(b"set tls 0 0 %d\r\n%b\r\nget tls\r\n" % (size, bytes(size)))
            expect(link, b"STORED\r\nVALUE tls 0 %d\r\n%b\r\nEND\r\n" % (size, bytes(size)))
        return Done(count, f"{(server.resident() - before) / count / 1024:.1f} KiB each")


# --- what is no request


def endless_line(server: Watched, most: int) -> Done:
    """A line that does not end."""
    with server.connect() as link:
        taken = push(link, b"a" * _SENT_AT_ONCE, most)
    with server.connect() as link:
        taken += push(link, b"get " + b"a " * _SENT_AT_ONCE, most)
    return Done(taken // 1000, "KB taken")


def huge_values(server: Watched, most: int) -> Done:
    """Values of 4 GB are announced, in each dialect, and part of them comes."""
    heads = (
        b"\x80\x01\x00\x01\x08\x00\x00\x00\xff\xff\xff\xff" + bytes(20) + b"k",
        b"set k 0 0 4294967295\r\n",
        b"set k 0 0 2147483645\r\n",
        b"ms k 4294967295\r\n",
        b"ms k 2147483645\r\n",
    )
    taken = 0
    for head in heads:
        with server.connect() as link:
            link.sendall(head)
            taken += push(link, bytes(_SENT_AT_ONCE), most)
    return Done(taken // 1000, "KB of them taken")


def noise(server: Watched, seed: int, total: int) -> Done:
    """Random bytes and faulty traffic, each conversation on a connection of its own, some of them torn off."""
    before = server.files()
    rng = random.Random(seed)
    conversations = 0
    for data in garbage(seed, total):
        conversations += 1
        with server.connect() as link:
            link.settimeout(10)
            with contextlib.suppress(ConnectionError):
                at = 0
                while at < len(data):
                    size = rng.choice((1, 100, 5000, 100_000))
                    link.sendall(data[at : at + size])
                    at += size
                if rng.random() < 0.2:
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    continue
                with contextlib.suppress(OSError):
                    # Already closed by the server.
                    link.shutdown(socket.SHUT_WR)
                to_the_end(link)
    _settle(server, before)
    with server.connect() as link:
        # Noise may have set any value, or flushed; that the server serves is what counts.
        link.sendall(b"set sane 0 0 2\r\nok\r\nget sane\r\n")
        expect(link, b"STORED\r\nVALUE sane 0 2\r\nok\r\nEND\r\n")
    return Done(conversations, f"conversations, {total:,} bytes")
