"""A client and a server joined in memory, with every byte delivered when the test says so."""

from __future__ import annotations

from memproto import ClientConnection, LocalProtocolError, ServerConnection
from memproto.testing.arguments import check_data, check_type


class Pipe:
    """Two byte queues between a :class:`~memproto.ClientConnection` and a :class:`~memproto.ServerConnection`.

    Write to it what ``client.send(...)`` or ``server.send(...)`` returns, then deliver as many bytes of it as the test
    wants. Nothing is delivered by itself, and the test pulls the events. Without arguments it makes both connections.
    Raises :class:`~memproto.LocalProtocolError` for an argument of a wrong type.
    """

    def __init__(self, client: ClientConnection | None = None, server: ServerConnection | None = None) -> None:
        check_type("client", client, (ClientConnection, type(None)), "a ClientConnection or None")
        check_type("server", server, (ServerConnection, type(None)), "a ServerConnection or None")
        #: The client's end.
        self.client: ClientConnection = client or ClientConnection()
        #: The server's end.
        self.server: ServerConnection = server or ServerConnection()
        self._to_server = bytearray()
        self._to_client = bytearray()

    @property
    def to_server(self) -> int:
        """How many bytes are on their way to the server."""
        return len(self._to_server)

    @property
    def to_client(self) -> int:
        """How many bytes are on their way to the client."""
        return len(self._to_client)

    def write_to_server(self, data: bytes) -> None:
        """Add bytes that the client sends; they wait to be delivered."""
        check_data(data)
        self._to_server += data

    def write_to_client(self, data: bytes) -> None:
        """Add bytes that the server sends; they wait to be delivered."""
        check_data(data)
        self._to_client += data

    def deliver_to_server(self, size: int | None = None) -> int:
        """Hand the server the next ``size`` bytes, or all that are there; how many it was."""
        data = take(self._to_server, size)
        self.server.receive_data(data)
        return len(data)

    def deliver_to_client(self, size: int | None = None) -> int:
        """Hand the client the next ``size`` bytes, or all that are there; how many it was."""
        data = take(self._to_client, size)
        self.client.receive_data(data)
        return len(data)

    def close_to_server(self) -> None:
        """The client closes its end: what is on its way arrives, then the end of the stream."""
        self.deliver_to_server()
        self.server.receive_eof()

    def close_to_client(self) -> None:
        """The server closes its end: what is on its way arrives, then the end of the stream."""
        self.deliver_to_client()
        self.client.receive_eof()


def take(queue: bytearray, size: int | None) -> bytes:
    """Take the next ``size`` bytes, or all. Raises LocalProtocolError for a size that is negative or no int."""
    check_type("size", size, (int, type(None)), "an int or None")
    if size is not None and size < 0:
        raise LocalProtocolError(f"size is {size}, the least is 0")
    data = bytes(queue[:size])
    del queue[: len(data)]
    return data
