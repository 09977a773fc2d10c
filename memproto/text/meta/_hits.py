"""The usual meta replies: to gets and stores of one key, and to a get of many, each asked for by a command of its own.

Each carries the opaque of its request, and a get the key too; ``due`` of an exchange is how its reply to one key ends.
"""

from __future__ import annotations

import re
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange, Gathered, LineCollector, ShortCollector
from memproto.limits import Limits
from memproto.model import AnyReply, Deleted, Get, Item, Stored, Values
from memproto.text._lines import CRLF
from memproto.text.meta._replies import MetaCollector

_HIT: Final = re.compile(rb"VA (\d{1,10}) f(\d{1,10}) c(\d{1,20})").match
_STORED: Final = re.compile(rb"HD c(\d{1,20})").match

#: What is asked to be told by the requests whose usual replies are known here.
TELL_ITEM: Final = (b"v", b"f", b"c", b"k")
TELL_CAS: Final = (b"c",)


def opaque_flag(opaque: int) -> bytes:
    """The flag that has a reply say whose it is."""
    return b"O%d" % opaque


class OneHit(ShortCollector):
    """A hit or a miss of ``mg``."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at, due = buffer.data, buffer.at, exchange._expected
        hit = _HIT(data, at)
        if hit is None:
            miss = b"EN" + due
            if not data.startswith(miss, at):
                return None
            buffer.at = at + len(miss)
            return Values()
        size_word, flags_word, cas_word = hit.groups()
        size, flags, cas, start = int(size_word), int(flags_word), int(cas_word), hit.end() + len(due)
        stop = start + size
        if size > limits.value or size > limits.answer or flags > U32 or cas > U64:
            return None
        if not data.startswith(due, hit.end()) or data[stop : stop + 2] != CRLF:
            return None
        request = exchange.request
        assert isinstance(request, Get)
        buffer.at = stop + 2
        return Values((Item(request.keys[0], data[start:stop], flags, cas),))

    def careful(self, exchange: Exchange[object], limits: Limits) -> LineCollector:
        return MetaCollector(exchange.request, (*TELL_ITEM, opaque_flag(exchange._opaque)), limits, True)


class OneStored(ShortCollector):
    """``HD`` with the CAS of what was stored."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        done = _STORED(buffer.data, buffer.at)
        if done is None or not buffer.data.startswith(exchange._expected, done.end()):
            return None
        cas = int(done[1])
        if cas > U64:
            return None
        buffer.at = done.end() + len(exchange._expected)
        return Stored(cas)

    def careful(self, exchange: Exchange[object], limits: Limits) -> LineCollector:
        return MetaCollector(exchange.request, (*TELL_CAS, opaque_flag(exchange._opaque)), limits, True)


class OneDeleted(ShortCollector):
    """``HD`` and nothing to tell."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        line = b"HD" + exchange._expected
        if not buffer.data.startswith(line, buffer.at):
            return None
        buffer.at += len(line)
        return Deleted()

    def careful(self, exchange: Exchange[object], limits: Limits) -> LineCollector:
        return MetaCollector(exchange.request, (opaque_flag(exchange._opaque),), limits, True)


class HitsCollector(LineCollector):
    """Reads the replies to a get of many keys, each asked for by a command of its own with the same ``flags``."""

    __slots__ = ("at", "collector", "flags", "gathered", "keys", "limits")

    def __init__(self, keys: tuple[bytes, ...], flags: tuple[bytes, ...], limits: Limits) -> None:
        self.keys = keys
        self.flags = flags
        self.limits = limits
        self.gathered = Gathered(limits)
        self.at = 0
        self.collector: MetaCollector | None = None

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        """The reply, ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        while True:
            if self.collector is None:
                self._take_plain(buffer)
                if self.at == len(self.keys):
                    return self.gathered.reply()
                self.collector = MetaCollector(Get((self.keys[self.at],)), self.flags, self.limits, True)
            reply = self.collector.take(buffer)
            if reply is None:
                return None
            self.collector = None
            self.at += 1
            self.gathered.add(reply)

    def _take_plain(self, buffer: ReceiveBuffer) -> None:
        """Take hits and misses that are here whole and tell no more than was asked. The rest is left to the other."""
        gathered = self.gathered
        data, at, number, keys, total = buffer.data, buffer.at, self.at, self.keys, gathered.size
        match, keep, tail = _HIT, gathered.items.append, b" " + self.flags[-1] + CRLF
        if total + len(data) - at > self.limits.answer:
            # Near the limit the sum is looked at item by item.
            return
        most, line_limit, end_of_keys = self.limits.value, self.limits.line, len(keys)
        # Sizes and flags are often those of the item before.
        last_size, size, last_flags, flags = b"0", 0, b"0", 0
        while number < end_of_keys:
            key = keys[number]
            due = b" k" + key + tail
            hit = match(data, at)
            if hit is None:
                if not data.startswith(b"EN" + due, at) or 2 + len(due) > line_limit:
                    break
                at += 2 + len(due)
            else:
                size_word, flags_word, cas_word = hit.groups()
                if size_word != last_size:
                    last_size, size = size_word, int(size_word)
                if flags_word != last_flags:
                    last_flags, flags = flags_word, int(flags_word)
                cas, told = int(cas_word), hit.end()
                start = told + len(due)
                stop = start + size
                if size > most or flags > U32 or cas > U64 or start - at > line_limit:
                    break
                if data[told:start] != due or data[stop : stop + 2] != CRLF:
                    break
                total += size
                keep(Item(key, data[start:stop], flags, cas))
                at = stop + 2
            number += 1
        buffer.at, self.at, gathered.size = at, number, total
