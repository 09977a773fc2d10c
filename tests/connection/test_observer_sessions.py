"""The observer of what real clients and memcached said to each other, as recorded."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from memproto import ConnectionClosed, NoReply, ObservedExchange, Observer, Unknown, UnknownLine
from tests.connection.test_observer import events_of
from tests.support.recordings import DATA

SESSIONS = sorted([*(DATA / "sessions").glob("*.jsonl"), *(DATA / "text_sessions").glob("*.jsonl")])


@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_recorded_session_is_exchanges_to_the_last_byte_and_no_request_is_unknown(path: Path) -> None:
    observers: dict[int, Observer] = defaultdict(Observer)
    exchanges: dict[int, list[ObservedExchange]] = defaultdict(list)
    sizes: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def pull(connection: int) -> None:
        for event in events_of(observers[connection]):
            if event != ConnectionClosed():
                assert isinstance(event, ObservedExchange), event
                exchanges[connection].append(event)

    for row in map(json.loads, path.read_text().splitlines()):
        connection, data, by_client = row["conn"], bytes.fromhex(row["hex"]), row["dir"] == "c2s"
        observer = observers[connection]
        (observer.client_sent if by_client else observer.server_sent)(data)
        sizes[connection][not by_client] += len(data)
        pull(connection)
    for connection, observer in observers.items():
        observer.client_eof()
        observer.server_eof()
        pull(connection)
        seen = exchanges[connection]
        assert [sum(len(each.request_range) for each in seen), sum(len(each.reply_range) for each in seen)] == (
            sizes[connection]
        )
        for exchange in seen:
            assert not isinstance(exchange.envelope.request, Unknown | UnknownLine)
            assert not isinstance(exchange.reply, NoReply)
