"""The receive buffer: bytes in, one contiguous block out when enough of them are there."""

from __future__ import annotations

import re

from memproto.errors import RemoteProtocolError

# A piece shorter than this is copied behind its predecessor: a list of tiny objects would
# cost many times their length.
_SMALL = 1024


_CR = 13

#: The need of a reader that waits for the end of a line.
A_LINE = -1


class ReceiveBuffer:
    """Unread bytes, as ``data`` from index ``at`` on, with whatever came later kept aside.

    Readers use :meth:`take`, :meth:`take_line` and :meth:`skip_line`; or, to save a call, :meth:`gather` and
    :meth:`find_newline`, and then slice ``data`` themselves and move ``at`` on. What arrives while ``data`` still has
    unread bytes waits in a list, and is joined only once the reader's next message is complete: a message that comes
    in a thousand pieces is copied once. What has been read is dropped when a reader finds that it has to wait.
    """

    __slots__ = ("_aside", "_aside_size", "_discard", "_line_limit", "at", "data", "need")

    def __init__(self) -> None:
        self.data: bytes = b""
        self.at: int = 0
        #: How many unread bytes a reader waits for before it looks again, or ``A_LINE``; 0 when it should look.
        self.need: int = 0
        self._line_limit = 0
        self._aside: list[bytes | bytearray] = []
        self._aside_size = 0
        self._discard = 0

    def __len__(self) -> int:
        return len(self.data) - self.at + self._aside_size

    @property
    def discarding(self) -> bool:
        """Whether bytes announced to :meth:`discard` are still to come."""
        return self._discard > 0

    def feed(self, piece: bytes) -> None:
        """Add what the peer sent."""
        if self._discard:
            skipped = min(self._discard, len(piece))
            self._discard -= skipped
            piece = piece[skipped:]
        if self.at == len(self.data) and not self._aside:
            self.data = piece
            self.at = 0
        elif piece:
            self._put_aside(piece)
        if self.need == A_LINE:
            if b"\n" in piece or len(self) > self._line_limit:
                self.need = 0
        elif self.need and len(self) >= self.need:
            self.need = 0

    def _put_aside(self, piece: bytes) -> None:
        if len(piece) >= _SMALL:
            self._aside.append(piece)
        elif self._aside and isinstance(self._aside[-1], bytearray):
            self._aside[-1] += piece
        else:
            self._aside.append(bytearray(piece))
        self._aside_size += len(piece)

    def take(self, size: int) -> bytes | None:
        """The next ``size`` bytes; ``None``, and nothing is taken, while they are not all there."""
        if self.need or not self.gather(size):
            return None
        at = self.at
        self.at = at + size
        return self.data[at : self.at]

    def take_line(
        self,
        limit: int,
        bare_lf: bool = True,
        long_limit: int = 0,
        long_lines: re.Pattern[bytes] | None = None,
    ) -> bytes | None:
        """The next line without its end, CR LF or, if allowed, a bare LF; ``None`` if it is not complete.

        Raises RemoteProtocolError if it ends in a bare LF that is not allowed, or if it has more than ``limit`` bytes
        without its end; for a line that begins with what ``long_lines`` matches, within the first ``limit`` + 1
        bytes, the limit is ``long_limit``. It does not depend on how the bytes arrive.
        """
        if self.need:
            return None
        end = self.find_newline(limit)
        if (len(self) if end < 0 else end - self.at) > limit:
            end = self._long_line(end, limit, long_limit, long_lines)
        if end < 0:
            return None
        data, at = self.data, self.at
        self.at = end + 1
        if end > at and data[end - 1] == _CR:
            end -= 1
        elif not bare_lf:
            raise RemoteProtocolError(f"line {data[at : min(end, at + 80)]!r} ends in a bare LF, must end in CR LF")
        return data[at:end]

    def _long_line(self, end: int, limit: int, long_limit: int, long_lines: re.Pattern[bytes] | None) -> int:
        """The index of the LF, or -1, of a line that seems too long. Raises RemoteProtocolError if it is."""
        if end < 0:
            # A CR that comes last may be the beginning of the line's end.
            length = len(self) - ((self._aside[-1] if self._aside else self.data)[-1] == _CR)
        else:
            length = end - self.at - (self.data[end - 1] == _CR)
        if length <= limit:
            return end
        most = limit
        if long_lines is not None and long_limit > limit:
            # One byte over the limit is there in any case, and no more is looked at.
            self.gather(limit + 1)
            end = self.find_newline(long_limit)
            if long_lines.match(self.data, self.at, self.at + limit + 1):
                most = long_limit
        if length > most:
            raise RemoteProtocolError(f"line has more than {most} bytes, which is the limit")
        return end

    def skip_line(self) -> bool:
        """Drop what comes up to and with the next LF; whether that was there. Until it is, nothing is held."""
        end = self.find_newline(0)
        if end < 0:
            self._drop()
            return False
        self.at = end + 1
        return True

    def gather(self, size: int) -> bool:
        """Make the next ``size`` unread bytes contiguous in ``data``; if they are not there, note the need."""
        if len(self.data) - self.at >= size:
            return True
        if len(self) < size:
            self.need = size
            if self.at >= _SMALL:
                self._let_go()
            return False
        self.data = b"".join((self.data[self.at :], *self._aside))
        self.at = 0
        self._aside.clear()
        self._aside_size = 0
        return True

    def find_newline(self, limit: int) -> int:
        """The index in ``data`` of the next LF; -1 if there is none, and then the need for one is noted.

        The reader is to look again when an LF comes or when more than ``limit`` bytes are unread, so that a
        line in many pieces is searched once.
        """
        end = self.data.find(b"\n", self.at)
        if end < 0 and any(b"\n" in piece for piece in self._aside):
            self.gather(len(self))
            end = self.data.find(b"\n")
        if end < 0:
            self.need = A_LINE
            self._line_limit = max(limit, len(self))
            if self.at >= _SMALL:
                self._let_go()
        return end

    def _let_go(self) -> None:
        """Drop what has been read, if that is the larger part: it may be a whole value, and the next one far away."""
        if 2 * self.at >= len(self.data):
            self.data = self.data[self.at :]
            self.at = 0

    def discard(self, size: int) -> None:
        """Drop the next ``size`` bytes, those that are here now and those that will come, without holding them."""
        here = min(size, len(self))
        self.gather(here)
        self.at += here
        self._discard = size - here

    def clear(self) -> None:
        """Drop everything, also what is still to be discarded."""
        self._drop()
        self._discard = 0

    def _drop(self) -> None:
        self.data = b""
        self.at = self.need = self._aside_size = 0
        self._aside.clear()
