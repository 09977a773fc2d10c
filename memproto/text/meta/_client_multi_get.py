"""The replies to one get of many keys, which is a meta command for each."""

from __future__ import annotations

import re
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange
from memproto._wire.growing import GrowingItems
from memproto.limits import Limits
from memproto.model import AnyReply, Get, Item
from memproto.text._client_readers import TextReader
from memproto.text._lines import CRLF
from memproto.text.meta._client_irregular import IrregularReply

# The beginning of the line of a hit. In a loop its end, as a single get has it, is compared faster as a whole.
_HIT: Final = re.compile(rb"VA (\d{1,10}) f(\d{1,10}) c(\d{1,20})").match


class MultiGetReply(TextReader):
    """Reads the replies to one get of many keys; keeps the items so far between calls."""

    __slots__ = ("_irregular", "any_regular", "at", "flags", "growing", "keys", "limits")

    def __init__(
        self, keys: tuple[bytes, ...], flags: tuple[bytes, ...], limits: Limits, any_regular: bool = True
    ) -> None:
        self.keys = keys
        self.any_regular = any_regular
        self.flags = flags
        self.limits = limits
        self.growing = GrowingItems(limits)
        #: The index of the key whose reply comes next.
        self.at = 0
        self._irregular: IrregularReply | None = None

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        self._read_items(buffer)
        return self.growing.reply() if self.at == len(self.keys) else None

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        while True:
            if self._irregular is None:
                self._read_items(buffer)
                if self.at == len(self.keys):
                    return self.growing.reply()
                self._irregular = IrregularReply(Get((self.keys[self.at],)), self.flags, self.limits, strict=True)
            reply = self._irregular.read_irregular(buffer, exchange, limits)
            if reply is None:
                return None
            self._irregular = None
            self.at += 1
            self.growing.add(reply)

    def _read_items(self, buffer: ReceiveBuffer) -> None:
        """Read complete hits and misses of the regular form, which is that of a single get."""
        growing = self.growing
        data, at, number, keys, total = buffer.data, buffer.at, self.at, self.keys, growing.size
        match, keep, tail = _HIT, growing.items.append, b" " + self.flags[-1] + CRLF
        if not self.any_regular or total + len(data) - at > self.limits.answer:
            # Near the limit the sum is checked item by item.
            return
        value_limit, line_limit, end_of_keys = self.limits.value, self.limits.line, len(keys)
        # Sizes and flags are often those of the item before.
        last_size, size, last_flags, flags = b"0", 0, b"0", 0
        while number < end_of_keys:
            key = keys[number]
            expected = b" k" + key + tail
            hit = match(data, at)
            if hit is None:
                if not data.startswith(b"EN" + expected, at) or 2 + len(expected) > line_limit:
                    break
                at += 2 + len(expected)
            else:
                size_word, flags_word, cas_word = hit.groups()
                if size_word != last_size:
                    last_size, size = size_word, int(size_word)
                if flags_word != last_flags:
                    last_flags, flags = flags_word, int(flags_word)
                cas, end_of_flags = int(cas_word), hit.end()
                start = end_of_flags + len(expected)
                end = start + size
                if size > value_limit or flags > U32 or cas > U64 or start - at > line_limit:
                    break
                if data[end_of_flags:start] != expected or data[end : end + 2] != CRLF:
                    break
                total += size
                keep(Item(key, data[start:end], flags, cas))
                at = end + 2
            number += 1
        buffer.at, self.at, growing.size = at, number, total
