"""Whether it is certain which request a reply answers, where bytes are missing or the order does not say it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from memproto._wire.exchange import Exchange
from memproto.connection.observer_names import Name, is_form, is_opaque, names_of, opaque_of
from memproto.connection.observer_streams import ObservedRequest

__all__ = ["Certainty"]

# A reply that answers none of the requests is compared with all of them. So that many such replies take no long time,
# that costs a credit for each request; each request that comes gives some, and without any only a few are compared.
_CREDIT, _MOST_CREDIT, _FEW = 16, 1 << 14, 16
# An offset that no stream has.
_NEVER: Final = 1 << 64


class Certainty:
    """Knows whether the next reply answers the oldest request; if not, whether it names its request.

    While all bytes are there, the next reply answers the oldest request that must have one. There is doubt when bytes
    are lost or break the protocol, and when a reply may answer several quiet requests. It ends with a reply that has a
    name (opaque, key or form) of one request only, among all that may wait. Of requests that were not seen the names
    are not known: then a form is not enough, nor an opaque that the request before has, too.
    """

    __slots__ = (
        "_credit",
        "_doubt",
        "_judged",
        "_known_from",
        "_limit",
        "_names",
        "_opaque",
        "_passed",
        "_unknown_from",
        "certain",
        "exact",
    )

    def __init__(self, limit: int) -> None:
        self._doubt = False
        # Between these offsets of the client's stream there may be requests that were not seen.
        self._unknown_from = _NEVER
        self._known_from = 0
        # The opaque of the request before.
        self._opaque: int | bytes | None = None
        # The request that a reply was matched with last.
        self._judged: ObservedRequest | None = None
        # How many of the requests that may wait have each name. Counted in doubt, and while quiet requests wait.
        self._names: Counter[Name] = Counter()
        # In doubt: the names of the requests that were reported, and may wait all the same.
        self._passed: deque[tuple[Name, ...]] = deque()
        self._limit = limit
        self._credit = _MOST_CREDIT
        #: Whether it is certain which request the reply answers that is being read; and whether there was no doubt
        #: about the requests before that one.
        self.certain: bool = True
        self.exact: bool = True

    def is_exact(self, request: ObservedRequest) -> bool:
        """Whether the next reply answers this request, the oldest, and can answer no other. Then it is certain."""
        if self._doubt or request.quiet or request.where.start >= self._unknown_from:
            return False
        self.certain = self.exact = True
        return True

    def in_doubt(self, request: ObservedRequest) -> bool:
        """Whether the reply to this request may have been lost, or been taken for that to another one."""
        return self._doubt or request.where.start >= self._unknown_from

    def expect(self, request: ObservedRequest) -> None:
        """Take a request that was read."""
        self._credit = min(self._credit + _CREDIT, _MOST_CREDIT)
        opaque = opaque_of(request.envelope)
        request.has_new_opaque = opaque is not None and self._opaque is not None and opaque != self._opaque
        self._opaque = opaque
        if request.quiet or self._doubt or self._names:
            self._count(request)

    def report(self, request: ObservedRequest) -> None:
        """Take a request that is reported, and does not wait any more as far as is known."""
        if not self._doubt:
            self._forget(request.names)
            return
        if len(self._passed) >= self._limit:
            self._forget(self._passed.popleft())
        self._passed.append(request.names)

    def lose_replies(self, waiting: Iterable[Exchange[object]]) -> None:
        """Begin to doubt: any of the requests that wait may have been answered."""
        self._judged = None
        if not self._doubt:
            self._doubt = True
            for request in waiting:
                assert isinstance(request, ObservedRequest)
                if not request.names:
                    self._count(request)

    def lose_requests(self, begin: int, end: int) -> None:
        """Note that between these offsets of the client's stream there may be requests that were not seen."""
        self._unknown_from = min(self._unknown_from, begin)
        self._known_from = end

    def candidates(self, waiting: deque[Exchange[object]]) -> Iterable[Exchange[object]]:
        """The requests to compare with a reply."""
        return waiting if self._credit else islice(waiting, _FEW)

    def miss(self, waiting: deque[Exchange[object]]) -> None:
        """Note that a reply answers none of the candidates."""
        self._credit = max(self._credit - len(waiting), 0)

    def is_only(self, name: Name) -> bool:
        """Whether one of the requests that may wait has this name."""
        return self._names[name] == 1

    def match(self, waiting: deque[Exchange[object]], index: int, name: Name, only: bool, is_first: bool) -> None:
        """Judge whether a reply of this name answers the request at this index, the first that it can answer.

        ``only`` is whether it can answer none of the quiet requests in a row with this one, nor the one behind them.
        ``is_first`` is whether it is the first reply behind a loss, and may have lost its beginning.
        """
        request = waiting[index]
        assert isinstance(request, ObservedRequest)
        if request is self._judged:
            # Those before it have been reported since.
            return
        # Behind a quiet request there may be one that was not seen, whose reply this is.
        is_next = not self.in_doubt(request) and not (request.quiet and self._unknown_from != _NEVER)
        self.exact = is_next and all(each.quiet for each in islice(waiting, index))
        if self.exact and only:
            self._judged, self.certain = request, True
            return
        self.exact = False
        self.lose_replies(waiting)
        self._judged = request
        named = name in request.names and self.is_only(name)
        self.certain = named and (
            self._unknown_from == _NEVER and not is_first
            if is_form(name)
            else not is_opaque(name) or self._unknown_from == _NEVER or request.has_new_opaque
        )
        if self.certain:
            self._end_doubt(request.where.start)

    def _end_doubt(self, start: int) -> None:
        """Go on: the next reply is that to the request behind the one that starts here."""
        if start >= self._known_from:
            self._unknown_from, self._known_from = _NEVER, 0
        elif start >= self._unknown_from:
            return
        self._doubt = False
        while self._passed:
            self._forget(self._passed.popleft())

    def _count(self, request: ObservedRequest) -> None:
        request.names = names_of(request.envelope)
        self._names.update(request.names)

    def _forget(self, names: tuple[Name, ...]) -> None:
        for name in names:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
