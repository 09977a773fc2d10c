"""``memproto get``, ``set``, ``incr`` and others: one call to a server."""

from __future__ import annotations

import json
import os
import ssl
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from memproto import Dialect, Item, LocalProtocolError, RemoteProtocolError
from memproto.capture.json_lines import Json, to_json
from memproto.cli.arguments import CommandLine
from memproto.cli.exit_codes import MISS, NO_INPUT, NO_PERMISSION, PROTOCOL, SOFTWARE, UNAVAILABLE, USAGE
from memproto.clients import AuthenticationError, Client, Node, ServerError
from memproto.clients.options import MAX_SECONDS, check_seconds
from memproto.clients.ring import parse_node

__all__ = ["CALLS", "Call", "run"]

#: The password may be given here, so that it is not among the arguments that other users can see.
PASSWORD_VARIABLE: Final = "MEMPROTO_PASSWORD"  # noqa: S105  # the name of a variable

_EPILOG: Final = f"""
exit codes:
  0   success
  1   a miss, or an item that was not stored because its condition does not hold
  2   the command line is wrong
  64  a key or number does not fit the protocol; nothing was sent
  66  a file with certificates cannot be used
  69  the server cannot be reached, or does not answer in time
  70  the server refuses the request
  76  the server breaks the protocol
  77  the credentials are refused

environment:
  {PASSWORD_VARIABLE}  the password of --username
"""


class Result(NamedTuple):
    """What a call gives: whether it is a success, what is printed, and the same for JSON."""

    success: bool
    data: bytes
    json: Json


class Call(NamedTuple):
    """A subcommand: its own arguments, and what it does."""

    add_arguments: Callable[[ArgumentParser], None]
    call: Callable[[Client[bytes], Namespace], Result]


_EXPTIME: Final = "0: never; up to 2592000: seconds from now; above that: Unix time"


def _key(parser: ArgumentParser) -> None:
    parser.add_argument("key", type=os.fsencode)


def _keys(parser: ArgumentParser) -> None:
    parser.add_argument("key", type=os.fsencode, nargs="+", help="the values of several keys are a line each")


def _item(parser: ArgumentParser) -> None:
    _data(parser)
    parser.add_argument("--exptime", type=int, default=0, help=f"{_EXPTIME} (default: 0)")
    parser.add_argument("--flags", type=int, default=0, help="32 bits that belong to the client (default: 0)")


def _data(parser: ArgumentParser) -> None:
    _key(parser)
    parser.add_argument("value", type=os.fsencode, nargs="?", help="without it: standard input, to its end")


def _number(parser: ArgumentParser) -> None:
    _key(parser)
    parser.add_argument("delta", type=int, nargs="?", default=1, help="how much (default: 1)")
    parser.add_argument("--initial", type=int, help="store this number if there is no item; binary and meta only")
    parser.add_argument("--exptime", type=int, default=0, help="the expiry of that new item (default: 0)")


def _expiry(parser: ArgumentParser) -> None:
    _key(parser)
    parser.add_argument("exptime", type=int, help=_EXPTIME)


def _group(parser: ArgumentParser) -> None:
    parser.add_argument(
        "group",
        type=os.fsencode,
        nargs="?",
        default=b"",
        help="items, slabs, settings or another group (default: general)",
    )


def _delay(parser: ArgumentParser) -> None:
    parser.add_argument("--delay", type=int, metavar="SECONDS", help="remove them so much later (default: now)")


def _nothing(parser: ArgumentParser) -> None:
    """The call has no arguments of its own."""


def _get(client: Client[bytes], options: Namespace) -> Result:
    keys: list[bytes] = options.key
    items: dict[bytes, Item] = client.gets_multi(keys)
    found = [items[key] for key in keys if key in items]
    data = b"\n".join(item.value for item in found)
    if len(keys) > 1 and found:
        data += b"\n"
    objects: list[Json] = [_found(key, items.get(key)) for key in keys]
    return Result(len(items) == len(set(keys)), data, objects if len(keys) > 1 else objects[0])


def _found(key: bytes, item: Item | None) -> Json:
    if item is None:
        return {"key": to_json(key), "value": None}
    return {"key": to_json(key), "value": to_json(item.value), "flags": item.flags, "cas": item.cas}


def _store(method: Callable[[Client[bytes], Namespace, bytes], bool]) -> Callable[[Client[bytes], Namespace], Result]:
    """Return the call that stores the value of the argument, or of standard input."""

    def call(client: Client[bytes], options: Namespace) -> Result:
        value = sys.stdin.buffer.read() if options.value is None else options.value
        return _done(method(client, options, value))

    return call


def _done(success: bool) -> Result:
    return Result(success, b"", {"success": success})


def _counted(number: int | None) -> Result:
    return Result(number is not None, b"" if number is None else b"%d\n" % number, {"number": number})


def _stats(client: Client[bytes], options: Namespace) -> Result:
    stats = client.stats(options.group)
    lines = b"".join(b"%s %s\n" % pair for pair in stats.items())
    return Result(
        True, lines, {name.decode("utf-8", "backslashreplace"): to_json(value) for name, value in stats.items()}
    )


def _version(client: Client[bytes], _options: Namespace) -> Result:
    version = client.version()
    return Result(True, version + b"\n", {"version": to_json(version)})


