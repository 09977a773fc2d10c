"""Bytes of a conversation are lost: each exchange that the observer calls certain is one that took place."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyReply,
    BinaryEnvelope,
    ClassicEnvelope,
    Dialect,
    Envelope,
    MetaEnvelope,
    NoReply,
    ObservedExchange,
    Observer,
    ObserverEvent,
    Opcode,
    ServerConnection,
    Side,
    Signal,
    Silence,
    binary,
    text,
)
from memproto.engine import Engine
from tests.support.reached import reached, reaches

RANDOMS = st.integers(0, (1 << 32) - 1).map(Random)
# None of them looks like a message; the first two are no numbers, so that an incr is refused.
VALUES = (b"x", b"a line\r\nand another", b"", b"7")


class Turn(NamedTuple):
    """A request and its reply: where they stand in the two streams, and what the reply says."""

    request: range
    reply: range
    said: AnyReply | Silence


class Conversation(NamedTuple):
    """What both sides sent, each request with its reply."""

    asked: bytes
    said: bytes
    turns: list[Turn]


class Piece(NamedTuple):
    """Bytes of one side that are lost, or are not."""

    side: Side
    data: bytes
    lost: bool


def _classic(random: Random, key: bytes, number: int) -> bytes:
    noreply = random.choice((b"", b"", b" noreply"))
    value = random.choice(VALUES)
    return random.choice(
        (
            b"get %b\r\n" % key,
            b"gets %b a\r\n" % key,
            b"%b %b 0 0 %d%b\r\n%b\r\n" % (random.choice((b"set", b"add", b"append")), key, len(value), noreply, value),
            b"incr %b 1%b\r\n" % (key, noreply),
            b"delete %b%b\r\n" % (key, noreply),
            b"touch %b 0\r\n" % key,
            random.choice((b"version\r\n", b"flush_all\r\n", b"nonsense\r\n")),
        )
    )


def _meta(random: Random, key: bytes, number: int) -> bytes:
    if random.randrange(4) == 0:
        return _classic(random, key, number)
    value = random.choice(VALUES)
    flags = random.choice(
        (b"", b" k", b" q", b" k q", b" O%d" % number, b" q O%d" % number, b" q O1" if key in (b"a", b"b") else b"")
    )
    return random.choice(
        (
            b"mg %b v%b\r\n" % (key, flags),
            b"mg %b%b\r\n" % (key, flags),
            b"ms %b %d%b\r\n%b\r\n" % (key, len(value), flags, value),
            b"ma %b%b\r\n" % (key, flags),
            b"md %b%b\r\n" % (key, flags),
            b"mn\r\n",
        )
    )


_WITH_EXTRAS = {Opcode.SET: bytes(8), Opcode.SETQ: bytes(8), Opcode.INCREMENT: bytes(20)}
_KEYED = (Opcode.GET, Opcode.GETQ, Opcode.GETK, Opcode.GETKQ, Opcode.DELETE, Opcode.DELETEQ, *_WITH_EXTRAS)


def _binary(random: Random, key: bytes, number: int) -> bytes:
    opcode = random.choice((*_KEYED, Opcode.NOOP, Opcode.VERSION))
    extras, value = _WITH_EXTRAS.get(opcode, b""), b""
    if opcode not in _KEYED:
        key = b""
    if opcode in (Opcode.SET, Opcode.SETQ):
        value = random.choice(VALUES)
    head = bytes([0x80, opcode, 0, len(key), len(extras), 0, 0, 0])
    body = extras + key + value
    return head + len(body).to_bytes(4, "big") + number.to_bytes(4, "big") + bytes(8) + body


def _conversation(random: Random, dialect: Dialect, *, own_keys: bool) -> Conversation:
    """Requests to a real cache. With ``own_keys`` no two ask for the same key."""
    make = {Dialect.BINARY: _binary, Dialect.CLASSIC: _classic, Dialect.META: _meta}[dialect]
    opaque = random.choice(((lambda number: number), (lambda _: 0), (lambda _: 0xDEADBEEF)))
    engine, server = Engine(), ServerConnection()
    asked, said = b"", b""
    turns: list[Turn] = []
    for number in range(random.randint(2, 8)):
        key = b"k%d" % number if own_keys else random.choice((b"a", b"a", b"b"))
        if own_keys and random.randrange(2):
            # A hit needs an item.
            preset = ServerConnection()
            preset.receive_data(b"set %b 0 0 1\r\n8\r\n" % key)
            envelope = preset.next_event()
            assert isinstance(envelope, Envelope)
            engine.execute(envelope.request, 0)
        request = make(random, key, opaque(number + 1))
        server.receive_data(request)
        envelope = server.next_event()
        assert isinstance(envelope, Envelope), request
        reply = server.send(engine.execute(envelope.request, 0), envelope)
        where = range(len(said), len(said) + len(reply)) if reply else range(0)
        heard = _decoded(reply, envelope) if reply else Silence()
        turns.append(Turn(range(len(asked), len(asked) + len(request)), where, heard))
        asked, said = asked + request, said + reply
    return Conversation(asked, said, turns)


def _decoded(said: bytes, envelope: Envelope) -> AnyReply:
    if isinstance(envelope, BinaryEnvelope):
        return binary.decode_reply(said, envelope)
    assert isinstance(envelope, ClassicEnvelope | MetaEnvelope)
    return text.decode_reply(said, envelope)


def _pieces(random: Random, held: Conversation, sides: tuple[Side, ...]) -> Iterator[Piece]:
    """Both streams, cut anywhere, in an order in which they may have been sent; some pieces are lost."""
    asked = told = 0
    lockstep = random.randrange(2)
    while asked < len(held.asked) or told < len(held.said):
        begun = [turn for turn in held.turns if turn.request.stop <= asked]
        due = max((turn.reply.stop for turn in begun), default=0)
        side = random.choice(list(Side))
        if side is Side.CLIENT and asked < len(held.asked) and not (lockstep and told < due):
            rest = next(turn.request.stop for turn in held.turns if turn.request.stop > asked) - asked
            size = random.choice((rest, rest, min(rest, random.randint(1, 9))))
            yield Piece(side, held.asked[asked : asked + size], side in sides and random.randrange(5) == 0)
            asked += size
        elif side is Side.SERVER and told < due:
            rest = next(turn.reply.stop for turn in held.turns if turn.reply.stop > told) - told
            size = random.choice((rest, rest, min(rest, random.randint(1, 9)), due - told))
            yield Piece(side, held.said[told : told + size], side in sides and random.randrange(5) == 0)
            told += size


def _observe(observer: Observer, pieces: list[Piece]) -> list[ObserverEvent]:
    events: list[ObserverEvent] = []
    for side, data, lost in pieces:
        if side is Side.CLIENT:
            observer.client_gap(len(data)) if lost else observer.client_sent(data)
        else:
            observer.server_gap(len(data)) if lost else observer.server_sent(data)
        while not isinstance(event := observer.next_event(), Signal):
            events.append(event)
    observer.client_eof()
    observer.server_eof()
    while isinstance(event := observer.next_event(), ObservedExchange):
        events.append(event)
    return events


def _check(held: Conversation, pieces: list[Piece], events: list[ObserverEvent]) -> None:
    """Each exchange that is certain is one of the conversation."""
    turns = {turn.request: turn for turn in held.turns}
    lost: dict[Side, set[int]] = {side: set() for side in Side}
    ends = dict.fromkeys(Side, 0)
    for side, data, is_lost in pieces:
        if is_lost:
            lost[side].update(range(ends[side], ends[side] + len(data)))
        ends[side] += len(data)
    for event in events:
        if not isinstance(event, ObservedExchange):
            continue
        if not event.certain:
            reached("uncertain")
            continue
        turn = turns[event.request_range]
        if isinstance(event.reply, NoReply):
            reached("lost")
            assert lost[Side.SERVER].intersection(turn.reply), (event, turn)
            continue
        if any(number < event.reply_range.start for number in lost[Side.SERVER]):
            reached("found")
        assert event.reply_range == turn.reply, (event, turn)
        if event.missing:
            assert event.missing == len(lost[Side.CLIENT].intersection(turn.request)) + len(
                lost[Side.SERVER].intersection(turn.reply)
            )
        else:
            assert event.reply == turn.said, (event, turn)


EACH = pytest.mark.parametrize("dialect", list(Dialect), ids=lambda dialect: dialect.value)


@EACH
@reaches(found=0.03, lost=0.1, uncertain=0.1)
@given(random=RANDOMS)
def test_exchange_behind_lost_replies_is_true_or_uncertain(dialect: Dialect, random: Random) -> None:
    held = _conversation(random, dialect, own_keys=False)
    pieces = list(_pieces(random, held, (Side.SERVER,)))
    _check(held, pieces, _observe(Observer(), pieces))


@EACH
@reaches(found=0.02, lost=0.03, uncertain=0.15)
@given(random=RANDOMS)
def test_exchange_behind_lost_requests_and_replies_is_true_or_uncertain(dialect: Dialect, random: Random) -> None:
    held = _conversation(random, dialect, own_keys=True)
    pieces = list(_pieces(random, held, tuple(Side)))
    _check(held, pieces, _observe(Observer(), pieces))
