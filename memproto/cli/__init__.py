"""The command ``memproto``: one module for each subcommand, or for several alike, which is imported when it is used.

To add a subcommand, write a module with ``main(arguments) -> int`` and enter it in the table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

from memproto import __version__
from memproto.cli.exit_codes import INTERRUPTED, WRONG_COMMAND_LINE
from memproto.cli.terminal import discard_output

#: Takes the arguments after the name of the subcommand; the exit code.
Main: TypeAlias = Callable[[Sequence[str]], int]


class Subcommand(NamedTuple):
    """One line about it, and a function that imports it."""

    summary: str
    load: Callable[[], Main]


def _serve() -> Main:
    from memproto.cli.serve import main

    return main


def _demo() -> Main:
    from memproto.cli.demo import main

    return main


def _decode() -> Main:
    from memproto.cli.decode import main

    return main


def _fake() -> Main:
    from memproto.cli.fake import main

    return main


def _call(name: str, summary: str) -> Callable[[], Main]:
    def load() -> Main:
        from memproto.cli.call import run

        return partial(run, name, summary)

    return load


#: One call to a server, each with a line about it.
CALLS = {
    "get": "print the values of keys",
    "set": "store a value",
    "add": "store a value if its key is absent",
    "replace": "store a value if its key is present",
    "append": "add bytes to the end of a value",
    "prepend": "add bytes to the beginning of a value",
    "delete": "remove an item",
    "incr": "add to a number",
    "decr": "subtract from a number",
    "touch": "set the expiry of an item",
    "flush": "remove all items",
    "stats": "print the statistics of a server",
    "version": "print the version of a server",
}
SUBCOMMANDS = {
    "serve": Subcommand("run a server, with memcached's options", _serve),
    "fake": Subcommand("run a memcached for tests, with a clock and faults to control", _fake),
    "decode": Subcommand("show the exchanges of captured traffic: pcap, pcapng, hex dumps, bytes", _decode),
    "demo": Subcommand("run a client and a server, and explain the bytes that they exchange", _demo),
    **{name: Subcommand(summary, _call(name, summary)) for name, summary in CALLS.items()},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names; the exit code. ``None`` is the command line of this process.

    An output that nobody reads any more ends it in silence, with 0, and SIGINT with 130. Raises ``SystemExit`` where a
    subcommand does, as ``memproto serve --help`` does.
    """
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            print(end="", flush=True)  # not of sys.stdout, which a daemon may not have
    except BrokenPipeError:
        discard_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    name, *rest = arguments or [""]
    if name in SUBCOMMANDS:
        return SUBCOMMANDS[name].load()(rest)
    if name in ("-h", "--help"):
        print(_help())
    elif name in ("-V", "--version"):
        print(f"memproto {__version__}")
    else:
        print(f"memproto: error: no subcommand {name!r}; see memproto --help" if name else _help(), file=sys.stderr)
        return WRONG_COMMAND_LINE
    return 0


def _help() -> str:
    rows = [f"  {name:8} {subcommand.summary}" for name, subcommand in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: memproto SUBCOMMAND [options]",
            "",
            "The memcached protocol on the command line.",
            "",
            *rows,
            "",
            "  memproto SUBCOMMAND --help   the options of a subcommand",
            "  memproto --version           the version",
        ]
    )
