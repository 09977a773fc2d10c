"""Classic text replies, read in the light of their requests: each collector takes lines until its reply is complete."""

from __future__ import annotations

import re
from typing import Final

from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange, Gathered, GatheredStatistics, LineCollector, ShortCollector, too_large
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    Append,
    Authenticated,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    Item,
    Noop,
    Ok,
    Prepend,
    RawReply,
    Replace,
    Request,
    SaslAuth,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto.text._failures import failure_in, unexpected
from memproto.text._lines import CRLF, take_line, unsigned, words_of
from memproto.text.classic._replies import BARE_STATS, DETAIL_USAGE, DUMPS, END, NO_STATISTICS, OWN_AUTH_TEXTS, WORDED


def _failure_of(line: bytes, request: Request[object]) -> Failure | None:
    """The failure that a line says to this request, ``None`` if it says none."""
    if isinstance(request, WORDED):
        if line == b"NOT_STORED":
            if isinstance(request, Add):
                return Failure(Status.KEY_EXISTS)
            return Failure(Status.KEY_NOT_FOUND if isinstance(request, Replace) else Status.NOT_STORED)
        if line == b"EXISTS":
            return Failure(Status.KEY_EXISTS)
        if line == b"NOT_FOUND":
            return Failure(Status.KEY_NOT_FOUND)
    elif line == b"ERROR" and isinstance(request, Stats):
        return Failure(Status.KEY_NOT_FOUND)
    failure = failure_in(line)
    if failure == DETAIL_USAGE and isinstance(request, Stats):
        return NO_STATISTICS
    if failure is not None and failure == OWN_AUTH_TEXTS.get(type(request)):
        return Failure(Status.AUTH_ERROR)
    return failure


