"""The client's side of classic text: reads the items that answer a get."""

from __future__ import annotations

import re
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange
from memproto._wire.growing import GrowingItems
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, Get, Item, Values
from memproto.text._client_readers import TextReader
from memproto.text._failures import failure_in, unexpected
from memproto.text._lines import CRLF, read_line, unsigned, words_of
from memproto.text.classic._commands import END, VALUE

_END_LINE: Final = END + CRLF
_ITEM: Final = VALUE + b" "
_NEXT_ITEM: Final = CRLF + _ITEM
_DATA_END: Final = CRLF + _END_LINE
_HEAD: Final = re.compile(_ITEM + rb"([^\r\n\0 ]{1,250}) (\d{1,10}) (\d{1,10}) (\d{1,20})\r\n").match
# "VALUE ", three spaces and 20 digits: none of the three numbers has more than 18, so that it fits 64 bits.
_FEW_DIGITS: Final = 29


class ItemReader(TextReader):
    """Reads the reply to a get of one key: one item, or none."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        request = exchange.request
        assert isinstance(request, Get)
        data, at = buffer.data, buffer.at
        head = _HEAD(data, at)
        if head is None:
            if not data.startswith(_END_LINE, at):
                return None
            buffer.at = at + len(_END_LINE)
            return Values()
        key, (word, flags_word, size_word, cas_word) = request.keys[0], head.groups()
        flags, size, cas, start = int(flags_word), int(size_word), int(cas_word), head.end()
        stop = start + size
        if word != key or size > limits.value or size > limits.answer or flags > U32 or cas > U64:
            return None
        if not data.startswith(_DATA_END, stop):
            return None
        buffer.at = stop + len(_DATA_END)
        return Values((Item(key, data[start:stop], flags, cas),))

    def begin(self, exchange: Exchange[object], limits: Limits) -> TextReader:
        request = exchange.request
        assert isinstance(request, Get)
        return ItemsReader(request.keys, limits)


ONE_ITEM: Final = ItemReader()


class ItemsReader(TextReader):
    """Reads the items of one get of any number of keys, which may be sent in several lines.

    ``ends`` is the index behind the last key of each line; each line has a reply of its own, which ends in END. Items
    come in the order of the keys, so each is looked for behind the one before.
    """

    __slots__ = ("_ends", "_head", "_kept", "_keys", "_line", "_next", "_size", "growing")

    def __init__(self, keys: tuple[bytes, ...], limits: Limits, ends: tuple[int, ...] = ()) -> None:
        self._keys = keys
        self._ends = ends or (len(keys),)
        # Of how many lines the reply has been read.
        self._line = 0
        # The index behind the key of the item before.
        self._next = 0
        self.growing = GrowingItems(limits)
        # The item of a VALUE line whose data have not been read: without them, their size, and how much is kept.
        self._head: Item | None = None
        self._size = self._kept = 0

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        self._read_items(buffer, limits)
        if not buffer.data.startswith(_END_LINE, buffer.at):
            return None
        buffer.at += len(_END_LINE)
        return self._end_line()

    def _read_items(self, buffer: ReceiveBuffer, limits: Limits) -> None:
        """Read the regular items that are complete. An item that is irregular in any way is left in the buffer."""
        growing, keys, end_of_keys = self.growing, self._keys, self._ends[self._line]
        data, at, ahead, total = buffer.data, buffer.at, self._next, growing.size
        if total + len(data) - at > limits.answer:
            # Near the limit the sum is checked item by item.
            return
        find, keep, most, line_limit = data.find, growing.items.append, limits.value, limits.line
        more = data.startswith(_ITEM, at)
        # Sizes and flags are often those of the item before.
        last_size, size, last_flags, flags = b"0", 0, b"0", 0
        while more:
            end = find(CRLF, at, at + line_limit)
            if end < 0:
                break
            try:
                key, flags_word, size_word, cas_word = data[at + 6 : end].split(b" ")
                if not cas_word.isdigit() or end - at > len(key) + _FEW_DIGITS:
                    break
                if size_word != last_size or flags_word != last_flags:
                    if not (size_word.isdigit() and flags_word.isdigit()):
                        break
                    last_size, size, last_flags, flags = size_word, int(size_word), flags_word, int(flags_word)
                    if size > most or flags > U32:
                        break
                if ahead >= end_of_keys or key != keys[ahead]:
                    ahead = keys.index(key, ahead, end_of_keys)
            except ValueError:
                break
            start, stop = end + 2, end + 2 + size
            behind = data[stop : stop + 8]
            more = behind == _NEXT_ITEM
            if not more and behind[:2] != CRLF:
                break
            keep(Item(key, data[start:stop], flags, int(cas_word)))
            ahead += 1
            total += size
            at = stop + 2
        buffer.at, self._next, growing.size = at, ahead, total

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        reply = None
        while reply is None:
            if self._head is not None and not self._read_data(buffer, self._head):
                return None
            self._read_items(buffer, limits)
            line = read_line(buffer, limits)
            if line is None:
                return None
            failure = failure_in(line)
            if failure is not None:
                self.growing.fail(failure)
            if line == END or failure is not None:
                reply = self._end_line()
            else:
                self._read_head(line, buffer)
        return reply

    def _end_line(self) -> AnyReply | None:
        """The reply to a line of keys is complete; the whole reply if it was the last line."""
        self._next = self._ends[self._line]
        self._line += 1
        return self.growing.reply() if self._line == len(self._ends) else None

    def _read_head(self, line: bytes, buffer: ReceiveBuffer) -> None:
        words = words_of(line)
        if words[:1] != [VALUE] or not 4 <= len(words) <= 5:
            raise unexpected(line, "Get")
        flags, size = unsigned(words[2], U32), unsigned(words[3], U32)
        cas = unsigned(words[4], U64) if len(words) == 5 else 0
        if flags is None or size is None or cas is None:
            raise RemoteProtocolError(f"numbers in {line[:80]!r} are not flags, length and cas")
        try:
            self._next = self._place_of(words[1]) + 1
        except ValueError:
            raise RemoteProtocolError(f"key of a VALUE is {words[1]!r}, which was not asked for here") from None
        self._head, self._size, self._kept = Item(words[1], b"", flags, cas), size, size
        if not self.growing.has_room(size):
            self._kept = 0
            buffer.discard(size)

    def _place_of(self, key: bytes) -> int:
        """The index of a key behind that of the item before. Raises ValueError if it is not there."""
        return self._keys.index(key, self._next, self._ends[self._line])

    def _read_data(self, buffer: ReceiveBuffer, head: Item) -> bool:
        size, kept = self._size, self._kept
        if not buffer.gather(kept + len(CRLF)):
            return False
        at = buffer.at
        if not buffer.data.startswith(CRLF, at + kept):
            raise RemoteProtocolError(f"data of {head.key!r} are not followed by CR LF after {size} bytes")
        if kept == size:
            self.growing.add(Values((Item(head.key, buffer.data[at : at + size], head.flags, head.cas),)))
        buffer.at = at + kept + len(CRLF)
        self._head = None
        return True
