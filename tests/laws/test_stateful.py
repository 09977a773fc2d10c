"""Client and server joined by two byte queues: whatever is delivered when, every answer reaches its own request."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    ClientState,
    ConnectionClosed,
    Counter,
    Delete,
    Deleted,
    Dialect,
    Envelope,
    Exchange,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Limits,
    LocalProtocolError,
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
from memproto.connection.client import ClientConnection
from memproto.connection.server import ServerConnection
from memproto.testing import Pipe, text_keys, values
from memproto.text.meta._keys import MAX_BASE64_KEY

LIMITS = Limits(value=1024, head=1024, outstanding=16, keys=4, stats=8)
# The client's own, which the server's replies never reach; its pipeline does.
WIDE = Limits(value=4096, outstanding=40)

# In text such keys need no base64; in binary any key will do, but these are as good.
KEYS = text_keys().map(lambda key: key[:MAX_BASE64_KEY])
QUIETABLE = st.one_of(
    st.builds(Get, st.tuples(KEYS)),
    st.builds(Set, KEYS, values()),
    st.builds(Delete, KEYS),
    st.builds(Add, KEYS, values()),
    st.builds(Append, KEYS, values()),
    st.builds(Increment, KEYS),
    st.just(Flush()),
)
LOUD = st.one_of(QUIETABLE, st.just(Noop()), st.just(Version()), st.builds(Touch, KEYS), st.just(Stats()))
# No dialect takes these.
INVALID: st.SearchStrategy[AnyRequest] = st.sampled_from(
    [Delete(b"k" * 251), Set(b"", b"v"), Get((b"k", b"")), Increment(b"k", -1), Append(b"k", b"v", -2)]
)


@dataclass
class _Asked:
    """What the model knows of one exchange; ``expected`` is filled in as the server answers."""

    request: AnyRequest
    exchange: Exchange[object] | None
    quiet: bool
    #: Keys of a get that is one request each on the wire.
    left: int = 0
    items: list[Item] = field(default_factory=list)
    answered: int = 0
    refusal: Failure | None = None
    expected: AnyReply | Silence | None = None
    abandoned: bool = False
    delivered: bool = False


def _success(request: AnyRequest, tag: int) -> AnyReply:
    """A success that no other request gets."""
    match request:
        case Get():
            return Values(tuple(Item(key, b"%d" % tag, tag % 7, tag) for key in request.keys))
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


def _heard(reply: AnyReply, request: AnyRequest, dialect: Dialect) -> AnyReply:
    """What of a reply comes through in a dialect."""
    match reply:
        case VersionReply() if isinstance(request, Noop):
            return Ok()
        case Values((item,)) if isinstance(request, Touch):
            return Touched(item.flags, item.cas)
        case Values() if isinstance(request, Touch):
            return Failure(Status.KEY_NOT_FOUND)
        case Touched() if dialect is not Dialect.BINARY:
            return Touched()
        case Deleted() if dialect is not Dialect.BINARY:
            return Deleted()
        case Stored() if dialect is Dialect.CLASSIC:
            return Stored()
        case Counter(value) if dialect is Dialect.CLASSIC:
            return Counter(value)
    return reply


def _seen(request: AnyRequest, dialect: Dialect) -> AnyRequest:
    """What a server makes of a request; classic has no Noop, and meta no Touch."""
    if isinstance(request, Noop) and dialect is Dialect.CLASSIC:
        return Version()
    if isinstance(request, Touch) and dialect is Dialect.META:
        return Get((request.key,), request.exptime)
    return request


class Conversation(RuleBasedStateMachine):
    """Both ends, what is between them, and a model of what was asked."""

    dialect = Dialect.BINARY

    def __init__(self) -> None:
        super().__init__()
        self.pipe = Pipe(ClientConnection(WIDE, dialect=self.dialect), ServerConnection(LIMITS))
        self.client = self.pipe.client
        self.server = self.pipe.server
        self.asked: list[_Asked] = []
        # What the server shall see, packet by packet, and for whom.
        self.underway: deque[tuple[AnyRequest, _Asked]] = deque()
        self.waiting: deque[tuple[Envelope, _Asked]] = deque()
        self.tag = 0

    # --- the client asks

    def _ask(self, request: AnyRequest, quiet: bool) -> None:
        send = self.client.send_quiet if quiet else self.client.send
        if self.client.outstanding >= WIDE.outstanding:
            with pytest.raises(LocalProtocolError, match="which is the limit"):
                send(request)
        else:
            self._record(request, send(request), quiet)

    def _record(self, request: AnyRequest, exchange: Exchange[object], quiet: bool) -> None:
        """Note a request that was sent, and write its bytes."""
        asked = _Asked(request, exchange, quiet)
        self.asked.append(asked)
        self.pipe.write_to_server(exchange.data)
        if isinstance(request, Get) and len(request.keys) > 1 and self.dialect is not Dialect.CLASSIC:
            self.underway.extend((Get((key,)), asked) for key in request.keys)
            asked.left = len(request.keys)
            if self.dialect is Dialect.BINARY:
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
    @rule(request=st.lists(KEYS, min_size=2, max_size=4).map(lambda several: Get(tuple(several))))
    def ask_for_many(self, request: Get) -> None:
        self._ask(request, False)

    @precondition(lambda self: self.client.reusable)
    @rule(before=st.lists(QUIETABLE, max_size=6), last=LOUD, quiet=st.booleans())
    def ask_in_a_batch(self, before: list[AnyRequest], last: AnyRequest, quiet: bool) -> None:
        batch = [*before, last]
        if self.client.outstanding + len(batch) > WIDE.outstanding:
            self.ask_too_much_in_a_batch(last, len(batch), quiet)
            return
        exchanges = self.client.send_all(batch, quiet=quiet)
        for request, exchange in zip(batch, exchanges, strict=True):
            self._record(request, exchange, quiet and exchange is not exchanges[-1])

    @precondition(lambda self: self.client.reusable)
    @rule(before=st.lists(QUIETABLE, max_size=3), bad=INVALID, behind=st.lists(QUIETABLE, max_size=3))
    def ask_in_a_batch_with_an_invalid_member(
        self, before: list[AnyRequest], bad: AnyRequest, behind: list[AnyRequest]
    ) -> None:
        for quiet in (False, True):
            with pytest.raises(LocalProtocolError):
                self.client.send_all([*before, bad, *behind], quiet=quiet)

    @precondition(lambda self: self.client.reusable)
    @rule(request=QUIETABLE, more=st.integers(0, 3), quiet=st.booleans())
    def ask_too_much_in_a_batch(self, request: AnyRequest, more: int, quiet: bool) -> None:
        room = WIDE.outstanding - self.client.outstanding
        with pytest.raises(LocalProtocolError, match="limit"):
            self.client.send_all([request] * (max(room, 0) + 1 + more), quiet=quiet)

    @precondition(lambda self: len(self.asked) > 8 and self.client.reusable)
    @rule(quiet=st.booleans())
    def say_goodbye(self, quiet: bool) -> None:
        self._ask(Quit(), quiet)

    @rule()
    def fence(self) -> None:
        data = self.client.fence()
        if data:
            assert self.dialect is Dialect.BINARY
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
        if isinstance(event, Envelope):
            request, asked = self.underway.popleft()
            seen = event.request
            if isinstance(seen, Get | Set | Add | Append | Delete | Increment):
                seen = seen.replace(meta=None)
            assert seen == _seen(request, self.dialect)
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
        heard = _heard(reply, asked.request, self.dialect)
        if not asked.left:
            asked.expected = heard
            if asked.quiet:
                # The quiet rules, said again: a get leaves out a miss, everything else its success.
                silent = reply == Values() if isinstance(event.request, Get) else not isinstance(reply, Failure)
                if self.dialect is Dialect.BINARY:
                    assert (said == b"") is silent
                asked.expected = Silence() if silent else heard
            if isinstance(event.request, Quit):
                # Loud or quiet, the end of the stream is its answer.
                asked.expected = Ok()
        elif isinstance(event.request, Noop):
            asked.expected = reply if isinstance(reply, Failure) else asked.refusal or Values(tuple(asked.items))
        else:
            if isinstance(reply, Values):
                asked.items += reply.items
            elif isinstance(reply, Failure):
                asked.refusal = asked.refusal or reply
            if self.dialect is Dialect.META:
                asked.answered += 1
                if asked.answered == asked.left:
                    asked.expected = asked.refusal or Values(tuple(asked.items))

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
        # A fence is sent even at the limit, because nothing else could settle the quiet requests.
        assert self.client.outstanding <= WIDE.outstanding + 1

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


class ClassicConversation(Conversation):
    """The same in classic text."""

    dialect = Dialect.CLASSIC


class MetaConversation(Conversation):
    """The same in meta."""

    dialect = Dialect.META


TestClassicConversation = ClassicConversation.TestCase
TestClassicConversation.settings = settings(stateful_step_count=60)
TestMetaConversation = MetaConversation.TestCase
TestMetaConversation.settings = settings(stateful_step_count=60)
