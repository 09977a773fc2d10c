"""memcached's flags; what they mean together is in ``options``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from memproto.server import _arguments, _extended

_TOP = """\
A memcached in Python. It takes memcached's options, so that it can be started in its place.
Stricter: a value that is no number where one is due, and words that are no options, are errors.
Looser: root may leave out -u. Other: without -l it listens on this machine only."""

_BOTTOM = """\
environment:
  MEMCACHED_PORT_FILENAME  file that the ports are written to, of use with -p -1
  MEMCACHED_SASL_PWDB      file of users for -S without -Y
signals:
  SIGTERM, SIGINT, SIGUSR1 answer what has come, then end
  SIGHUP                   read users and certificates again"""


class Given(argparse.Namespace):
    """The values as they were given."""

    host: str
    port: int | None
    udp: int | None
    path: str | None
    path_mode: int
    backlog: int
    memory: int
    no_evict: bool
    item_size: int
    connections: int
    requests: int
    threads: int
    protocol: str | None
    no_cas: bool
    no_flush: bool
    shutdown: bool
    sasl: bool
    auth_file: str | None
    tls: bool
    extended: dict[str, str]
    user: str | None
    daemon: bool
    pid_file: str | None
    verbose: int
    loop: str
    persist: str | None
    sync: str | None
    dialect: str
    datagrams: int


class Parser(argparse.ArgumentParser):
    """argparse with memcached's exit codes, and one line for a mistake."""

    def error(self, message: str) -> NoReturn:
        """End for what an option by itself can be wrong in: with 1, as memcached does."""
        self._leave(message, 1)

    def refuse(self, message: str) -> NoReturn:
        """End for what is wrong in the whole: with EX_USAGE, as memcached does."""
        self._leave(message, 64)

    def _leave(self, message: str, code: int) -> NoReturn:
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        sys.exit(code)


class _Listen(argparse.Action):
    """Once more adds to the list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, "listen", [])
        namespace.listen = before if values in before else [*before, values]
        namespace.host = ",".join(namespace.listen)


class _Extended(argparse.Action):
    """Once more adds to the words."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            namespace.extended = {**namespace.extended, **_extended.words(str(values))}
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))


def read(arguments: Sequence[str] | None) -> tuple[Parser, Given]:
    """The values of the command line, and the parser, which refuses what does not go together."""
    made = Parser(
        prog="memproto.server",
        usage="python -m memproto.server [options]",
        description=_TOP,
        epilog=_BOTTOM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _arguments.add_to(made, _Listen, _Extended)
    return made, made.parse_args(arguments, Given())
