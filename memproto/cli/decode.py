"""``memproto decode``: the exchanges of captured traffic.

The input is recognised by its content: a capture file (pcap or pcapng), a hex dump (bare digits, xxd, tcpdump -X), or
the bytes of messages. Exchanges are printed as they finish, so it follows a live capture too:

    dumpcap -q -i any -f 'port 11211' -w - | memproto decode -

The exit code is 0, or 65 for an input that cannot be decoded, 66 for a file that cannot be opened, 69 where a package
is not installed.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from typing import Final

from memproto.capture.decoder import Decoder
from memproto.capture.errors import CaptureError, MissingExtraError
from memproto.capture.fields import format_fields
from memproto.capture.filters import Filter, FilterError, parse_filter
from memproto.capture.follower import Record
from memproto.capture.json_lines import record_object
from memproto.capture.lines import format_line, shown_value
from memproto.capture.packets import Skipped
from memproto.capture.raw_bytes import decode_bytes, decode_sides
from memproto.capture.sources import Input, Packets, recognise
from memproto.capture.statistics import Statistics
from memproto.capture.summary import Summary, summarise
from memproto.capture.values import ValueReader
from memproto.cli.terminal import Lines, progress
from memproto.conventions import CONVENTIONS

__all__ = ["FORMATS", "main"]

FORMATS: Final = ("lines", "fields", "json", "raw")

# As sysexits.h names them: EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE; and what a shell has for SIGINT.
_DATA_ERROR, _NO_INPUT, _UNAVAILABLE, _INTERRUPTED = 65, 66, 69, 130


def main(arguments: Sequence[str]) -> int:
    """Print what the input has; the exit code."""
    options = _parse(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # A key may have characters that the terminal's encoding does not have.
        sys.stdout.reconfigure(errors="backslashreplace")
    output = _Output(options)
    code = _decode(options, output)
    output.end()
    return code


def _decode(options: Namespace, output: _Output) -> int:
    """Write all records; the exit code. What goes wrong is one line on standard error."""
    try:
        with ExitStack() as stack:
            _run(options, output, stack)
    except CaptureError as error:
        return _failed(output, str(error), _DATA_ERROR)
    except MissingExtraError as error:
        return _failed(output, str(error), _UNAVAILABLE)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(output, f"{error.filename or options.file}: {error.strerror or error}", _NO_INPUT)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _failed(output: _Output, problem: str, code: int) -> int:
    output.flush()
    print(f"memproto decode: {problem}", file=sys.stderr)
    return code


def _run(options: Namespace, output: _Output, stack: ExitStack) -> None:
    if options.client or options.server:
        client, server = (_side(path, stack) for path in (options.client, options.server))
        for record in decode_sides(client, server, keep=output.keep):
            output.add(record)
        return
    file, size = _open(options.file, stack)
    source = recognise(file, stack.enter_context(progress(size)))
    if isinstance(source, Packets):
        _run_packets(source, options, output, is_live=size is None)
        return
    for record in decode_bytes(source.chunks, keep=output.keep):
        output.add(record)


def _run_packets(source: Packets, options: Namespace, output: _Output, *, is_live: bool) -> None:
    decoder = Decoder(frozenset(options.port), keep=output.keep)
    try:
        for frame in source.frames:
            for record in decoder.add(frame):
                output.add(record)
                if is_live:
                    output.flush()
    except (CaptureError, KeyboardInterrupt):
        # What the capture has up to here is worth to be seen.
        for record in decoder.end():
            output.add(record)
        raise
    for record in decoder.end():
        output.add(record)
    output.flush()
    for reason in (Skipped.FRAGMENT, Skipped.TRUNCATED):
        if decoder.skipped[reason]:
            print(f"memproto decode: {decoder.skipped[reason]} {reason.value} were passed over", file=sys.stderr)
    if not output.count:
        print("memproto decode: no memcached traffic was found; --port names the port of a server", file=sys.stderr)


def _open(path: str, stack: ExitStack) -> tuple[Input, int | None]:
    """Open an input; its size, if it is a file."""
    if path == "-":
        return stack.enter_context(open(sys.stdin.fileno(), "rb", closefd=False)), None
    file = stack.enter_context(open(path, "rb"))  # noqa: SIM115
    return file, os.fstat(file.fileno()).st_size if os.path.isfile(path) else None


def _side(path: str | None, stack: ExitStack) -> Iterator[bytes]:
    """Return what one side has sent: bytes as they are, or a hex dump of them."""
    if path is None:
        return iter(())
    source = recognise(_open(path, stack)[0])
    if isinstance(source, Packets):
        raise CaptureError(f"{path} is a capture ({source.kind}), not the bytes of one side")
    return source.chunks


class _Output:
    """Writes the records that pass the filters, in the format that was asked for."""

    def __init__(self, options: Namespace) -> None:
        self._filters: list[Filter] = options.filter
        self._reader: ValueReader | None = options.values
        self._statistics = Statistics() if options.stats else None
        self._lines = Lines()
        self._write = {
            "lines": self._line,
            "fields": self._fields,
            "json": self._json,
            "raw": self._raw,
        }[options.format]
        #: Whether records must have the bytes of their messages.
        self.keep: bool = options.format in ("fields", "raw")
        #: How many records there were, before the filters.
        self.count: int = 0

    def add(self, record: Record) -> None:
        """Take a record."""
        self.count += 1
        summary = summarise(record)
        if not all(wanted(record, summary) for wanted in self._filters):
            return
        if self._statistics is None:
            self._write(record, summary)
        else:
            self._statistics.add(record, summary)

    def flush(self) -> None:
        """Let the reader of the output see all that was written."""
        sys.stdout.flush()

    def end(self) -> None:
        """Write what is known at the end only."""
        if self._statistics is not None:
            self._lines.write(self._statistics.format())

    def _line(self, record: Record, summary: Summary) -> None:
        values = "" if self._reader is None else " ".join(map(shown_value, self._reader.values_of(record.event)))
        self._lines.write(format_line(record, summary, values), summary.status)

    def _fields(self, record: Record, summary: Summary) -> None:
        self._line(record, summary)
        self._lines.write(format_fields(record) + "\n")

    def _json(self, record: Record, summary: Summary) -> None:
        sys.stdout.write(json.dumps(record_object(record, summary, self._reader)) + "\n")

    def _raw(self, record: Record, summary: Summary) -> None:
        sys.stdout.buffer.write(record.request + record.reply)


def _parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="memproto decode", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", default="-", help="a capture, hex dump or bytes; - is standard input")
    parser.add_argument("--client", metavar="FILE", help="what the client has sent, as bytes or hex dump")
    parser.add_argument("--server", metavar="FILE", help="what the server has sent, likewise")
    parser.add_argument(
        "--port",
        metavar="N",
        type=_port,
        action="append",
        default=[],
        help="a port of a server, may be repeated; without it, every connection that looks like memcached's",
    )
    parser.add_argument("--format", choices=FORMATS, default="lines", help="lines (default), fields, json or raw bytes")
    parser.add_argument(
        "--filter",
        metavar="CONDITION",
        type=_filter,
        action="append",
        default=[],
        help="dialect=, command=, key=, status= with a pattern, latency>5ms, size>=1k; all that are given must hold",
    )
    parser.add_argument("--stats", action="store_true", help="print statistics of all exchanges instead of each")
    parser.add_argument(
        "--values", metavar="NAME", type=_values, help=f"show what values mean to {', '.join(CONVENTIONS)}"
    )
    options = parser.parse_args(arguments)
    if (options.client or options.server) and options.file != "-":
        parser.error("--client and --server take the place of FILE")
    return options


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ArgumentTypeError(f"port is {text}, must be 1 to 65535")
    return int(text)


def _filter(text: str) -> Filter:
    try:
        return parse_filter(text)
    except FilterError as error:
        raise ArgumentTypeError(str(error)) from None


def _values(text: str) -> ValueReader:
    if text not in CONVENTIONS:
        raise ArgumentTypeError(f"{text!r} is none of {', '.join(CONVENTIONS)}")
    return ValueReader(CONVENTIONS[text])
