"""State machines to inherit from: hypothesis tries a server, or a client, in ways that nobody thinks of."""

from __future__ import annotations

from typing import ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    ClientConnection,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Dialect,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Noop,
    Prepend,
    Replace,
    Set,
    Signal,
    Silence,
    Stored,
    Touch,
    Touched,
    Values,
    Version,
    VersionReply,
)
from memproto.testing.fake.faults import Close, Cut, Delay, Fault
from memproto.testing.fake.memcached import FakeMemcached
from memproto.testing.fake.pipe import FakePipe
from memproto.testing.fake.rules import Rule
from memproto.testing.strategies.cuts import pieces
from memproto.testing.strategies.items import POOL, U32, U64, values

_KEYS: Final = st.sampled_from(POOL)
_VALUES: Final = st.sampled_from([b"0", b"10", b"99 ", b"18446744073709551615"]) | values(64)
_EXPTIMES: Final = st.sampled_from([0, 60, 3600])
_REQUESTS: Final[st.SearchStrategy[AnyRequest]] = st.one_of(
    st.builds(Get, st.lists(_KEYS, min_size=1, max_size=3, unique=True).map(tuple)),
    st.builds(Set, _KEYS, _VALUES, U32, _EXPTIMES),
    st.builds(Add, _KEYS, _VALUES, U32, _EXPTIMES),
    st.builds(Replace, _KEYS, _VALUES, U32, _EXPTIMES),
    st.builds(Append, _KEYS, _VALUES),
    st.builds(Prepend, _KEYS, _VALUES),
    st.builds(Delete, _KEYS),
    st.builds(Increment, _KEYS, U64),
    st.builds(Decrement, _KEYS, U64),
    st.builds(Touch, _KEYS, _EXPTIMES),
    st.sampled_from([Flush(), Noop(), Version()]),
)


class ServerMachine(RuleBasedStateMachine):
    """A hypothesis state machine that tests a server: its replies must be those of memcached's rules.

    It sends requests, cut anywhere. Inherit from it, override :meth:`receive`, and :meth:`start` and :meth:`stop` if
    there is something to start, and let your test runner find the ``TestCase``. CAS numbers may be any; texts of errors
    and the version are not compared. With an ``advance`` of your own, items expire.
    """

    #: The dialect of the requests.
    dialect: ClassVar[Dialect] = Dialect.BINARY

    def __init__(self) -> None:
        super().__init__()
        self._client = ClientConnection(dialect=self.dialect)
        self._fake = FakeMemcached()
        self._fake.now = 1_900_000_000
        self._twin: FakePipe = self._fake.pipe(ClientConnection(dialect=self.dialect))
        self.start()

    def start(self) -> None:
        """Start the server, without items. Override it if there is something to do."""

    def stop(self) -> None:
        """Stop the server. Override it if there is something to do."""

    def receive(self, data: bytes) -> bytes:
        """Give the server these bytes of one connection; return all that it then sends. Override it."""
        raise NotImplementedError(f"{type(self).__name__}.receive(data) gives the server bytes and returns its replies")

    def advance(self, seconds: float) -> None:
        """Let so much time pass for the server. Override it if your server can do that; it is not called otherwise."""

    def teardown(self) -> None:
        """Stop the server."""
        self.stop()

    @rule(request=_REQUESTS, data=st.data())
    def send(self, request: AnyRequest, data: st.DataObject) -> None:
        """Send a request, in pieces, and compare the reply."""
        assert _comparable(self._reply(request, data)) == _comparable(self._expected(request))

    @rule(key=_KEYS, stale=st.booleans(), value=_VALUES, data=st.data())
    def compare_and_swap(self, key: bytes, stale: bool, value: bytes, data: st.DataObject) -> None:
        """Read an item, let another client change it if ``stale``, and store with the CAS that was read."""
        request = Get((key,))
        own, twin = self._reply(request, data), self._expected(request)
        if stale:
            self.send(Append(key, b"+"), data)
        if isinstance(own, Values) and isinstance(twin, Values) and own.items and twin.items:
            reply = self._reply(Set(key, value, cas=own.items[0].cas), data)
            expected = self._expected(Set(key, value, cas=twin.items[0].cas))
            assert _comparable(reply) == _comparable(expected)

    @precondition(lambda self: type(self).advance is not ServerMachine.advance)
    @rule(seconds=st.sampled_from([1, 59, 61, 3601]))
    def pass_time(self, seconds: int) -> None:
        """Let time pass for both."""
        self.advance(seconds)
        self._fake.advance(seconds)

    def _reply(self, request: AnyRequest, data: st.DataObject) -> AnyReply | Silence:
        exchange = self._client.send(request)
        for piece in data.draw(pieces(exchange.data)):
            self._client.receive_data(self.receive(piece))
        while not isinstance(self._client.next_event(), Signal):
            pass
        reply: AnyReply | Silence | None = exchange.reply
        assert reply is not None, f"there is no complete reply to {request!r}"
        return reply

    def _expected(self, request: AnyRequest) -> AnyReply | Silence:
        exchange = self._twin.send(request)
        self._twin.run()
        reply: AnyReply | Silence | None = exchange.reply
        assert reply is not None
        return reply


