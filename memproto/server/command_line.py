"""memcached's command line; how its options go together is checked by ``Options`` itself."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from memproto.server import arguments, extended_options
from memproto.server.errors import OptionsError
from memproto.server.options import ProcessOptions, TlsOptions

_MEGABYTE = 1024**2
_PORT = 11211

_TOP = """\
A memcached in Python. It takes memcached's options, so that it can be started in its place.
Stricter: a value that is not a number where one is expected, and words that are not options, are errors.
Looser: root may leave out -u. Different: without -l it listens on this machine only."""

_BOTTOM = """\
environment:
  MEMCACHED_PORT_FILENAME  file that the ports are written to, of use with -p -1
  MEMCACHED_SASL_PWDB      file of users for -S without -Y
signals:
  SIGTERM, SIGINT, SIGUSR1 answer what has arrived, then end
  SIGHUP                   read users and certificates again"""


class _Values(argparse.Namespace):
    """The values of the command line."""

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
    datagrams: int


class _Parser(argparse.ArgumentParser):
    """argparse with memcached's exit codes, and one line for a mistake."""

    def error(self, message: str) -> NoReturn:
        """End for a mistake in one option: with 1, as memcached does."""
        self._leave(message, 1)

    def refuse(self, message: str) -> NoReturn:
        """End for options that do not go together: with EX_USAGE, as memcached does."""
        self._leave(message, OptionsError.code)

    def _leave(self, message: str, code: int) -> NoReturn:
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        sys.exit(code)


class _Listen(argparse.Action):
    """``-l``, which adds to the addresses of an earlier ``-l``."""

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
    """``-o``, which adds to the words of an earlier ``-o``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            namespace.extended = {**namespace.extended, **extended_options.read(str(values))}
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))


def parse_arguments(
    command_line: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> ProcessOptions:
    """Read memcached's command line, without the name of the program; ``None`` is that of this process.

    Raises ``SystemExit`` with memcached's exit code: 0 after ``--help``, 1 or 64 after a mistake, which one line on
    standard error explains.
    """
    parser = _Parser(
        prog="memproto serve",
        usage="memproto serve [options]",
        description=_TOP,
        epilog=_BOTTOM,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_to(parser, _Listen, _Extended)
    given = parser.parse_args(command_line, _Values())
    if given.sync is not None and given.persist is None:
        parser.refuse("--sync says nothing without --persist")
    try:
        return _options(given, environment)
    except OptionsError as error:
        parser.refuse(str(error))


def _options(given: _Values, environment: Mapping[str, str]) -> ProcessOptions:
    """The options that the values stand for. Raises OptionsError."""
    port, udp = given.port, given.udp or 0
    if port is None:
        # As memcached: UDP alone brings TCP on the same port.
        port = 0 if given.path is not None else udp or _PORT
    auth_file = given.auth_file
    if auth_file is None and given.sasl:
        auth_file = environment.get("MEMCACHED_SASL_PWDB") or None
    return ProcessOptions(
        host=given.host,
        port=port,
        udp=udp,
        path=given.path,
        path_mode=given.path_mode,
        backlog=given.backlog,
        connections=given.connections,
        requests_per_turn=given.requests,
        datagrams_per_reply=given.datagrams,
        idle_timeout=int(given.extended.get("idle_timeout", 0)),
        memory=given.memory * _MEGABYTE,
        item_size_max=given.item_size,
        evict=not given.no_evict,
        cas=not given.no_cas,
        flush=not given.no_flush,
        shutdown=given.shutdown,
        persist=given.persist,
        sync=given.sync or "normal",
        auth_file=auth_file,
        sasl=given.sasl,
        auth_fields=auth_file is not None and given.auth_file is None,
        tls=_tls(given.extended) if given.tls else None,
        protocol=given.protocol,
        verbose=given.verbose,
        loop=given.loop,
        user=given.user,
        pid_file=given.pid_file,
        daemon=given.daemon,
    )


def _tls(words: Mapping[str, str]) -> TlsOptions:
    return TlsOptions(
        chain=words.get("ssl_chain_cert", ""),
        key=words.get("ssl_key"),
        ca=words.get("ssl_ca_cert"),
        ciphers=words.get("ssl_ciphers"),
        verify=int(words.get("ssl_verify_mode", 0)),
        min_version=int(words.get("ssl_min_version", 2)),
    )
