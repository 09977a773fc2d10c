"""TLS between a client in memory and a session: the same bytes in both directions, however they are cut."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto.server import tls_protocol
from memproto.server.options import TlsOptions
from memproto.server.tls import server_context
from memproto.server.tls_protocol import TlsProtocol
from memproto.testing import pieces

DATA = Path(__file__).parent.parent / "data" / "tls"
CERTIFICATE, KEY = (str(DATA / name) for name in ("cert.pem", "key.pem"))
SERVER = server_context(TlsOptions(CERTIFICATE, KEY))
CLIENT = ssl.create_default_context(cafile=CERTIFICATE)


class Session(asyncio.Protocol):
    """Keeps what it is told, and sends back what it is sent."""

    def __init__(self) -> None:
        self.received = b""
        self.told: list[str] = []
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert data
        assert self.transport is not None
        self.received += data
        self.transport.write(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return True

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


class Network(asyncio.Transport):
    """Keeps what the server sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert data
        self.sent += data

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 1) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 42

    def is_closing(self) -> bool:
        return bool({"close", "abort"} & {*self.calls})

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class Conversation:
    """A client, and the server's side of its connection."""

    def __init__(self) -> None:
        self.into, self.out_of = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = CLIENT.wrap_bio(self.into, self.out_of, server_hostname="localhost")
        self.session, self.network = Session(), Network()
        self.encrypted = TlsProtocol(SERVER, lambda: self.session)
        self.encrypted.connection_made(self.network)

    def take(self) -> bytes:
        """What the client has received by now."""
        self.into.write(self.network.sent)
        self.network.sent = b""
        received = b""
        try:
            while piece := self.client.read(1 << 16):
                received += piece
        except ssl.SSLError:
            pass
        return received

    def shake_hands(self, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        done = False
        while not done:
            try:
                self.client.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            self.forward(cut)
            self.into.write(self.network.sent)
            self.network.sent = b""

    def send(self, data: bytes, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        self.client.write(data)
        self.forward(cut)

    def forward(self, cut: Callable[[bytes], list[bytes]] = lambda data: [data]) -> None:
        for piece in cut(self.out_of.read()):
            self.encrypted.data_received(piece)


def run(test: Callable[[], None]) -> None:
    async def within() -> None:
        test()

    asyncio.run(within())


@given(st.lists(st.binary(min_size=1, max_size=300) | st.just(bytes(40_000)), max_size=5), st.data())
def test_what_arrives_does_not_depend_on_how_it_is_cut(messages: list[bytes], draw: st.DataObject) -> None:
    def cut(data: bytes) -> list[bytes]:
        return [piece for piece in draw.draw(pieces(data)) if piece]

    def test() -> None:
        talk = Conversation()
        assert talk.session.told == ["made"]
        talk.shake_hands(cut)
        received = b""
        for message in messages:
            talk.send(message, cut)
            received += talk.take()
        assert talk.session.received == received == b"".join(messages)
        with pytest.raises(ssl.SSLWantReadError):
            talk.client.unwrap()
        talk.forward(cut)
        assert talk.session.told == ["made", "eof"]
        # What comes behind a goodbye is nothing, nor is the end of the stream, which follows.
        talk.encrypted.data_received(b"version\r\n")
        assert talk.encrypted.eof_received()
        assert talk.session.told == ["made", "eof"]
        assert talk.network.calls == []

    run(test)


def test_what_came_before_a_broken_record_is_carried_out() -> None:
    def test() -> None:
        talk = Conversation()
        talk.shake_hands()
        talk.client.write(b"version\r\n")
        talk.encrypted.data_received(talk.out_of.read() + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert talk.session.received == b"version\r\n"
        assert talk.network.calls == ["close"]
        talk.into.write(talk.network.sent)
        with pytest.raises(ssl.SSLError, match="ALERT"):
            talk.client.read(100)
        talk.network.sent = b""
        # The session has not been told yet, and may write and close as if nothing had happened.
        assert talk.session.transport is not None
        talk.session.transport.write(b"more")
        talk.session.transport.close()
        talk.encrypted.data_received(b"anything")
        talk.encrypted.connection_lost(None)
        assert talk.session.told == ["made", "lost"]
        talk.session.transport.write(b"more")
        assert talk.network.sent == b""
        assert talk.network.calls == ["close"]

    run(test)


def test_a_refusal_and_a_close_before_the_handshake_are_in_the_clear() -> None:
    def test() -> None:
        talk = Conversation()
        assert talk.session.transport is not None
        talk.session.transport.write(b"ERROR\r\n")
        talk.session.transport.close()
        assert (talk.network.sent, talk.network.calls) == (b"ERROR\r\n", ["close"])

    run(test)


def test_close_notify_of_the_server_reaches_the_client() -> None:
    def test() -> None:
        talk = Conversation()
        talk.shake_hands()
        talk.take()
        assert talk.session.transport is not None
        talk.session.transport.write(b"last")
        talk.session.transport.close()
        assert talk.session.transport.is_closing()
        assert talk.network.calls == ["close"]
        talk.into.write(talk.network.sent)
        assert talk.client.read(100) == b"last"
        assert talk.client.read(100) == b""

    run(test)


def test_other_methods_are_those_of_the_transport_below() -> None:
    def test() -> None:
        talk = Conversation()
        transport = talk.session.transport
        assert transport is not None
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_closing()
        transport.abort()
        assert talk.network.calls == ["pause", "resume", "abort"]
        assert transport.get_write_buffer_size() == 42
        assert transport.get_extra_info("peername") == ("192.0.2.1", 1)
        talk.encrypted.pause_writing()
        talk.encrypted.resume_writing()
        assert not talk.encrypted.eof_received()
        assert talk.session.told == ["made", "pause", "resume"]

    run(test)


def test_write_after_the_close_is_dropped() -> None:
    def test() -> None:
        talk = Conversation()
        talk.shake_hands()
        talk.take()
        transport = talk.session.transport
        assert transport is not None
        transport.close()
        sent = talk.network.sent
        transport.write(b"late")
        assert talk.network.sent == sent

    run(test)


def test_handshake_that_takes_too_long_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_protocol, "HANDSHAKE_TIMEOUT", 0.0)

    async def wait() -> None:
        talk = Conversation()
        await asyncio.sleep(0.01)
        assert talk.network.calls == ["abort"]

    asyncio.run(wait())
