"""A dialect of its own on memproto's interface: Memcached Lite, with three commands, for people at a terminal.

``set KEY SIZE`` and, on the next line, a value of up to SIZE bytes; ``get KEY``; ``exit``. A verb may be in either
case, a command may have blanks at its end, and a bare LF ends a line as well as CR LF. Requests are the ordinary ones,
so that any engine and any journal serve it: ``memproto serve --dialect lite --persist PATH``, or in a
program ``ServerConnection(limits, codec=LiteDialect(limits))``.

What the commands leave open is decided so that a value is never taken for a command: whoever writes a ``set`` of three
words or more has a value line to come, also where the command is refused. It is refused as soon as that is known; the
rest of the value is dropped as it comes and never held.
"""

from __future__ import annotations

from memproto import (
    MAX_KEY,
    AnyReply,
    AnyRequest,
    Envelope,
    Failure,
    Get,
    InvalidRequest,
    Item,
    Limits,
    LocalProtocolError,
    Quit,
    ReceiveBuffer,
    RemoteProtocolError,
    ServerDialect,
    Set,
    Status,
    Stored,
    Values,
)

_INVALID = b"INVALID COMMAND\r\n"
_NOT_STORED = b"NOT STORED\r\n"
_NOT_FOUND = b"NOT FOUND\r\n"

# More digits than any limit has, and few enough to be converted.
_DIGITS = 20


class LiteDialect(ServerDialect):
    """The server's half of Memcached Lite for one connection.

    ``limits.line`` bounds a command, and ``limits.value`` a value whatever SIZE says.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._key: bytes | None = None  # of a set whose value is to come
        self._size = 0
        self._skipping = False  # the rest of a line that was refused

    @property
    def mid_request(self) -> bool:
        """Whether a value, or the rest of one, is still to come."""
        return self._key is not None or self._skipping

    def read(self, buffer: ReceiveBuffer) -> Envelope | None:
        """The next request, or ``None`` for "more bytes are needed". Raises RemoteProtocolError."""
        if self._skipping:
            if not buffer.skip_line():
                return None
            self._skipping = False
        if self._key is None:
            try:
                line = buffer.take_line(self._limits.line)
            except RemoteProtocolError as fault:
                raise RemoteProtocolError(str(fault), _INVALID) from None
            if line is None:
                return None
            request = self._command([word for word in line.split(b" ") if word])
            if request is not None:
                return Envelope(request)
        return self._value(buffer)

    def _command(self, words: list[bytes]) -> AnyRequest | None:
        """The request of a line; ``None`` if a value belongs to it."""
        match [words[0].lower(), *words[1:]] if words else words:
            case [b"get", key] if len(key) <= MAX_KEY:
                return Get((key,))
            case [b"set", key, size] if len(key) <= MAX_KEY and size.isdigit() and len(size) <= _DIGITS:
                self._key, self._size = key, min(int(size), self._limits.value)
                return None
            case [b"set", _, _, *_]:
                self._skipping = True
            case [b"exit"]:
                return Quit()
        shown = b" ".join(words)[:80]
        return InvalidRequest(Failure(Status.INVALID_ARGUMENTS), f"line {shown!r} is no command of this dialect")

    def _value(self, buffer: ReceiveBuffer) -> Envelope | None:
        """The request of a set whose value is complete, or is longer than it may be."""
        assert self._key is not None
        try:
            value = buffer.take_line(self._size)
        except RemoteProtocolError:
            # It is only the value that is too long: where the next command begins is certain.
            self._skipping = True
        else:
            if value is None:
                return None
            request = Set(self._key, value)
            self._key = None
            return Envelope(request)
        reason = f"value is longer than {self._size} bytes"
        refused = InvalidRequest(Failure(Status.NOT_STORED), reason, request=Set(self._key, b""))
        self._key = None
        return Envelope(refused)

    def write(self, reply: AnyReply, to: Envelope) -> tuple[bytes, ...]:
        """The bytes that answer a request, in pieces. Raises LocalProtocolError."""
        match to.request, reply:
            case Get(), Values((Item(key, value),)) if b"\n" not in value:
                return b"VALUE " + key + b" ", value, b"\r\nEND\r\n"
            case Get(), Values() | Failure():
                # An item that another dialect stored may have more than a line, which nobody could read here.
                return (_NOT_FOUND,)
            case Set(), Stored():
                return (b"STORED\r\n",)
            case (Set(), Failure()) | (InvalidRequest(), Failure(Status.NOT_STORED)):
                return (_NOT_STORED,)
            case InvalidRequest(), Failure():
                return (_INVALID,)
            case Quit(), _:
                return ()
        raise LocalProtocolError(f"{type(reply).__name__} does not answer {type(to.request).__name__}")
