"""Clients that read whatever comes: what the trial has to find out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.desync.asynchronous import Ask as AsyncAsk
from tests.desync.asynchronous import AsyncContestant
from tests.desync.clients import Ask, Contestant
from tests.desync.loop import TIMEOUT
from tests.desync.oracle import Call, Kind, Result
from tests.desync.sockets import FakeSocket, Network


def _line(call: Call) -> bytes:
    if call.kind is Kind.SET:
        return b"set %b 0 0 %d\r\n%b\r\n" % (call.key, len(call.value), call.value)
    if call.kind is Kind.GET:
        return b"get %b\r\n" % call.key
    # Other calls are left out by asking what anybody can answer rightly.
    return b"version\r\n"


class _SkippedError(Exception):
    pass


def _result(call: Call, answer: bytes) -> Result:
    if call.kind is Kind.SET:
        return answer == b"STORED\r\n"
    if call.kind is Kind.GET:
        return answer.split(b"\r\n")[1] if answer.startswith(b"VALUE ") else None
    raise _SkippedError


def _is_whole(answer: bytes) -> bool:
    return answer.endswith(b"END\r\n" if answer.startswith(b"VALUE ") else b"\r\n")


@contextmanager
def _make(network: Network) -> Iterator[Ask]:
    links: list[FakeSocket] = []

    def ask(call: Call, _cas: int) -> Result:
        if not links:
            links.append(network.connect())
        links[0].sendall(_line(call))
        answer = b""
        while not _is_whole(answer):
            data = links[0].recv(4096)
            if not data:
                links.clear()
                raise ConnectionError
            answer += data
        return _result(call, answer)

    yield ask


@asynccontextmanager
async def _make_async() -> AsyncIterator[AsyncAsk]:
    links: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    turn = asyncio.Lock()

    async def ask(call: Call, _cas: int) -> Result:
        async with asyncio.timeout(TIMEOUT), turn:
            if not links:
                links.append(await asyncio.open_connection("127.0.0.1", 11211))
            reader, writer = links[0]
            writer.write(_line(call))
            answer = b""
            while not _is_whole(answer):
                data = await reader.read(4096)
                if not data:
                    links.pop()[1].close()
                    raise ConnectionError
                answer += data
            return _result(call, answer)

    yield ask


BLOCKING = Contestant("careless", "tests.desync.careless", _make)
ASYNCHRONOUS = AsyncContestant("careless, asyncio", "tests.desync.careless", _make_async)
