"""The recorded text conversations, replayed against a connection and an engine: memcached's bytes, CAS included."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import pytest

from memproto import (
    AnyReply,
    AnyRequest,
    Authenticated,
    ConnectionClosed,
    Failure,
    Limits,
    RemoteProtocolError,
    SaslAuth,
    ServerConnection,
    Signal,
    Status,
)
from memproto.engine import Engine
from tests.support.recordings import DATA

Row = dict[str, Any]

# After these our connection swallows the data that were announced, and the recorded client sends none; memcached 1.6.18
# takes the next line for a command. So the conversation goes on on a new connection.
SWALLOWING = {"ascii.set_bad_flags.req", "ascii.set_key251.req"}

ROWS: list[Row] = json.loads((DATA / "text_vectors.json").read_text())
REPLIES = {row["name"]: row for row in ROWS}
GROUPS = [
    (name, list(rows))
    for name, rows in groupby(
        (row for row in ROWS if row["direction"] == "c2s" and row["dialect"] in ("ascii", "meta")),
        lambda row: (row["dialect"], *(row.get("server_args") or ())),
    )
]


def _executed(engine: Engine, request: AnyRequest) -> AnyReply:
    if isinstance(request, SaslAuth):
        return Authenticated() if request.data == b"\0user\0secret" else Failure(Status.AUTH_ERROR)
    return engine.execute(request, 1e9)


def _exchange(connection: ServerConnection, engine: Engine, data: bytes) -> tuple[bytes, bool]:
    """What is said to these bytes, and whether the connection is closed then."""
    connection.receive_data(data)
    out = b""
    try:
        while not isinstance(event := connection.next_event(), Signal):
            if isinstance(event, ConnectionClosed):
                return out, True
            out += connection.send(_executed(engine, event.request), event)
    except RemoteProtocolError as fault:
        return out + fault.reply_hint, True
    return out, False


@pytest.mark.parametrize(("arguments", "rows"), GROUPS, ids=[" ".join(name) for name, _ in GROUPS])
def test_engine_gives_the_replies_that_were_recorded(arguments: tuple[str, ...], rows: list[Row]) -> None:
    size = 1024 if "-I" in arguments else 1024 * 1024
    engine = Engine(item_size_max=size, flush="-F" not in arguments)
    connection = None
    compared = 0
    for row in rows:
        connection = connection or ServerConnection(Limits(value=size), auth_required="-Y" in arguments)
        said, closed = _exchange(connection, engine, bytes.fromhex(row["hex"]))
        recorded = REPLIES[row["name"].removesuffix(".req") + ".res"]
        if not recorded.get("volatile"):
            assert (row["name"], said) == (row["name"], bytes.fromhex(recorded["hex"]))
            assert closed == bool(recorded.get("closes"))
            compared += 1
        if closed or row["name"] in SWALLOWING:
            connection = None
    assert compared
