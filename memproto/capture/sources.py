"""What an input is, by its content: a capture file, a hex dump, or bytes as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Final, NamedTuple, Protocol

from memproto.capture.errors import CaptureError
from memproto.capture.files import PCAP_MAGICS, PCAPNG_MAGIC, read_pcap, read_pcapng
from memproto.capture.hexdump import decode_hex, frames_of_dump, is_packet_row
from memproto.capture.packets import Frame

__all__ = ["Bytes", "Input", "Packets", "recognise"]

# How much is looked at to recognise a hex dump.
_HEAD: Final = 4096
# The first lines of a dump of tcpdump: the headline of a packet, which may have two lines, and its first bytes.
_LINES: Final = 3
_CHUNK: Final = 65536
_TEXT: Final = frozenset(b"\t\n\r" + bytes(range(32, 127)))


class Input(Protocol):
    """A binary file that is open for reading, such as ``sys.stdin.buffer``."""

    def read(self, size: int = -1, /) -> bytes:
        """Return as many bytes, fewer only at the end."""
        ...

    def read1(self, size: int = -1, /) -> bytes:
        """Return up to as many bytes as soon as there are some."""
        ...


class Packets(NamedTuple):
    """An input of packets. ``kind`` says in plain words what it is."""

    kind: str
    frames: Iterator[Frame]


class Bytes(NamedTuple):
    """An input that is the bytes of messages."""

    kind: str
    chunks: Iterator[bytes]


class _Pushed:
    """A file, and in front of it bytes that were read of it to look at them."""

    def __init__(self, head: bytes, file: Input) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        if not self._head:
            return self._file.read(size)
        head, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
        return head if len(head) == size else head + self._file.read(size - len(head) if size >= 0 else size)

    def read1(self, size: int = -1, /) -> bytes:
        if self._head:
            return self.read(min(len(self._head), size) if size >= 0 else len(self._head))
        return self._file.read1(size)


class _Counted:
    """A file that reports how much is read of it."""

    def __init__(self, file: Input, note: Callable[[int], None]) -> None:
        self._file = file
        self._note = note

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._note(len(data))
        return data

    def read1(self, size: int = -1, /) -> bytes:
        data = self._file.read1(size)
        self._note(len(data))
        return data


def recognise(file: Input, note: Callable[[int], None] | None = None) -> Packets | Bytes:
    """Return what a file has. It is read while the result is iterated, no further than each item needs.

    ``note`` is called with the number of bytes of each read. Raises :class:`~memproto.capture.errors.CaptureError`
    for an empty file; the iterators raise it too, and :class:`~memproto.capture.errors.MissingExtraError`.
    """
    counted = file if note is None else _Counted(file, note)
    head = counted.read(4)
    if not head:
        raise CaptureError("the input is empty")
    if (packets := _capture(head, counted)) is not None:
        return packets
    # As much as shows whether it is text, and what its first lines are. A pipe may have no more than that yet.
    while head.count(b"\n") < _LINES and len(head) < _HEAD and _TEXT.issuperset(head):
        chunk = counted.read1(_HEAD)
        if not chunk:
            break
        head += chunk
    pushed = _Pushed(head, counted)
    if _TEXT.issuperset(head):
        lines = [line for line in head.decode("ascii").splitlines() if line.strip()]
        if any(map(is_packet_row, lines)):
            return Packets("tcpdump -X", frames_of_dump(_lines(pushed)))
        if lines and decode_hex(lines[0]) is not None:
            return _dump(pushed.read())
    return Bytes("bytes", _chunks(pushed))


def _capture(head: bytes, file: Input) -> Packets | None:
    pushed = _Pushed(head, file)
    if head in PCAP_MAGICS:
        return Packets("pcap", read_pcap(pushed))
    return Packets("pcapng", read_pcapng(pushed)) if head == PCAPNG_MAGIC else None


def _dump(text: bytes) -> Packets | Bytes:
    """Return what a hex dump has: messages, or a capture file."""
    data = decode_hex(text.decode("latin-1"))
    if data is None:
        return Bytes("bytes", iter((text,)))
    return _capture(data[:4], BytesIO(data[4:])) or Bytes("hex dump", iter((data,)))


def _chunks(file: Input) -> Iterator[bytes]:
    while chunk := file.read1(_CHUNK):
        yield chunk


def _lines(file: Input) -> Iterator[str]:
    """Yield the lines, each as soon as it is there."""
    rest = b""
    for chunk in _chunks(file):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("latin-1")
    yield rest.decode("latin-1")
