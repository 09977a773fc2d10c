"""The command line, with memcached's flags and meanings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

from memproto import Dialect
from memproto.udp import MAX_DATAGRAMS

_PORT = 11211
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True, slots=True)
class Options:
    """What the server was asked to do. Sizes in bytes; a port of 0 is none, and -1 any free one."""

    host: str
    port: int
    memory: int
    item_size_max: int
    connections: int
    requests_per_turn: int
    verbose: int
    loop: str
    path: str | None = None
    udp: int = 0
    datagrams_per_reply: int = 1024
    protocol: str = "auto"

    @property
    def dialects(self) -> frozenset[Dialect]:
        """What is spoken."""
        return PROTOCOLS[self.protocol]


#: memcached's names for what may be spoken; the first byte tells one from the other.
PROTOCOLS = {
    "auto": frozenset(Dialect),
    "ascii": frozenset({Dialect.CLASSIC, Dialect.META}),
    "binary": frozenset({Dialect.BINARY}),
}


def size(text: str) -> int:
    """A number of bytes such as ``1024``, ``512k`` or ``1m``."""
    match = re.fullmatch(r"([0-9]+)([kmg]?)", text.lower())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: a number, with k, m or g behind it if you like")
    return int(match[1]) * _UNITS[match[2]]


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; a mistake ends the program as argparse does."""
    parser = argparse.ArgumentParser(
        prog="examples.server",
        description="A memcached in Python.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    tcp = f"TCP port to listen on; -1 takes a free one, 0 is none (default: {_PORT}; none with -s)"
    add("-p", dest="port", metavar="PORT", type=int, default=argparse.SUPPRESS, help=tcp)
    add("-U", dest="udp", metavar="PORT", type=int, default=0, help="UDP port; -1 takes a free one, 0 is none")
    add("-s", dest="path", metavar="PATH", help="Unix socket to listen on; without -p, instead of TCP")
    add("-l", dest="host", metavar="HOST", default="127.0.0.1", help="address to listen on")
    add("-m", dest="memory", metavar="MEGABYTES", type=int, default=64, help="memory for items, in megabytes")
    add("-I", dest="item_size", metavar="SIZE", type=size, default="1m", help="largest item; k and m are understood")
    add("-c", dest="connections", metavar="N", type=int, default=1024, help="most connections at a time")
    add("-R", dest="requests", metavar="N", type=int, default=100, help="most requests of one connection in a row")
    add("-B", dest="protocol", choices=PROTOCOLS, default="auto", help="what is spoken; auto goes by the first byte")
    add("--datagrams", metavar="N", type=int, default=1024, help="most datagrams of one reply over UDP")
    add("-v", dest="verbose", action="count", default=0, help="tell what happens; twice: tell more")
    add("--loop", choices=("auto", "asyncio", "uvloop"), default="auto", help="auto takes uvloop if it is installed")
    given = parser.parse_args(arguments)
    port = getattr(given, "port", _PORT if given.path is None else 0)
    for name, number in (("port", port), ("UDP port", given.udp)):
        if not -1 <= number <= 65535:
            parser.error(f"{name} is {number}, must be 1 to 65535, 0 for none, or -1 for a free one")
    if not port and given.path is None:
        parser.error("port is 0, which is none, and there is no Unix socket either")
    if not 1 <= given.datagrams <= MAX_DATAGRAMS:
        parser.error(f"--datagrams is {given.datagrams}, must be 1 to {MAX_DATAGRAMS}")
    for name, flag in (("memory", "-m"), ("connections", "-c"), ("requests", "-R"), ("item_size", "-I")):
        if getattr(given, name) < 1:
            parser.error(f"{flag} is {getattr(given, name)}, the least is 1")
    memory = given.memory * _UNITS["m"]
    if given.item_size > memory:
        parser.error(f"-I is {given.item_size} bytes, more than the memory for all items ({memory})")
    return Options(
        host=given.host,
        port=port,
        memory=memory,
        item_size_max=given.item_size,
        connections=given.connections,
        requests_per_turn=given.requests,
        verbose=given.verbose,
        loop=given.loop,
        path=given.path,
        udp=given.udp,
        datagrams_per_reply=given.datagrams,
        protocol=given.protocol,
    )
