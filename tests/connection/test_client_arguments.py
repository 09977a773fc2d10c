"""What a user hands to a client connection is refused where it is handed in, by name and with the type expected."""

from __future__ import annotations

import pytest

from examples.lite import LiteDialect
from memproto import (
    ClientConnection,
    ClientState,
    Delete,
    Dialect,
    Get,
    Limits,
    LocalProtocolError,
    Noop,
    OpcodeSpec,
    Quit,
    RemoteProtocolError,
    Request,
    ServerConnection,
    Set,
    Stats,
)
from tests.support.wrong_types import wrong_requests

DIALECTS = tuple(Dialect)
# Fields that two equal requests may differ in are not on the wire, and of no interest to a client.
WRONG = [wrong for wrong in wrong_requests() if wrong.field not in wrong.message._not_compared]


KINDS = sorted({type(wrong.message) for wrong in WRONG}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_field_of_a_wrong_type_is_refused_by_its_name(kind: type[Request[object]], dialect: Dialect) -> None:
    client = ClientConnection(dialect=dialect)
    wrongs = [wrong for wrong in WRONG if type(wrong.message) is kind]
    assert wrongs
    for wrong in wrongs:
        request = wrong.message
        assert isinstance(request, Request)
        for send in (client.send, client.send_quiet, lambda each: client.send_all([Noop(), each])):
            with pytest.raises(LocalProtocolError) as caught:
                send(request)
            assert str(caught.value).startswith(wrong.field), wrong
            assert " must be " in str(caught.value), wrong
    assert (client.outstanding, client.state) == (0, ClientState.OPEN)
    assert client.send(Noop()).data == ClientConnection(dialect=dialect).send(Noop()).data


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ("x", "request is str, must be a request, such as Get"),
        (None, "request is None, must be a request, such as Get"),
        (Get, "request is the class Get, must be a request, such as Get"),
        (Get(b"key"), "keys is bytes, must be a tuple of bytes"),  # type: ignore[arg-type]
        (Get(b"k"), "keys is bytes, must be a tuple of bytes"),  # type: ignore[arg-type]
        (Get([b"key"]), "keys is list, must be a tuple of bytes"),  # type: ignore[arg-type]
        (Get(("key",)), "keys[0] is str, must be bytes"),  # type: ignore[arg-type]
        (Get((b"a", "key")), "keys[1] is str, must be bytes"),  # type: ignore[arg-type]
        (Delete("key"), "key is str, must be bytes"),  # type: ignore[arg-type]
        (Delete(b"key", 0.0), "cas is float, must be an int"),  # type: ignore[arg-type]
        (Set(b"key", "value"), "value is str, must be bytes"),  # type: ignore[arg-type]
        (Set(b"key", b"v", cas=0.0), "cas is float, must be an int"),  # type: ignore[arg-type]
        (Set(b"key", b"v", exptime=1.5), "exptime is float, must be an int"),  # type: ignore[arg-type]
        (Set(b"key", b"v", flags="1"), "flags is str, must be an int"),  # type: ignore[arg-type]
    ],
)
def test_the_error_names_the_field_its_type_and_the_type_expected(
    dialect: Dialect, request_: Request[object], words: str
) -> None:
    client = ClientConnection(dialect=dialect)
    with pytest.raises(LocalProtocolError) as caught:
        client.send(request_)
    assert str(caught.value).startswith(words)
    assert client.outstanding == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dialect": "meta"}, "dialect is 'meta', must be a member of Dialect (Dialect.BINARY,"),
        ({"dialect": None}, "dialect is None, must be a member of Dialect (Dialect.BINARY,"),
        ({"dialect": Dialect}, "dialect is the class Dialect, must be a member of Dialect ("),
        ({"limits": 1024}, "limits is 1024, must be a Limits"),
        ({"limits": Limits}, "limits is the class Limits, must be a Limits"),
        ({"opcodes": [0x94]}, "opcodes[0] is 148, must be an OpcodeSpec"),
        ({"opcodes": 0x94}, "opcodes is 148, must be an iterable of OpcodeSpec"),
        ({"opcodes": [OpcodeSpec(0x94, "OWN"), "OWN"]}, "opcodes[1] is 'OWN', must be an OpcodeSpec"),
        ({"first_opaque": None}, "first_opaque is None, must be an integer"),
    ],
)
def test_an_argument_of_the_constructor_of_a_wrong_type_is_refused_there(
    arguments: dict[str, object], words: str
) -> None:
    for more in ({}, {"dialect": Dialect.CLASSIC}):
        with pytest.raises(LocalProtocolError) as caught:
            ClientConnection(**{**more, **arguments})  # type: ignore[arg-type]
        assert str(caught.value).startswith(words)


