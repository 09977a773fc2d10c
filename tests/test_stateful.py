"""Client and server joined by two byte queues: whatever is delivered when, every answer reaches its own request."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    BinaryEnvelope,
    ClientState,
    ConnectionClosed,
    Counter,
    Delete,
    Deleted,
    Exchange,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Limits,
    Noop,
    Ok,
    Quit,
    ReplyReceived,
    Set,
    Silence,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
    VersionReply,
)
from memproto.client import ClientConnection
from memproto.server import ServerConnection
from memproto.testing import Pipe, keys, multi_gets, values

LIMITS = Limits(value=1024, head=1024, outstanding=16, keys=4, stats=8)
# Answered by a client's limits too, which are wider, so that it never runs into them.
WIDE = Limits(value=4096)

QUIETABLE = st.one_of(
    st.builds(Get, st.tuples(keys())),
    st.builds(Set, keys(), values()),
    st.builds(Delete, keys()),
    st.builds(Add, keys(), values()),
    st.builds(Append, keys(), values()),
    st.builds(Increment, keys()),
    st.just(Flush()),
)
LOUD = st.one_of(QUIETABLE, st.just(Noop()), st.just(Version()), st.builds(Touch, keys()), st.just(Stats()))


@dataclass
class _Asked:
    """What the model knows of one exchange; ``expected`` is filled in as the server answers."""

    request: AnyRequest
    exchange: Exchange[object] | None
    quiet: bool
    items: list[Item] = field(default_factory=list)
    refusal: Failure | None = None
    expected: AnyReply | Silence | None = None
    abandoned: bool = False
    delivered: bool = False


def _success(request: AnyRequest, tag: int) -> AnyReply:
    """A success that no other request gets."""
    match request:
        case Get():
            return Values((Item(request.keys[0], b"%d" % tag, tag % 7, tag),))
        case Delete():
            return Deleted(tag)
        case Increment():
            return Counter(tag, tag)
        case Touch():
            return Touched(tag)
        case Version():
            return VersionReply(b"%d" % tag)
        case Stats():
            return StatsReply(((b"tag", b"%d" % tag),) * (tag % 3))
        case Flush() | Noop() | Quit():
            return Ok()
        case _:
            return Stored(tag)


class Conversation(RuleBasedStateMachine):
    """Both ends, what is between them, and a model of what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.pipe = Pipe(ClientConnection(WIDE), ServerConnection(LIMITS))
        self.client = self.pipe.client
        self.server = self.pipe.server
        self.asked: list[_Asked] = []
        # What the server shall see, packet by packet, and for whom.
        self.underway: deque[tuple[AnyRequest, _Asked]] = deque()
        self.waiting: deque[tuple[BinaryEnvelope, _Asked]] = deque()
        self.tag = 0

    # --- the client asks

    def _ask(self, request: AnyRequest, quiet: bool) -> None:
        exchange = self.client.send_quiet(request) if quiet else self.client.send(request)
        asked = _Asked(request, exchange, quiet)
        self.asked.append(asked)
        self.pipe.write_to_server(exchange.data)
        if isinstance(request, Get) and len(request.keys) > 1:
            self.underway.extend((Get((key,)), asked) for key in request.keys)
            self.underway.append((Noop(), asked))
        else:
            self.underway.append((request, asked))

    @precondition(lambda self: self.client.reusable)
    @rule(request=LOUD)
    def ask(self, request: AnyRequest) -> None:
        self._ask(request, False)

    @precondition(lambda self: self.client.reusable)
    @rule(request=QUIETABLE)
    def ask_quietly(self, request: AnyRequest) -> None:
        self._ask(request, True)

    @precondition(lambda self: self.client.reusable)
    @rule(request=multi_gets(4).map(lambda get: Get(get.keys)))
    def ask_for_many(self, request: Get) -> None:
        self._ask(request, False)

    @precondition(lambda self: len(self.asked) > 8 and self.client.reusable)
    @rule(quiet=st.booleans())
    def say_goodbye(self, quiet: bool) -> None:
        self._ask(Quit(), quiet)

    @rule()
    def fence(self) -> None:
        data = self.client.fence()
        if data:
            self.pipe.write_to_server(data)
            self.underway.append((Noop(), _Asked(Noop(), None, False)))

    @precondition(lambda self: any(not asked.delivered for asked in self.asked))
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from([asked for asked in self.asked if not asked.delivered]))
        assert asked.exchange is not None
        self.client.abandon(asked.exchange)
        asked.abandoned = True

    # --- bytes travel

    @rule(size=st.integers(0, 60) | st.integers(0, 2000))
    def deliver_to_server(self, size: int) -> None:
        self.pipe.deliver_to_server(size)

    @rule(size=st.integers(0, 60) | st.integers(0, 2000))
    def deliver_to_client(self, size: int) -> None:
        self.pipe.deliver_to_client(size)

    # --- the server takes requests and answers them

    @rule()
    def take(self) -> None:
        event = self.server.next_event()
        if isinstance(event, BinaryEnvelope):
            request, asked = self.underway.popleft()
            assert event.request == request
            self.waiting.append((event, asked))
        elif event == ConnectionClosed():
            assert not self.underway

    @precondition(lambda self: self.waiting)
    @rule(how=st.sampled_from(["success", "miss", "failure"]))
    def answer(self, how: str) -> None:
        event, asked = self.waiting.popleft()
        self.tag += 1
        reply = _success(event.request, self.tag)
        if how == "miss" and isinstance(event.request, Get):
            reply = Values()
        elif how == "failure" and not isinstance(event.request, Quit):
            reply = Failure(Status.OUT_OF_MEMORY, b"%d" % self.tag)
        said = self.server.send(reply, event)
        self.pipe.write_to_client(said)
        many = isinstance(asked.request, Get) and len(asked.request.keys) > 1
        if not many:
            asked.expected = reply
            if asked.quiet:
                # The quiet rules, said again: a get leaves out a miss, everything else its success.
                silent = reply == Values() if isinstance(event.request, Get) else not isinstance(reply, Failure)
                assert (said == b"") is silent
                asked.expected = Silence() if silent else reply
        elif isinstance(event.request, Noop):
            asked.expected = reply if isinstance(reply, Failure) else asked.refusal or Values(tuple(asked.items))
        elif isinstance(reply, Values):
            asked.items += reply.items
        elif isinstance(reply, Failure):
            asked.refusal = asked.refusal or reply

    # --- the client is told

    @rule()
    def pull(self) -> None:
        event = self.client.next_event()
        if isinstance(event, ReplyReceived):
            (asked,) = (asked for asked in self.asked if asked.exchange is event.exchange)
            assert not asked.delivered
            assert not asked.abandoned
            assert event.reply == asked.expected == event.exchange.reply
            # Replies are told in the order of requests, so that nothing later has been told.
            earlier = [each.exchange is event.exchange for each in self.asked].index(True)
            assert not any(each.delivered for each in self.asked[earlier:])
            asked.delivered = True

    # --- at all times

    @invariant()
    def buffers_are_within_limits(self) -> None:
        assert self.server.outstanding == len(self.waiting) <= LIMITS.outstanding
        assert self.client.outstanding <= WIDE.outstanding
        assert len(self.client._events) <= WIDE.outstanding

    @invariant()
    def nobody_is_faulted(self) -> None:
        assert self.client.state is not ClientState.FAULTED
        assert self.server.state.name != "FAULTED"

    def teardown(self) -> None:
        """Let everything arrive: then every request has its answer, and the abandoned ones have none."""
        if self.client.reusable:
            self.fence()
        self.pipe.deliver_to_server()
        while self.underway or self.waiting:
            self.take()
            if self.waiting:
                self.answer("success")
        self.pipe.close_to_server()
        assert self.server.next_event() == ConnectionClosed()
        self.pipe.close_to_client()
        for _ in self.asked:
            self.pull()
        assert self.client.next_event() == ConnectionClosed()
        assert [asked for asked in self.asked if asked.delivered is asked.abandoned] == []
        assert self.client.outstanding == 0


TestConversation = Conversation.TestCase
TestConversation.settings = settings(stateful_step_count=60)
