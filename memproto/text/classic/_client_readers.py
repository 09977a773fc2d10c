"""The client's side of classic text: reads all replies but those to a get, which are in ``_client_items``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from memproto import model
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U64
from memproto._wire.exchange import Exchange
from memproto._wire.growing import GrowingStatistics, too_large
from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Request
from memproto.text._client_readers import TextReader
from memproto.text._failures import unexpected
from memproto.text._lines import CRLF, read_line, unsigned
from memproto.text.classic import _commands
from memproto.text.classic._client_items import ONE_ITEM, ItemsReader
from memproto.text.classic._cluster import ClusterConfigReader
from memproto.text.classic._commands import BY_REQUEST, Command, failure_of

_WORDS: Final[dict[type, Callable[[], AnyReply]]] = {
    kind: kind for kind in (model.Stored, model.Deleted, model.Touched, model.Ok, model.Authenticated)
}
# NOT_STORED and the end of the line.
_LONGEST_WORD: Final = 12
_NUMBER_LINE: Final = re.compile(rb"(\d{1,20})\r\n").match

# --- replies of one line


class LineReader(TextReader):
    """Reads a reply of one line, which ``success`` makes of a line that is no failure; ``None`` if it says nothing."""

    __slots__ = ("_success",)

    def __init__(self, success: Callable[[bytes], AnyReply | None]) -> None:
        self._success = success

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        line = read_line(buffer, limits)
        if line is None:
            return None
        reply = failure_of(line, exchange.request) or self._success(line)
        if reply is None:
            raise unexpected(line, type(exchange.request).__name__)
        return reply


class WordReader(LineReader):
    """Reads the line of a success that is always the same, or the word of a refusal."""

    __slots__ = ("_line", "_make", "_refusals")

    def __init__(self, command: Command) -> None:
        word, make = command.success, _WORDS[command.request.reply_types()[0]]
        super().__init__(lambda line: make() if line == word else None)
        self._line = word + CRLF
        self._make = make
        self._refusals = {line + CRLF: status for line, status in command.refusals.items() if b" " not in line}

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        data, at = buffer.data, buffer.at
        if data.startswith(self._line, at):
            buffer.at = at + len(self._line)
            return self._make()
        end = data.find(b"\n", at, at + _LONGEST_WORD) + 1
        status = self._refusals.get(data[at:end])
        if status is None:
            return None
        buffer.at = end
        return Failure(status)


class CounterReader(LineReader):
    """Reads the number that answers ``incr`` and ``decr``."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        line = _NUMBER_LINE(buffer.data, buffer.at)
        if line is None:
            return None
        number = int(line[1])
        if number > U64:
            return None
        buffer.at = line.end()
        return model.Counter(number)


def _counter(line: bytes) -> AnyReply | None:
    # Older servers pad the number as it is stored.
    number = unsigned(line.rstrip(b" "), U64)
    return None if number is None else model.Counter(number)


def _version(line: bytes) -> AnyReply | None:
    word, space, version = line.partition(b" ")
    return model.VersionReply(version) if word == _commands.VERSION and space else None


def _noop(line: bytes) -> AnyReply | None:
    # Noop is sent as ``version``, and has no use for the version.
    return None if _version(line) is None else model.Ok()


# --- replies of many lines


class StatisticsReader(TextReader):
    """Reads STAT lines until END, or the one line of a group without statistics."""

    __slots__ = ("_alone", "_growing")

    def __init__(self, request: model.Stats, limits: Limits) -> None:
        # The line that is a reply by itself as long as no statistic has been read.
        self._alone = _commands.STATS_WITHOUT_LINES.get(request.group)
        self._growing = GrowingStatistics(limits)

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        while (line := read_line(buffer, limits)) is not None:
            if line in (_commands.END, self._alone):
                return self._growing.reply()
            failure = failure_of(line, exchange.request)
            if failure is not None:
                return failure
            word, _, statistic = line.partition(b" ")
            name, _, value = statistic.partition(b" ")
            if word != _commands.STAT or not name:
                raise unexpected(line, "Stats")
            self._growing.add(name, value, len(line))
            self._alone = None
        return None


class LinesReader(TextReader):
    """Reads lines until ``last``, up to ``limits.answer`` bytes; ``make`` makes the reply of them, the last included.

    A first line that begins with a word of ``alone`` is the whole reply.
    """

    __slots__ = ("_alone", "_last", "_lines", "_make", "_refusal", "_size")

    def __init__(self, make: Callable[[list[bytes]], AnyReply], last: bytes, alone: tuple[bytes, ...] = ()) -> None:
        self._make = make
        self._last = last
        self._alone = alone
        self._lines: list[bytes] = []
        self._size = 0
        self._refusal: Failure | None = None

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        while (line := read_line(buffer, limits)) is not None:
            failure = failure_of(line, exchange.request)
            if failure is not None:
                return failure
            is_last = line == self._last or (not self._size and line.split(b" ")[0] in self._alone)
            self._size += len(line) + len(CRLF)
            if self._refusal is None and self._size > limits.answer:
                self._refusal = too_large(f"lines are {self._size} bytes and more, limit is {limits.answer}")
                self._lines.clear()
            if self._refusal is None:
                self._lines.append(line)
            if is_last:
                return self._refusal or self._make(self._lines)
        return None


def _detail_dump(lines: list[bytes]) -> AnyReply:
    """PREFIX lines (``stats detail dump``) are the one statistic that binary makes of them."""
    return model.StatsReply(((b"detailed", b"".join(line + CRLF for line in lines)),))


def _list_of_items(lines: list[bytes]) -> AnyReply:
    return model.AdminReply(tuple(lines))


# --- the reader of each request

#: Reads any line that is no failure.
RAW_LINE: Final = LineReader(lambda line: model.RawReply(value=line + CRLF))

#: The readers of replies that need no more than the kind of request.
READERS: Final[dict[type[Request[object]], TextReader]] = {
    **{kind: WordReader(command) for kind, command in BY_REQUEST.items() if command.success},
    **dict.fromkeys((model.Increment, model.Decrement), CounterReader(_counter)),
    model.Version: LineReader(_version),
    model.Noop: LineReader(_noop),
    model.AdminCommand: LineReader(lambda line: model.AdminReply((line,))),
    model.UnknownLine: RAW_LINE,
}
_FAILURES_ONLY: Final = LineReader(lambda _line: None)


def reader_for(request: Request[object], limits: Limits) -> TextReader:
    """What reads the reply to this request."""
    if isinstance(request, model.Get):
        return ONE_ITEM if len(request.keys) == 1 else ItemsReader(request.keys, limits)
    if isinstance(request, model.Stats):
        is_dump = request.group == _commands.DETAIL_DUMP
        return LinesReader(_detail_dump, _commands.END) if is_dump else StatisticsReader(request, limits)
    if isinstance(request, model.AdminCommand) and request.words[1:2] in _commands.DUMPS:
        return LinesReader(_list_of_items, _commands.DUMPS[request.words[1:2]], _commands.DUMP_REFUSALS)
    if isinstance(request, model.ClusterConfig):
        return ClusterConfigReader()
    return READERS.get(type(request), _FAILURES_ONLY)