def test_other_arguments_of_a_wrong_type_change_nothing() -> None:
    client = ClientConnection()
    for call, words in (
        (lambda: client.receive_data("text"), "data is 'text', must be bytes, a bytearray or a memoryview"),  # type: ignore[arg-type]
        (lambda: client.receive_data(5), "data is 5, must be bytes, a bytearray or a memoryview"),  # type: ignore[arg-type]
        (lambda: client.abandon(Noop()), "exchange is Noop, must be an Exchange"),  # type: ignore[arg-type]
        (lambda: client.send_all(Noop()), "requests is Noop, must be an iterable of requests"),  # type: ignore[call-overload]
        (lambda: client.send_all(["x"]), "request is str, must be a request"),  # type: ignore[arg-type]
        (lambda: client.send_all([Noop()], quiet=1), "quiet is 1, must be True or False"),  # type: ignore[call-overload]
    ):
        with pytest.raises(LocalProtocolError) as caught:
            call()
        assert str(caught.value).startswith(words)
    assert (client.outstanding, client.buffered, client.reusable) == (0, 0, True)
    client.close()
    with pytest.raises(LocalProtocolError, match=r"^data is 'text', must be bytes"):
        client.receive_data("text")  # type: ignore[arg-type]


# --- repr


def test_the_repr_of_a_client_connection_says_where_it_stands() -> None:
    client = ClientConnection(dialect=Dialect.META)
    assert repr(client) == "<ClientConnection OPEN dialect=META outstanding=0 buffered=0>"
    client.send_all([Stats(), Delete(b"k")])
    client.receive_data(b"WHAT a")
    client.next_event()
    assert repr(client) == "<ClientConnection OPEN dialect=META outstanding=2 buffered=6>"
    client.send(Quit())
    assert repr(client) == "<ClientConnection QUITTING dialect=META outstanding=3 buffered=6>"
    client.receive_data(b"\r\n")
    with pytest.raises(RemoteProtocolError):
        client.next_event()
    assert repr(client) == "<ClientConnection FAULTED dialect=META outstanding=3 buffered=0>"
    client.close()
    assert repr(client) == "<ClientConnection FAULTED dialect=META outstanding=0 buffered=0>"


def test_the_repr_of_a_server_connection_says_where_it_stands() -> None:
    server = ServerConnection()
    assert repr(server) == "<ServerConnection OPEN dialect=unknown outstanding=0 buffered=0>"
    server.receive_data(b"get k\r\nget")
    server.next_event()
    server.next_event()
    assert repr(server) == "<ServerConnection OPEN dialect=text outstanding=1 buffered=3>"
    server = ServerConnection(dialects={Dialect.BINARY}, auth_required=True)
    server.receive_data(b"\x80")
    server.next_event()
    assert repr(server) == "<ServerConnection UNAUTHENTICATED dialect=binary outstanding=0 buffered=1>"


def test_the_repr_of_a_server_connection_with_a_codec_of_ones_own_has_its_class() -> None:
    server = ServerConnection(codec=LiteDialect(Limits()))
    assert repr(server) == "<ServerConnection OPEN dialect=LiteDialect outstanding=0 buffered=0>"