def _comparable(reply: AnyReply | Silence) -> AnyReply | Silence:
    """What of a reply is the same for each server that keeps memcached's rules."""
    match reply:
        case Failure(status):
            return Failure(status)
        case Values(items):
            return Values(tuple(Item(item.key, item.value, item.flags) for item in items))
        case Counter(value):
            return Counter(value)
        case Stored() | Deleted() | Touched():
            return type(reply)()
        case VersionReply():
            return VersionReply(b"")
    return reply


#: How long replies are delayed, in seconds of the fake.
_LATE: Final = 100_000
#: The fault of one call, if there is any.
_HOW: Final[st.SearchStrategy[Fault | None]] = st.none() | st.runner().flatmap(lambda machine: machine.faults)


class ClientMachine(RuleBasedStateMachine):
    """A hypothesis state machine that tests a client: each call returns the right result, or raises an error.

    Inherit from it, override :meth:`open`, :meth:`get` and :meth:`set`, and :meth:`delete` and :meth:`incr` if the
    client has them, and let your test runner find the ``TestCase``. The requests meet with ``faults``, after which the
    client may raise the errors in ``raises``. Late replies arrive before the next call, or do not.
    """

    #: What the client may raise after a fault.
    raises: ClassVar[tuple[type[Exception], ...]] = (OSError,)
    #: The faults. Those that a client of text cannot notice, such as ``Duplicate()``, are not among the usual ones.
    faults: ClassVar[st.SearchStrategy[Fault]] = st.one_of(
        st.builds(Delay, st.just(_LATE), st.integers(0, 40)),
        st.builds(Cut, st.integers(0, 40)),
        st.builds(Close, st.booleans()),
    )

    def __init__(self) -> None:
        super().__init__()
        #: The server. It is not started: :meth:`open` may start it, or use it in memory.
        self.fake: FakeMemcached = FakeMemcached()
        self._faulty = False
        self._fault_rules: list[Rule] = []
        self._serial = 0
        self.open()

    def open(self) -> None:
        """Connect the client to ``self.fake``. Override it."""
        raise NotImplementedError(f"{type(self).__name__}.open() connects a client to self.fake")

    def close(self) -> None:
        """Close the client, and stop the fake if it was started. Override it if there is something to do."""

    def get(self, key: bytes) -> bytes | None:
        """Let the client get a value, ``None`` for a miss. Override it."""
        raise NotImplementedError

    def set(self, key: bytes, value: bytes) -> None:
        """Let the client store a value, and wait for the reply. Override it."""
        raise NotImplementedError

    def delete(self, key: bytes) -> bool:
        """Let the client delete an item; whether there was one. Override it if your client can do that."""
        raise NotImplementedError

    def incr(self, key: bytes, delta: int) -> int | None:
        """Let the client add to a number; the new one, ``None`` for a miss. Override it if your client can do that."""
        raise NotImplementedError

    def teardown(self) -> None:
        """Close the client."""
        # A client that is waiting to try again sends nothing: no fault need happen.
        for each in self._fault_rules:
            each.remove()
        self.close()

    def _prepare(self, how: Fault | None, late: bool) -> None:
        """Let delayed replies be sent, and the next request meet with a fault."""
        if late:
            self.fake.advance(_LATE)
        if how is not None:
            self._fault_rules.append(self.fake.fail(times=1, how=how))
            self._faulty = True

    @rule(key=_KEYS, how=_HOW, late=st.booleans())
    def ask_for_a_value(self, key: bytes, how: Fault | None, late: bool) -> None:
        """Compare a value with the item of the server."""
        self._prepare(how, late)
        before = self.fake.items.get(key)
        try:
            value = self.get(key)
        except self.raises:
            self._check_fault()
        else:
            assert value == (None if before is None else before.value)

    @rule(key=_KEYS, how=_HOW, late=st.booleans())
    def store_a_number(self, key: bytes, how: Fault | None, late: bool) -> None:
        """Store a value that there was never before."""
        self._prepare(how, late)
        self._serial += 1000
        value = b"%d" % self._serial
        try:
            self.set(key, value)
        except self.raises:
            self._check_fault()
        else:
            assert self.fake.items[key].value == value

    @precondition(lambda self: type(self).delete is not ClientMachine.delete)
    @rule(key=_KEYS, how=_HOW, late=st.booleans())
    def delete_an_item(self, key: bytes, how: Fault | None, late: bool) -> None:
        """Compare what the client says with what there was."""
        self._prepare(how, late)
        before = key in self.fake.items
        try:
            deleted = self.delete(key)
        except self.raises:
            self._check_fault()
        else:
            assert (deleted, key in self.fake.items) == (before, False)

    @precondition(lambda self: type(self).incr is not ClientMachine.incr)
    @rule(key=_KEYS, delta=st.integers(1, 9), how=_HOW, late=st.booleans())
    def count(self, key: bytes, delta: int, how: Fault | None, late: bool) -> None:
        """Compare the number with the item of the server."""
        self._prepare(how, late)
        try:
            number = self.incr(key, delta)
        except self.raises:
            self._check_fault()
        else:
            after = self.fake.items.get(key)
            assert number == (None if after is None else int(after.value))

    def _check_fault(self) -> None:
        assert self._faulty, "the client raised an error although nothing had gone wrong"
