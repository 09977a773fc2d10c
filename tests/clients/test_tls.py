"""TLS in memory: what the bytes say, what a server's end means, and what a signal handler raises in the middle."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest

from memproto.clients.tls import Tls
from tests.support.certificates import client_context, server_context


class Pair:
    """A client and a server, whose bytes this passes on."""

    def __init__(self) -> None:
        self.client = Tls(client_context(), "localhost")
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server_context().wrap_bio(self.incoming, self.outgoing, server_side=True)

    def shake_hands(self) -> None:
        done = False
        while not done:
            done = self.client.handshake()
            self.incoming.write(self.client.outgoing.read())
            with suppress(ssl.SSLWantReadError):
                self.server.do_handshake()
            self.client.receive(self.outgoing.read())


def test_bytes_that_arrive_one_by_one_are_decrypted_when_their_record_is_complete() -> None:
    pair = Pair()
    pair.shake_hands()
    pair.server.write(b"hello")
    encrypted = pair.outgoing.read()
    decrypted = [pair.client.decrypt(encrypted[at : at + 1]) for at in range(len(encrypted))]
    assert decrypted == [*[b""] * (len(encrypted) - 1), b"hello"]


def test_encrypted_bytes_of_several_records_are_read_by_the_server_as_they_were() -> None:
    pair = Pair()
    pair.shake_hands()
    data = bytes(range(256)) * 300
    pair.incoming.write(pair.client.encrypt(data))
    read = b""
    while len(read) < len(data):
        read += pair.server.read(100_000)
    assert read == data


def test_the_end_of_tls_gives_the_bytes_before_it_and_then_none() -> None:
    pair = Pair()
    pair.shake_hands()
    pair.server.write(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    assert pair.client.decrypt(pair.outgoing.read()) == b"last"
    assert pair.client.decrypt(b"") == b""


class Interrupted:
    """An ssl object in which a signal handler raises what OpenSSL itself raises, too."""

    def interrupt(self, *_: object) -> bytes:
        raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "raised by a handler")

    do_handshake = read = interrupt


@pytest.mark.parametrize("operation", [Tls.handshake, lambda tls: tls.decrypt(b"")], ids=["handshake", "decrypt"])
def test_an_error_of_a_signal_handler_is_not_taken_for_a_record_that_is_incomplete(
    operation: Callable[[Tls], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = Tls(client_context(), "localhost")
    monkeypatch.setattr(tls, "_tls", Interrupted())
    with pytest.raises(ssl.SSLWantReadError, match="raised by a handler"):
        operation(tls)
