"""A dialect of one's own: Memcached Lite, with three commands, for people at a terminal.

    python -m examples.lite --port 11211 --persist items.sqlite

``set KEY SIZE`` and, on the next line, a value of up to SIZE bytes; ``get KEY``; ``exit``. Requests are the ordinary
ones, so that any engine and journal can serve them: the program is the reference server, with all of its options.

A value is never read as a command: behind a ``set`` of three words or more the next line is its value, also if the
command is refused. A refused value is dropped as it arrives, and never held.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import memproto as mp
from memproto.server import OptionsError, parse_arguments, run


class LiteDialect(mp.ServerDialect):
    """The server's side of one connection. ``limits.line`` bounds a command, ``limits.value`` a value of any SIZE."""

    def __init__(self, limits: mp.Limits | None = None) -> None:
        self._limits = limits or mp.Limits()
        self._key, self._size = b"", 0  # of a set whose value is expected
        self._skipping = False  # the rest of a line that was refused

    @property
    def mid_request(self) -> bool:
        """Whether a value, or the rest of one, is still expected."""
        return self._key != b"" or self._skipping

    def read(self, buffer: mp.ReceiveBuffer) -> mp.Envelope | None:
        """The next request; ``None`` if more bytes are needed. Raises RemoteProtocolError."""
        if self._skipping and not buffer.skip_line():
            return None
        self._skipping, request = False, None
        if not self._key:
            try:
                line = buffer.take_line(self._limits.line)
            except mp.RemoteProtocolError as error:
                raise mp.RemoteProtocolError(str(error), b"INVALID COMMAND\r\n") from None
            request = None if line is None else self._read_command(line)
        if self._key:
            request = self._read_value(buffer)
        return None if request is None else mp.Envelope(request)

    def _read_command(self, line: bytes) -> mp.AnyRequest | None:
        verb, *words = filter(None, line.split(b" ")) if line.strip(b" ") else [b""]
        match verb.lower(), words:
            case b"get", [key] if len(key) <= mp.MAX_KEY:
                return mp.Get((key,))
            case b"set", [key, size] if len(key) <= mp.MAX_KEY and size.isdigit() and len(size) <= 20:
                self._key, self._size = key, min(int(size), self._limits.value)
                return None
            case b"exit", []:
                return mp.Quit()
        self._skipping = verb.lower() == b"set" and len(words) > 1
        reason = f"line {line[:80]!r} is no command of this dialect"
        return mp.InvalidRequest(mp.Failure(mp.Status.INVALID_ARGUMENTS), reason)

    def _read_value(self, buffer: mp.ReceiveBuffer) -> mp.AnyRequest | None:
        key = self._key
        try:
            value = buffer.take_line(self._size)
        except mp.RemoteProtocolError:
            # Only the value is too long: it is certain where the next command begins.
            self._key, self._skipping = b"", True
            refused = mp.Failure(mp.Status.NOT_STORED)
            return mp.InvalidRequest(refused, f"value is longer than {self._size} bytes", request=mp.Set(key, b""))
        self._key = key if value is None else b""
        return None if value is None else mp.Set(key, value)

    def write(self, reply: mp.AnyReply, to: mp.Envelope) -> tuple[bytes, ...]:
        """The bytes of a reply, in pieces. Raises LocalProtocolError."""
        match to.request, reply:
            case mp.Get(), mp.Values((mp.Item(key, value),)) if b"\n" not in value:
                return b"VALUE %b " % key, value, b"\r\nEND\r\n"
            case mp.Get(), mp.Values() | mp.Failure():
                return (b"NOT FOUND\r\n",)  # also for a value of several lines, which a journal may have from elsewhere
            case mp.Set(), mp.Stored():
                return (b"STORED\r\n",)
            case (mp.Set(), mp.Failure()) | (mp.InvalidRequest(), mp.Failure(mp.Status.NOT_STORED)):
                return (b"NOT STORED\r\n",)
            case mp.InvalidRequest(), mp.Failure():
                return (b"INVALID COMMAND\r\n",)
            case mp.Quit(), _:
                return ()
        raise mp.LocalProtocolError(f"{type(reply).__name__} does not answer {type(to.request).__name__}")


if __name__ == "__main__":
    options = parse_arguments()
    try:
        sys.exit(run(replace(options, dialect=partial(LiteDialect, mp.Limits(value=options.item_size_max)))))
    except OptionsError as error:
        sys.exit(f"examples.lite: error: {error}")
