"""``memproto decode``: the exchanges of captured traffic."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from typing import Final

from memproto.capture.credentials import without_password
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
from memproto.cli.arguments import CommandLine
from memproto.cli.exit_codes import DATA_ERROR, INTERRUPTED, NO_INPUT, UNAVAILABLE
from memproto.cli.terminal import Lines, progress
from memproto.conventions import CONVENTIONS

__all__ = ["FORMATS", "main"]

FORMATS: Final = ("lines", "fields", "json", "raw")

_DESCRIPTION: Final = """\
Print the exchanges of captured traffic: each request with its reply.

The input is recognised by its content: a capture file (pcap or pcapng), a hex
dump (bare digits, xxd, tcpdump -X), or the bytes of messages. Exchanges are
printed as they finish, of a live capture too:

    dumpcap -q -i any -f 'port 11211' -w - | memproto decode -"""

_EPILOG: Final = """
conditions of --filter; PATTERN may have *, ? and [...]:
  dialect=PATTERN[,...]    binary, classic or meta
  command=PATTERN[,...]    the word of a text command, or the name of an opcode, such as GETKQ
  key=PATTERN              exchanges with such a key
  certain=yes              exchanges whose reply can belong to no other request; no: the others
  status=PATTERN[,...]     hit, miss, stored, deleted, touched, ok, silent, closed, skipped,
                           or a failure such as key_exists
  latency>5ms              also <, >=, <=, =, !=; in s, ms or us
  size>=1k                 bytes of the longer of request and reply; k or m
  != in place of = holds for all other exchanges

exit codes:
  0   the input was decoded
  2   the command line is wrong
  65  the input is damaged or of no known kind; what could be decoded was printed
  66  a file cannot be read
  69  a package is missing
"""


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
        return _failed(output, str(error), DATA_ERROR)
    except MissingExtraError as error:
        return _failed(output, str(error), UNAVAILABLE)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(output, f"{error.filename or options.file}: {error.strerror or error}", NO_INPUT)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _failed(output: _Output, problem: str, code: int) -> int:
    output.flush()
    print(f"memproto decode: {problem}", file=sys.stderr)
    return code


def _run(options: Namespace, output: _Output, stack: ExitStack) -> None:
    if options.client or options.server:
        client, server = (_side(path, stack) for path in (options.client, options.server))
        for record in decode_sides(client, server, keep=output.keep, auth_required=options.auth):
            output.add(record)
        return
    file, size = _open(options.file, stack)
    source = recognise(file, stack.enter_context(progress(size)))
    if isinstance(source, Packets):
        _run_packets(source, options, output, is_live=size is None)
        return
    for record in decode_bytes(source.chunks, keep=output.keep, auth_required=options.auth):
        output.add(record)


def _run_packets(source: Packets, options: Namespace, output: _Output, *, is_live: bool) -> None:
    decoder = Decoder(frozenset(options.port), keep=output.keep, auth_required=options.auth)
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
        self._auth_required: bool = options.auth
        self._shows_passwords: bool = options.passwords
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
        if not self._shows_passwords:
            record = without_password(record, auth_required=self._auth_required)
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
    parser = CommandLine("decode", _DESCRIPTION, _EPILOG)
    parser.add_argument("file", nargs="?", default="-", help="capture, hex dump or bytes; - (default): standard input")
    parser.add_argument("--client", metavar="FILE", help="the bytes that the client sent, or a hex dump of them")
    parser.add_argument("--server", metavar="FILE", help="the bytes that the server sent, or a hex dump of them")
    parser.add_argument(
        "--port",
        metavar="N",
        type=_port,
        action="append",
        default=[],
        help="decode this port of a server and no other; may be repeated; without it: port 11211, and every TCP "
        "connection that begins with a request of memcached",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="lines (default): one line an exchange; fields: each field with its meaning; json: one object a line; "
        "raw: the bytes of the messages",
    )
    parser.add_argument(
        "--filter",
        metavar="CONDITION",
        type=_filter,
        action="append",
        default=[],
        help="print these exchanges only, see below; may be repeated, and all must hold",
    )
    parser.add_argument("--auth", action="store_true", help="the first set of each text connection is a login")
    parser.add_argument("--passwords", action="store_true", help="show the passwords of logins, not stars")
    parser.add_argument("--stats", action="store_true", help="print statistics instead of the exchanges")
    parser.add_argument(
        "--values",
        metavar="NAME",
        type=_values,
        help=f"show what values mean to a client: {', '.join(CONVENTIONS)}",
    )
    options = parser.parse_args(arguments)
    if (options.client or options.server) and options.file != "-":
        parser.error("--client and --server take the place of FILE")
    if options.client == options.server == "-":
        parser.error("--client and --server cannot both be standard input")
    if options.stats and options.format:
        parser.error("--stats takes the place of --format")
    options.format = options.format or "lines"
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