class OneLine(LineCollector):
    """Reads the reply to one request from the head of the stream; keeps what came so far between calls."""

    __slots__ = ("limits", "request")

    def __init__(self, request: Request[object], limits: Limits) -> None:
        self.request = request
        self.limits = limits

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        """The reply, ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        line = take_line(buffer, self.limits.line, self.limits.line, self.limits.bare_lf)
        if line is None:
            return None
        reply = _failure_of(line, self.request) or _success_of(line, self.request)
        if reply is None:
            raise unexpected(line, type(self.request).__name__)
        return reply


def _success_of(line: bytes, request: Request[object]) -> AnyReply | None:
    """The reply of one line that is not a failure, ``None`` if it fits nothing."""
    match request:
        case Set() | Add() | Replace() | Append() | Prepend() if line == b"STORED":
            return Stored()
        case Delete() if line == b"DELETED":
            return Deleted()
        case Increment() | Decrement():
            # Older servers pad the number as it is stored.
            number = unsigned(line.rstrip(b" "), U64)
            return None if number is None else Counter(number)
        case Touch() if line == b"TOUCHED":
            return Touched()
        case Flush() | Verbosity() if line == b"OK":
            return Ok()
        case Version() if line.startswith(b"VERSION "):
            return VersionReply(line[8:])
        case Noop() if line.startswith(b"VERSION "):
            return Ok()
        case SaslAuth() if line == b"STORED":
            return Authenticated()
        case AdminCommand():
            return AdminReply((line,))
        case UnknownLine():
            return RawReply(value=line + CRLF)
    return None


# "VALUE ", three spaces and 20 digits: none of the three numbers has more than 18, so that it fits 64 bits.
_FEW_DIGITS = 29


class ItemCollector(OneLine):
    """VALUE lines with their data, until END."""

    __slots__ = ("gathered", "head", "next")

    def __init__(self, request: Request[object], limits: Limits, gathered: Gathered | None = None) -> None:
        super().__init__(request, limits)
        self.gathered = gathered or Gathered(limits)
        # What a VALUE line says, as the item without its data; their size, and how much of them is kept.
        self.head: tuple[Item, int, int] | None = None
        self.next = 0

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        while True:
            if self.head is not None and not self._take_data(buffer, *self.head):
                return None
            self._take_whole(buffer)
            line = take_line(buffer, self.limits.line, self.limits.line, self.limits.bare_lf)
            if line is None:
                return None
            if line == END:
                return self.gathered.reply()
            failure = failure_in(line)
            if failure is not None:
                self.gathered.refuse(failure)
                return self.gathered.reply()
            self.head = self._head(line, buffer)

    def _take_whole(self, buffer: ReceiveBuffer) -> None:
        """Take the items that are here whole. What is unusual in any way is left to the slower and stricter readers."""
        keys = self.request.keys if isinstance(self.request, Get) else ()
        gathered = self.gathered
        data, at, ahead, total = buffer.data, buffer.at, self.next, gathered.size
        if total + len(data) - at > self.limits.answer:
            # Near the limit the sum is looked at item by item.
            return
        find, keep, end_of_keys = data.find, gathered.items.append, len(keys)
        most, line_limit = self.limits.value, self.limits.line
        more = data[at : at + 6] == b"VALUE "
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
                    ahead = keys.index(key, ahead)
            except ValueError:
                break
            start, stop = end + 2, end + 2 + size
            behind = data[stop : stop + 8]
            more = behind == b"\r\nVALUE "
            if not more and behind[:2] != CRLF:
                break
            keep(Item(key, data[start:stop], flags, int(cas_word)))
            ahead += 1
            total += size
            at = stop + 2
        buffer.at, self.next, gathered.size = at, ahead, total

    def _head(self, line: bytes, buffer: ReceiveBuffer) -> tuple[Item, int, int]:
        words = words_of(line)
        if words[:1] != [b"VALUE"] or not 4 <= len(words) <= 5:
            raise unexpected(line, "Get")
        flags, size = unsigned(words[2], U32), unsigned(words[3], U32)
        cas = unsigned(words[4], U64) if len(words) == 5 else 0
        if flags is None or size is None or cas is None:
            raise RemoteProtocolError(f"numbers in {line[:80]!r} are not flags, length and cas")
        keys = self.request.keys if isinstance(self.request, Get) else ()
        try:
            # Hits come in the order of the keys, so each is asked for behind the one before.
            self.next = keys.index(words[1], self.next) + 1
        except ValueError:
            raise RemoteProtocolError(f"key of a VALUE is {words[1]!r}, which was not asked for here") from None
        item = Item(words[1], b"", flags, cas)
        if self.gathered.has_room(size):
            return item, size, size
        buffer.discard(size)
        return item, size, 0

    def _take_data(self, buffer: ReceiveBuffer, item: Item, size: int, kept: int) -> bool:
        if not buffer.gather(kept + 2):
            return False
        at = buffer.at
        if buffer.data[at + kept : at + kept + 2] != CRLF:
            raise RemoteProtocolError(f"data of {item.key!r} are not followed by CR LF after {size} bytes")
        if kept == size:
            self.gathered.add(Values((Item(item.key, buffer.data[at : at + size], item.flags, item.cas),)))
        buffer.at = at + kept + 2
        self.head = None
        return True


class StatCollector(OneLine):
    """STAT lines until END, or the one line of a group that tells nothing."""

    __slots__ = ("bare", "gathered", "is_first")

    def __init__(self, request: Stats, limits: Limits) -> None:
        super().__init__(request, limits)
        self.bare = BARE_STATS.get(request.group)
        self.gathered = GatheredStatistics(limits)
        self.is_first = True

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        while (line := take_line(buffer, self.limits.line, self.limits.line, self.limits.bare_lf)) is not None:
            if line == END or (self.is_first and line == self.bare):
                return self.gathered.reply()
            failure = _failure_of(line, self.request)
            if failure is not None:
                return failure
            if not line.startswith(b"STAT "):
                raise unexpected(line, "Stats")
            name, _, value = line[5:].partition(b" ")
            if not name:
                raise unexpected(line, "Stats")
            self.gathered.add(name, value, len(line))
            self.is_first = False
        return None


class PrefixCollector(OneLine):
    """``stats detail dump``: PREFIX lines until END, given as the one statistic that binary makes of them."""

    __slots__ = ("end", "lines", "refusal", "size")

    def __init__(self, request: Request[object], limits: Limits, end: bytes = END) -> None:
        super().__init__(request, limits)
        self.end = end
        self.lines: list[bytes] = []
        self.size = 0
        self.refusal: Failure | None = None

    def take(self, buffer: ReceiveBuffer) -> AnyReply | None:
        while (line := take_line(buffer, self.limits.line, self.limits.line, self.limits.bare_lf)) is not None:
            failure = _failure_of(line, self.request)
            if failure is not None:
                return failure
            is_last = line == self.end or (not self.size and self.is_refusal(line))
            self.size += len(line) + len(CRLF)
            if self.refusal is None and self.size > self.limits.answer:
                self.refusal = too_large(f"lines are {self.size} bytes and more, limit is {self.limits.answer}")
                self.lines.clear()
            if self.refusal is None:
                self.lines.append(line)
            if is_last:
                return self.refusal or self.reply()
        return None

    def is_refusal(self, line: bytes) -> bool:
        """Whether this line, the first, is the whole answer."""
        return False

    def reply(self) -> AnyReply:
        """What the lines say."""
        return StatsReply(((b"detailed", b"".join(line + CRLF for line in self.lines)),))


class DumpCollector(PrefixCollector):
    """Lines until END, for the administrative commands that list items."""

    __slots__ = ()

    def is_refusal(self, line: bytes) -> bool:
        return line.split(b" ")[0] in (b"BUSY", b"BADCLASS", b"LOCKED")

    def reply(self) -> AnyReply:
        return AdminReply(tuple(self.lines))


def collector_for(request: Request[object], limits: Limits) -> OneLine:
    """What collects the reply to this request."""
    if isinstance(request, Get):
        return ItemCollector(request, limits)
    if isinstance(request, Stats):
        kind = PrefixCollector if request.group == b"detail dump" else StatCollector
        return kind(request, limits)
    end = DUMPS.get(request.words[1:2]) if isinstance(request, AdminCommand) else None
    if end is not None:
        return DumpCollector(request, limits, end)
    return OneLine(request, limits)


# --- the usual replies


class OneWord(ShortCollector):
    """The line of a success."""

    __slots__ = ("kind", "line")

    def __init__(self, line: bytes, kind: type[Stored] | type[Deleted]) -> None:
        self.line = line
        self.kind = kind

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        if not buffer.data.startswith(self.line, buffer.at):
            return None
        buffer.at += len(self.line)
        return self.kind()

    def careful(self, exchange: Exchange[object], limits: Limits) -> LineCollector:
        return OneLine(exchange.request, limits)


_NUMBERS: Final = re.compile(rb"(\d{1,10}) (\d{1,10}) (\d{1,20})\r\n").match
_LAST: Final = CRLF + END + CRLF


class OneValue(ShortCollector):
    """A hit or a miss of a get of one key; ``due`` is what a hit begins with, up to the space behind the key."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at, due = buffer.data, buffer.at, exchange._expected
        if not data.startswith(due, at):
            if not data.startswith(b"END\r\n", at):
                return None
            buffer.at = at + 5
            return Values()
        numbers = _NUMBERS(data, at + len(due))
        if numbers is None:
            return None
        flags_word, size_word, cas_word = numbers.groups()
        flags, size, cas, start = int(flags_word), int(size_word), int(cas_word), numbers.end()
        stop = start + size
        if size > limits.value or size > limits.answer or flags > U32 or cas > U64 or not data.startswith(_LAST, stop):
            return None
        request = exchange.request
        assert isinstance(request, Get)
        buffer.at = stop + len(_LAST)
        return Values((Item(request.keys[0], data[start:stop], flags, cas),))

    def careful(self, exchange: Exchange[object], limits: Limits) -> LineCollector:
        return ItemCollector(exchange.request, limits)
