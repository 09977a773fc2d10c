"""The replies to a get of many keys, each asked for by a meta command of its own."""

from __future__ import annotations

import re

from memproto._buffer import ReceiveBuffer
from memproto._collecting import Gathered, LineCollector
from memproto._meta_replies import MetaCollector
from memproto._text import CRLF, U32, U64
from memproto.limits import Limits
from memproto.messages import AnyReply, Get, Item

_PLAIN_HIT = re.compile(rb"VA (\d{1,10}) f(\d{1,10}) c(\d{1,20}) k([^ \r\n]{1,250})\r\n").match


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
                self.collector = MetaCollector(Get((self.keys[self.at],)), self.flags, self.limits)
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
        match, keep = _PLAIN_HIT, gathered.items.append
        most, room, line_limit, end_of_keys = self.limits.value, self.limits.answer, self.limits.line, len(keys)
        while number < end_of_keys:
            hit = match(data, at)
            if hit is None:
                if data[at : at + 4] != b"EN\r\n":
                    break
                at += 4
            else:
                size_word, flags_word, cas_word, key = hit.groups()
                size, cas = int(size_word), int(cas_word)
                flags = 0 if flags_word == b"0" else int(flags_word)
                start, stop = hit.end(), hit.end() + size
                if size > most or total + size > room or flags > U32 or cas > U64 or start - at > line_limit:
                    break
                if key != keys[number] or data[stop : stop + 2] != CRLF:
                    break
                total += size
                keep(Item(key, data[start:stop], flags, cas))
                at = stop + 2
            number += 1
        buffer.at, self.at, gathered.size = at, number, total