#: The calls by the names of their subcommands.
CALLS: Final = {
    "get": Call(_keys, _get),
    "set": Call(_item, _store(lambda client, o, value: client.set(o.key, value, o.exptime, o.flags))),
    "add": Call(_item, _store(lambda client, o, value: client.add(o.key, value, o.exptime, o.flags))),
    "replace": Call(_item, _store(lambda client, o, value: client.replace(o.key, value, o.exptime, o.flags))),
    "append": Call(_data, _store(lambda client, o, value: client.append(o.key, value))),
    "prepend": Call(_data, _store(lambda client, o, value: client.prepend(o.key, value))),
    "delete": Call(_key, lambda client, o: _done(client.delete(o.key))),
    "incr": Call(_number, lambda client, o: _counted(client.incr(o.key, o.delta, o.initial, o.exptime))),
    "decr": Call(_number, lambda client, o: _counted(client.decr(o.key, o.delta, o.initial, o.exptime))),
    "touch": Call(_expiry, lambda client, o: _done(client.touch(o.key, o.exptime))),
    "flush": Call(_delay, lambda client, o: _done(client.flush(o.delay))),
    "stats": Call(_group, _stats),
    "version": Call(_nothing, _version),
}


def run(name: str, summary: str, arguments: Sequence[str]) -> int:
    """Make the call of this name; the exit code. ``summary`` says in the help what it does."""
    call = CALLS[name]
    options = _parse(name, summary, call, arguments)
    try:
        with _client(options) as client:
            result = call.call(client, options)
    except _FileError as error:
        return _failed(name, str(error), NO_INPUT)
    except LocalProtocolError as error:
        return _failed(name, str(error), USAGE)
    except OSError as error:
        return _failed(name, f"{options.server}: {error.strerror or error}", UNAVAILABLE)
    except (ServerError, RemoteProtocolError, AuthenticationError) as error:
        return _failed(name, f"{options.server}: {error}", _code(error))
    if options.json:
        sys.stdout.write(json.dumps(result.json) + "\n")
    elif result.data:
        sys.stdout.buffer.write(result.data)
        if sys.stdout.isatty() and not result.data.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
    return 0 if result.success else MISS


def _failed(name: str, problem: str, code: int) -> int:
    print(f"memproto {name}: {problem}", file=sys.stderr)
    return code


def _code(error: Exception) -> int:
    if isinstance(error, AuthenticationError):
        return NO_PERMISSION
    return PROTOCOL if isinstance(error, RemoteProtocolError) else SOFTWARE


def _parse(name: str, summary: str, call: Call, arguments: Sequence[str]) -> Namespace:
    parser = CommandLine(name, f"{summary[0].upper()}{summary[1:]}.", _EPILOG)
    call.add_arguments(parser)
    parser.add_argument(
        "--server",
        type=_server,
        default=Node("127.0.0.1"),
        metavar="HOST[:PORT]",
        help="or unix:PATH (default: 127.0.0.1:11211)",
    )
    names = [dialect.value for dialect in Dialect]
    parser.add_argument("--dialect", choices=names, default=Dialect.CLASSIC.value, help="default: %(default)s")
    parser.add_argument(
        "--timeout", type=_seconds, default=5.0, metavar="SECONDS", help="limit of the whole call (default: 5)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with flags and CAS, instead of bare values")
    parser.add_argument(
        "--username", metavar="NAME", help="log in: by SASL PLAIN in binary, by the set of memcached -Y in text"
    )
    parser.add_argument("--password", help=f"better: the variable {PASSWORD_VARIABLE}, which other users cannot see")
    parser.add_argument("--tls", action="store_true", help="use TLS, and trust the authorities of the system")
    parser.add_argument("--cafile", metavar="FILE", help="use TLS, and trust the certificates in this file")
    parser.add_argument("--cert", metavar="FILE", help="use TLS with this certificate of the client; FILE has its key")
    parser.add_argument("--server-hostname", metavar="NAME", help="with TLS: the name in the server's certificate")
    options = parser.parse_args(arguments)
    options.tls = bool(options.tls or options.cafile or options.cert)
    if options.password is not None and options.username is None:
        parser.error("--password needs --username")
    if options.server_hostname is not None and not options.tls:
        parser.error("--server-hostname needs --tls, --cafile or --cert")
    return options


def _server(text: str) -> Node:
    try:
        node = parse_node(text)
    except ValueError:
        node = None
    if node is None or node.weight > 1 or node.host == "unix:":
        raise ArgumentTypeError(f"{text!r} is not HOST, HOST:PORT with a port of 1 to 65535, or unix:PATH")
    return node


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
        check_seconds("timeout", seconds)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0 and up to {MAX_SECONDS}") from None
    return seconds


class _FileError(Exception):
    """A file with certificates cannot be used; the text says which and why."""


def _tls_context(options: Namespace) -> ssl.SSLContext | None:
    """Return the TLS context, if TLS was asked for. Raises _FileError."""
    if not options.tls:
        return None
    file = options.cafile
    try:
        context = ssl.create_default_context(cafile=file)
        file = options.cert
        if file:
            context.load_cert_chain(file)
    except OSError as error:
        raise _FileError(f"{file}: {error.strerror or error}") from None
    return context


def _client(options: Namespace) -> Client[bytes]:
    """Return the client. Raises _FileError."""
    password = ""
    if options.username is not None:
        password = os.environ.get(PASSWORD_VARIABLE, "") if options.password is None else options.password
    return Client(
        options.server.host,
        options.server.port,
        timeout=options.timeout,
        dialect=Dialect(options.dialect),
        username=options.username,
        password=password,
        tls=_tls_context(options),
        server_hostname=options.server_hostname,
    )
