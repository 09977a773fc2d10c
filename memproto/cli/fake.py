"""``memproto fake``: a memcached for tests of programs in any language, controlled by lines on standard input."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import stat
import sys
import threading
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from memproto import Dialect, LocalProtocolError
from memproto.cli.arguments import CommandLine
from memproto.cli.exit_codes import OS_ERROR, UNAVAILABLE, WRONG_COMMAND_LINE
from memproto.cli.fake_control import LONGEST_LINE, Control
from memproto.cli.terminal import discard_output
from memproto.testing import FakeMemcached
from memproto.testing.arguments import MAX_PORT
from memproto.testing.fake.tls import Tls

_DESCRIPTION = """\
Run a memcached for tests. The test controls it by commands on standard input.

The first line on standard output says where it listens, in JSON. It runs until
the command quit, the end of standard input, SIGINT or SIGTERM; a file or
/dev/null as standard input does not end it."""

_EPILOG = """
commands, one a line, each answered by one line of JSON:
  advance SECONDS     let time pass: items expire, delayed replies are sent
  now [SECONDS]       the time of the items in Unix seconds; with a number, stop the clock there
  fail [REQUEST,...] how=FAULT [key=PATTERN] [nth=N] [times=N]
                      let requests fail: how=close, drop, delay seconds=N, cut size=N, duplicate,
                      garbage data=TEXT or reply status=NAME
  remove RULE         remove the rule with the number that fail has answered
  down, refuse, up    close all connections and refuse new ones; refuse new ones only; accept again
  clear               return to the state after the start
  requests            the requests since the start, or since clear
  quit                end, as the end of standard input does

exit codes:
  0   it was ended
  2   the command line is wrong
  69  a package is missing
  71  an address cannot be listened on, or the file of --tls cannot be written
"""


class _Server:
    """The fake, its control, and whether both are to end."""

    def __init__(self, fake: FakeMemcached) -> None:
        self.control = Control(fake)
        self._lock = threading.Lock()
        self.done = threading.Event()

    def answer(self, line: bytes, write: Callable[[bytes], object]) -> None:
        """Carry out the command of a line, and write the line of the answer."""
        with self._lock:
            answer = self.control.answer(line.decode("utf-8", "surrogateescape"))
            ended = self.control.ended
        write(answer.encode() + b"\n")
        if ended:
            self.done.set()

    def read_commands(self, number: int) -> None:
        """Answer what stands in this file, on standard output. At the end of a pipe or terminal all ends."""
        try:
            # Not by way of sys.stdin: a thread that waits in it cannot be left behind when the process ends.
            for line in _lines(lambda size: os.read(number, size)):
                self.answer(line, _print)
        except BrokenPipeError:
            # Nobody reads the answers any more.
            discard_output()
            self.done.set()
        mode = os.fstat(number).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(number):
            self.done.set()


def _lines(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The lines of an input; of one that is too long only so much that this can be seen."""
    rest = b""
    while data := read(65536):
        *lines, last = data.split(b"\n")
        for line in lines:
            yield rest + line
            rest = b""
        rest = (rest + last)[: LONGEST_LINE + 1]
    if rest:
        yield rest


def _print(line: bytes) -> None:
    sys.stdout.write(line.decode())
    sys.stdout.flush()


def _control_server(server: _Server, host: str, port: int) -> socketserver.ThreadingTCPServer:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # The program at the other end may go away at any time.
            with suppress(OSError):
                for line in _lines(self.request.recv):
                    server.answer(line, self.wfile.write)

    class Listener(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128

    return Listener((host, port), Handler)


@contextmanager
def _ending_on_signals(end: Callable[[], None]) -> Iterator[None]:
    with ExitStack() as stack:
        for each in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, each, signal.signal(each, lambda *_: end()))
        yield


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon):
        raise ArgumentTypeError("must be NAME:PASSWORD")
    return name, password


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise ArgumentTypeError(f"port is {text}, must be 1 to {MAX_PORT}, or 0 for a free one")
    return int(text)


