"""What the server can be asked to do, and the command line that asks it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memproto import Dialect
from memproto.server import _flags
from memproto.server._addresses import Endpoint, endpoints

_MEGABYTE = 1024**2
#: memcached's bounds of the largest item.
_ITEM_LEAST, _ITEM_MOST = 1024, 1024**3
_PORT = 11211

#: memcached's names for what may be spoken; the first byte tells one from the other.
PROTOCOLS = {
    "auto": frozenset(Dialect),
    "ascii": frozenset({Dialect.CLASSIC, Dialect.META}),
    "binary": frozenset({Dialect.BINARY}),
}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Whose certificate is shown, and what is asked of the client. The files are PEM."""

    chain: str
    key: str | None = None
    ca: str | None = None
    ciphers: str | None = None
    #: 0 asks the client for no certificate, 1 takes one, 2 and 3 insist on one.
    verify: int = 0
    #: The least version: TLS 1.x.
    min_version: int = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What the server was asked to do. Sizes in bytes; a port of 0 is none, and -1 any free one.

    ``host`` is the list of addresses as it was written; :attr:`endpoints` reads it.
    """

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
    path_mode: int = 0o700
    backlog: int = 1024
    threads: int = 4
    evict: bool = True
    cas: bool = True
    flush: bool = True
    shutdown: bool = False
    #: Seconds after which a silent connection is closed; 0 is never.
    idle_timeout: int = 0
    sasl: bool = False
    auth_file: str | None = None
    #: Whether a line of that file goes on behind the password with fields that say nothing.
    auth_fields: bool = False
    tls: TlsOptions | None = None
    persist: str | None = None
    sync: str = "normal"
    dialect: str = "memcached"
    user: str | None = None
    pid_file: str | None = None
    daemon: bool = False

    @property
    def dialects(self) -> frozenset[Dialect]:
        """What is spoken."""
        return PROTOCOLS[self.protocol]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The addresses to listen on."""
        return endpoints(self.host)


def parse(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> Options:
    """Read the command line; a mistake ends the program, with memcached's exit code."""
    parser, given = _flags.read(arguments)
    words = given.extended
    port, udp = _ports(parser, given)
    memory = given.memory * _MEGABYTE
    _check_sizes(parser, given.item_size, memory)
    protocol, auth_file, pwdb = _authentication(parser, given, environment)
    if given.dialect == "lite" and (given.sasl or auth_file is not None):
        parser.refuse("--dialect lite has no words to authenticate with")
    if given.sync is not None and given.persist is None:
        parser.refuse("--sync says nothing without --persist")
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
        udp=udp,
        datagrams_per_reply=given.datagrams,
        protocol=protocol,
        path_mode=given.path_mode,
        backlog=given.backlog,
        threads=given.threads,
        evict=not given.no_evict,
        cas=not given.no_cas,
        flush=not given.no_flush,
        shutdown=given.shutdown,
        idle_timeout=int(words.get("idle_timeout", 0)),
        sasl=given.sasl,
        auth_file=auth_file,
        auth_fields=pwdb,
        tls=_tls(parser, words, port) if given.tls else None,
        persist=given.persist,
        sync=given.sync or "normal",
        dialect=given.dialect,
        user=given.user,
        pid_file=given.pid_file,
        daemon=given.daemon,
    )


def _ports(parser: _flags.Parser, given: _flags.Given) -> tuple[int, int]:
    port, udp = given.port, given.udp or 0
    if port is None:
        # As memcached: UDP alone brings TCP on the same port.
        port = 0 if given.path is not None else udp or _PORT
    for number in (port, udp):
        if not -1 <= number <= 65535:
            parser.refuse(f"Invalid port number {number}: must be 1 to 65535, 0 for none, or -1 for a free one")
    try:
        addresses = endpoints(given.host)
    except ValueError as error:
        parser.refuse(f"-l: {error}")
    if not given.tls and not all(address.tls for address in addresses):
        parser.refuse("'notls' option is valid only when SSL is enabled")
    if not (port or udp or given.path is not None):
        parser.refuse("port is 0, which is none, and there is neither UDP nor a Unix socket")
    return port, udp


def _check_sizes(parser: _flags.Parser, item: int, memory: int) -> None:
    if item < _ITEM_LEAST:
        parser.refuse(f"Item max size cannot be less than {_ITEM_LEAST} bytes.")
    if item > memory // 2:
        parser.refuse("Cannot set item size limit higher than 1/2 of memory max.")
    if item > _ITEM_MOST:
        parser.refuse("Cannot set item size limit higher than a gigabyte.")


def _authentication(
    parser: _flags.Parser, given: _flags.Given, environment: Mapping[str, str]
) -> tuple[str, str | None, bool]:
    """What is spoken, the file of users, and whether that is memcached's SASL password database."""
    protocol, file = given.protocol, given.auth_file
    if protocol not in (None, *PROTOCOLS):
        parser.refuse(f"Invalid value for binding protocol: {protocol} -- should be one of auto, binary, or ascii")
    if not given.sasl and file is None:
        return protocol or "auto", None, False
    wanted = "binary" if given.sasl else "ascii"
    if protocol not in (None, wanted):
        other = "ASCII protocol while using SASL" if given.sasl else "BINARY protocol while using ascii authentication"
        parser.refuse(f"You cannot allow the {other}.")
    if given.udp:
        parser.refuse("Cannot enable UDP while using authentication (-U 0 to disable).")
    database = file is None
    file = file or environment.get("MEMCACHED_SASL_PWDB")
    if not file:
        parser.refuse("-S needs a file of users: -Y FILE, or MEMCACHED_SASL_PWDB in the environment")
    return wanted, file, database


def _tls(parser: _flags.Parser, words: Mapping[str, str], port: int) -> TlsOptions:
    if not port:
        parser.refuse("You cannot enable SSL without a TCP port.")
    if "ssl_chain_cert" not in words:
        parser.refuse("-Z needs a certificate: -o ssl_chain_cert=FILE")
    return TlsOptions(
        chain=words["ssl_chain_cert"],
        key=words.get("ssl_key"),
        ca=words.get("ssl_ca_cert"),
        ciphers=words.get("ssl_ciphers"),
        verify=int(words.get("ssl_verify_mode", 0)),
        min_version=int(words.get("ssl_min_version", 2)),
    )
