"""``memproto get``, ``set``, ``incr`` and others: one call to a server.

    memproto get user:1 --server 10.0.0.1:11211
    memproto set user:1 hello --exptime 60
    memproto stats items --json

The exit code is 0; 1 for a miss, or an item that was not stored because its condition does not hold; 64 for arguments
that do not fit the protocol, 69 for a server that cannot be reached or does not answer in time, 70 for a refusal, 76
for a server that breaks the protocol, 77 for refused credentials.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from memproto import Dialect, Item, LocalProtocolError, RemoteProtocolError
from memproto.capture.json_lines import Json, to_json
from memproto.clients import AuthenticationError, Client, Node, ServerError
from memproto.clients.ring import parse_node

__all__ = ["CALLS", "Call", "run"]

# As sysexits.h names them: EX_USAGE, EX_UNAVAILABLE, EX_SOFTWARE, EX_PROTOCOL, EX_NOPERM.
_USAGE, _UNAVAILABLE, _REFUSED, _PROTOCOL, _NO_PERMISSION = 64, 69, 70, 76, 77
_MISS: Final = 1
#: The password may be given here, so that it is not among the arguments that other users can see.
PASSWORD_VARIABLE: Final = "MEMPROTO_PASSWORD"  # noqa: S105  # the name of a variable


class Result(NamedTuple):
    """What a call gives: whether it is a success, what is printed, and the same for JSON."""

    success: bool
    data: bytes
    json: Json


class Call(NamedTuple):
    """A subcommand: its own arguments, and what it does."""

    add_arguments: Callable[[ArgumentParser], None]
    call: Callable[[Client[bytes], Namespace], Result]


def _key(parser: ArgumentParser) -> None:
    parser.add_argument("key", type=os.fsencode)


def _keys(parser: ArgumentParser) -> None:
    parser.add_argument("key", type=os.fsencode, nargs="+", help="of several keys each value is a line")


def _item(parser: ArgumentParser) -> None:
    _data(parser)
    parser.add_argument("--exptime", type=int, default=0, help="0 never, or seconds from now (default: 0)")
    parser.add_argument("--flags", type=int, default=0, help="the client's own 32 bits (default: 0)")


def _data(parser: ArgumentParser) -> None:
    _key(parser)
    parser.add_argument("value", type=os.fsencode, nargs="?", help="without it, standard input")


def _number(parser: ArgumentParser) -> None:
    _key(parser)
    parser.add_argument("delta", type=int, nargs="?", default=1, help="default: 1")
    parser.add_argument("--initial", type=int, help="make a missing item of this number; not in classic")
    parser.add_argument("--exptime", type=int, default=0, help="of an item that is made (default: 0)")


def _expiry(parser: ArgumentParser) -> None:
    _key(parser)
    parser.add_argument("exptime", type=int, help="0 never, or seconds from now")


def _group(parser: ArgumentParser) -> None:
    parser.add_argument("group", type=os.fsencode, nargs="?", default=b"", help="such as items, slabs, settings")


def _delay(parser: ArgumentParser) -> None:
    parser.add_argument("--delay", type=int, help="seconds from now (default: now)")


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


def run(name: str, arguments: Sequence[str]) -> int:
    """Make the call of this name; the exit code."""
    call = CALLS[name]
    options = _parse(name, call, arguments)
    try:
        with _client(options) as client:
            result = call.call(client, options)
    except (OSError, ServerError, LocalProtocolError, RemoteProtocolError, AuthenticationError) as error:
        print(f"memproto {name}: {options.server}: {error}", file=sys.stderr)
        return _code(error)
    if options.json:
        sys.stdout.write(json.dumps(result.json) + "\n")
    elif result.data:
        sys.stdout.buffer.write(result.data)
        if sys.stdout.isatty() and not result.data.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
    return 0 if result.success else _MISS


def _code(error: Exception) -> int:
    if isinstance(error, AuthenticationError):
        return _NO_PERMISSION
    if isinstance(error, LocalProtocolError):
        return _USAGE
    if isinstance(error, RemoteProtocolError):
        return _PROTOCOL
    return _UNAVAILABLE if isinstance(error, OSError) else _REFUSED


def _parse(name: str, call: Call, arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog=f"memproto {name}", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    call.add_arguments(parser)
    parser.add_argument(
        "--server",
        type=_server,
        default=Node("127.0.0.1"),
        metavar="HOST[:PORT]",
        help="or unix:PATH (default: 127.0.0.1:11211)",
    )
    parser.add_argument("--dialect", choices=[dialect.value for dialect in Dialect], default=Dialect.CLASSIC.value)
    parser.add_argument("--timeout", type=_seconds, default=5.0, metavar="SECONDS", help="of the whole call (5)")
    parser.add_argument("--json", action="store_true", help="print JSON; without it, values are printed as they are")
    parser.add_argument("--username", help="authenticate: SASL PLAIN in binary, memcached -Y in the text dialects")
    parser.add_argument("--password", help=f"better in the variable {PASSWORD_VARIABLE}, where others do not see it")
    parser.add_argument("--tls", action="store_true", help="use TLS, and trust the authorities of the system")
    parser.add_argument("--cafile", metavar="FILE", help="use TLS, and trust the certificates in this file")
    parser.add_argument("--cert", metavar="FILE", help="use TLS, and show this certificate, with its key")
    parser.add_argument("--server-hostname", metavar="NAME", help="the name in the server's certificate")
    return parser.parse_args(arguments)


def _server(text: str) -> Node:
    try:
        return parse_node(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _client(options: Namespace) -> Client[bytes]:
    """Return the client. Raises OSError for a certificate file that cannot be read."""
    tls = None
    if options.tls or options.cafile or options.cert:
        tls = ssl.create_default_context(cafile=options.cafile)
        if options.cert:
            tls.load_cert_chain(options.cert)
    password = options.password or os.environ.get(PASSWORD_VARIABLE, "")
    return Client(
        options.server.host,
        options.server.port,
        timeout=options.timeout,
        dialect=Dialect(options.dialect),
        username=options.username,
        password=password,
        tls=tls,
        server_hostname=options.server_hostname,
    )
