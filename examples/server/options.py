"""The command line, with memcached's flags and meanings."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass

_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


@dataclass(frozen=True, slots=True)
class Options:
    """What the server was asked to do. Sizes in bytes."""

    host: str
    port: int
    memory: int
    item_size_max: int
    connections: int
    requests_per_turn: int
    verbose: int
    loop: str


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
    add("-p", dest="port", metavar="PORT", type=int, default=11211, help="TCP port to listen on; -1 takes a free one")
    add("-l", dest="host", metavar="HOST", default="127.0.0.1", help="address to listen on")
    add("-m", dest="memory", metavar="MEGABYTES", type=int, default=64, help="memory for items, in megabytes")
    add("-I", dest="item_size", metavar="SIZE", type=size, default="1m", help="largest item; k and m are understood")
    add("-c", dest="connections", metavar="N", type=int, default=1024, help="most connections at a time")
    add("-R", dest="requests", metavar="N", type=int, default=100, help="most requests of one connection in a row")
    add("-v", dest="verbose", action="count", default=0, help="tell what happens; twice: tell more")
    add("--loop", choices=("auto", "asyncio", "uvloop"), default="auto", help="auto takes uvloop if it is installed")
    given = parser.parse_args(arguments)
    if not -1 <= given.port <= 65535 or given.port == 0:
        parser.error(f"port is {given.port}, must be 1 to 65535, or -1 for a free one")
    for name, flag in (("memory", "-m"), ("connections", "-c"), ("requests", "-R"), ("item_size", "-I")):
        if getattr(given, name) < 1:
            parser.error(f"{flag} is {getattr(given, name)}, the least is 1")
    memory = given.memory * _UNITS["m"]
    if given.item_size > memory:
        parser.error(f"-I is {given.item_size} bytes, more than the memory for all items ({memory})")
    return Options(
        host=given.host,
        port=given.port,
        memory=memory,
        item_size_max=given.item_size,
        connections=given.connections,
        requests_per_turn=given.requests,
        verbose=given.verbose,
        loop=given.loop,
    )