def _parser() -> CommandLine:
    parser = CommandLine("fake", _DESCRIPTION, _EPILOG)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="port to listen on (default: 0, a free one)")
    parser.add_argument("--path", help="Unix socket to listen on in place of a port")
    parser.add_argument(
        "--control", type=_port, metavar="PORT", help="take commands on this TCP port, too; 0: a free one"
    )
    parser.add_argument("--version", default="1.6.18", help="the reply to version (default: %(default)s)")
    names = [dialect.value for dialect in Dialect]
    parser.add_argument(
        "--dialect", action="append", choices=names, help="allow this dialect; may be repeated (default: all)"
    )
    parser.add_argument(
        "--user", action="append", type=_user, metavar="NAME:PASSWORD", help="clients must log in; may be repeated"
    )
    parser.add_argument(
        "--item-size-max", type=int, default=1024**2, metavar="BYTES", help="largest item (default: %(default)s)"
    )
    parser.add_argument(
        "--memory-limit", type=int, default=64 * 1024**2, metavar="BYTES", help="memory of all items (default: 64 MiB)"
    )
    parser.add_argument("--no-evict", action="store_true", help="refuse stores when the memory is full")
    parser.add_argument("--tls", type=Path, metavar="FILE", help="use TLS; write the certificate to trust to FILE")
    parser.add_argument("--cert", metavar="FILE", help="use TLS with this certificate, in PEM; needs --key")
    parser.add_argument("--key", metavar="FILE", help="the key of the certificate, in PEM")
    return parser


def _tls(options: Namespace) -> Tls:
    if options.cert is None and options.key is None:
        return options.tls is not None
    if options.cert is None or options.key is None or options.tls is not None:
        raise LocalProtocolError("--cert and --key go together, and without --tls")
    return options.cert, options.key


def _fake(options: Namespace) -> FakeMemcached:
    fake = FakeMemcached(
        host=options.host,
        port=options.port,
        path=options.path,
        version=options.version,
        dialects=None if options.dialect is None else [Dialect(name) for name in options.dialect],
        users=None if options.user is None else dict(options.user),
        item_size_max=options.item_size_max,
        memory_limit=options.memory_limit,
        evict=not options.no_evict,
        tls=_tls(options),
    )
    if options.tls is not None:
        options.tls.write_bytes(fake.ca_pem)
    return fake


@contextmanager
def _naming(address: str) -> Iterator[None]:
    """Say in an OSError which address it is about."""
    try:
        yield
    except OSError as error:
        error.filename = address
        raise


def _serve(options: Namespace) -> None:
    with ExitStack() as stack:
        fake = _fake(options)
        with _naming(options.path or f"{options.host}:{options.port}"):
            stack.enter_context(fake)
        server = _Server(fake)
        stack.callback(server.control.remove_rules)
        port = None
        if options.control is not None:
            with _naming(f"{options.host}:{options.control}"):
                control = stack.enter_context(_control_server(server, options.host, options.control))
            port = control.server_address[1]
            stack.callback(control.shutdown)
            threading.Thread(target=control.serve_forever, args=(0.05,), daemon=True).start()
        stack.enter_context(_ending_on_signals(server.done.set))
        listening = {"ok": True, "url": fake.url, "control": port}
        _print(json.dumps(listening).encode() + b"\n")
        threading.Thread(target=server.read_commands, args=(sys.stdin.fileno(),), name="commands", daemon=True).start()
        server.done.wait()


def main(arguments: Sequence[str]) -> int:
    """Run the fake until a command, a signal or the end of its input ends it; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _serve(options)
    except LocalProtocolError as error:
        return _failed(str(error), WRONG_COMMAND_LINE)
    except ImportError as error:
        return _failed(str(error), UNAVAILABLE)
    except BrokenPipeError:
        # Nobody reads the answers; memproto.cli.main ends the program in silence.
        raise
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}", OS_ERROR)
    return 0


def _failed(problem: str, code: int) -> int:
    print(f"memproto fake: error: {problem}", file=sys.stderr)
    return code
