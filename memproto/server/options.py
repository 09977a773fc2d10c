"""What a server is to do, and which wishes go together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memproto import Dialect, ServerDialect
from memproto.server.addresses import Endpoint, endpoints
from memproto.server.errors import OptionsError
from memproto.udp import MAX_DATAGRAMS

#: memcached's bounds of the largest item.
_ITEM_LEAST, _ITEM_MOST = 1024, 1024**3

#: memcached's names for the dialects of a server; the first byte tells one from the other.
PROTOCOLS = {
    "auto": frozenset(Dialect),
    "ascii": frozenset({Dialect.CLASSIC, Dialect.META}),
    "binary": frozenset({Dialect.BINARY}),
}


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The certificate of the server, and what it asks of its clients. All files are PEM."""

    #: The certificate chain, and the private key if it is in a file of its own.
    chain: str
    key: str | None = None
    #: The certificate authorities of clients.
    ca: str | None = None
    #: OpenSSL's list of ciphers.
    ciphers: str | None = None
    #: 0 asks the client for no certificate, 1 accepts one, 2 and 3 insist on one.
    verify: int = 0
    #: The least version: TLS 1.x.
    min_version: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a server is to do; the defaults are memcached's, but for ``host``. Sizes are in bytes.

    Raises :class:`OptionsError` for values out of range, and for values that do not go together.
    """

    #: The addresses to listen on, separated by commas, each with ``:PORT`` if it has a port of its own.
    #: ``*`` is every interface; ``notls:`` before an address keeps it without TLS.
    host: str = "127.0.0.1"
    #: The TCP port: 0 is none, and -1 any free one.
    port: int = 11211
    #: The UDP port, in the same way.
    udp: int = 0
    #: The path of a Unix socket, and its access rights.
    path: str | None = None
    path_mode: int = 0o700
    #: How many connections may wait to be accepted.
    backlog: int = 1024
    #: How many connections there may be.
    connections: int = 1024
    #: How many requests of one connection are answered before the other connections have their turn.
    requests_per_turn: int = 100
    #: How many datagrams may answer one datagram.
    datagrams_per_reply: int = 1024
    #: Seconds after which a silent connection is closed; 0 is never.
    idle_timeout: int = 0
    #: The memory for all items, and the size of the largest.
    memory: int = 64 * 1024**2
    item_size_max: int = 1024**2
    #: Whether items are evicted when the memory is full. Otherwise stores are refused.
    evict: bool = True
    #: Whether items have a CAS.
    cas: bool = True
    #: Whether clients may flush.
    flush: bool = True
    #: Whether clients may stop the server, with the text command "shutdown".
    shutdown: bool = False
    #: The file that keeps the items across restarts, if any; ``sync`` is "normal", or "full" to wait for the disk
    #: at each commit.
    persist: str | None = None
    sync: str = "normal"
    #: A file of ``user:password`` lines: clients have to authenticate, with text commands or, with ``sasl``, in binary.
    auth_file: str | None = None
    sasl: bool = False
    #: Whether a line of that file goes on after the password, as in memcached's SASL password database.
    auth_fields: bool = False
    #: TLS on TCP.
    tls: TlsOptions | None = None
    #: "ascii", "binary" or "auto"; ``None`` is what authentication allows, and "auto" without it.
    protocol: str | None = None
    #: Makes the dialect of each connection, in place of memcached's dialects.
    dialect: Callable[[], ServerDialect] | None = None
    #: 0 logs faults of the server only, 1 those of clients too, 2 every request. A client may change it.
    verbose: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        self._check_addresses()
        self._check_sizes()
        self._check_authentication()
        if self.sync not in ("normal", "full"):
            raise OptionsError(f'sync must be "normal" or "full", not {self.sync!r}')
        if self.tls is not None and not self.port:
            raise OptionsError("You cannot enable SSL without a TCP port.")
        if self.tls is not None and not self.tls.chain:
            raise OptionsError("-Z needs a certificate: -o ssl_chain_cert=FILE")

    def _check_addresses(self) -> None:
        for number in (self.port, self.udp):
            if not -1 <= number <= 65535:
                raise OptionsError(
                    f"Invalid port number {number}: must be 1 to 65535, 0 for none, or -1 for a free one"
                )
        try:
            addresses = self.endpoints
        except ValueError as error:
            raise OptionsError(f"-l: {error}") from None
        if self.tls is None and not all(address.tls for address in addresses):
            raise OptionsError("'notls' option is valid only when SSL is enabled")
        if not (self.port or self.udp or self.path is not None):
            raise OptionsError("port is 0, which is none, and there is neither UDP nor a Unix socket")

    def _check_sizes(self) -> None:
        if self.item_size_max < _ITEM_LEAST:
            raise OptionsError(f"Item max size cannot be less than {_ITEM_LEAST} bytes.")
        if self.item_size_max > self.memory // 2:
            raise OptionsError("Cannot set item size limit higher than 1/2 of memory max.")
        if self.item_size_max > _ITEM_MOST:
            raise OptionsError("Cannot set item size limit higher than a gigabyte.")
        if self.connections < 1:
            raise OptionsError(f"Maximum connections must be greater than 0, not {self.connections}")
        if self.requests_per_turn < 1:
            raise OptionsError(f"Number of requests per event must be greater than 0, not {self.requests_per_turn}")
        if not 1 <= self.datagrams_per_reply <= MAX_DATAGRAMS:
            raise OptionsError(f"datagrams must be 1 to {MAX_DATAGRAMS}, not {self.datagrams_per_reply}")

    def _check_authentication(self) -> None:
        if self.protocol not in (None, *PROTOCOLS):
            named = f"Invalid value for binding protocol: {self.protocol}"
            raise OptionsError(f"{named} -- should be one of auto, binary, or ascii")
        if self.auth_file is None:
            if self.sasl:
                raise OptionsError("-S needs a file of users: -Y FILE, or MEMCACHED_SASL_PWDB in the environment")
            return
        if self.dialect is not None:
            raise OptionsError("a dialect of your own has no words to authenticate with")
        if self.protocol not in (None, "binary" if self.sasl else "ascii"):
            if self.sasl:
                raise OptionsError("You cannot allow the ASCII protocol while using SASL.")
            raise OptionsError("You cannot allow the BINARY protocol while using ascii authentication.")
        if self.udp:
            raise OptionsError("Cannot enable UDP while using authentication (-U 0 to disable).")

    @property
    def binding_protocol(self) -> str:
        """The dialects of this server in memcached's words: "ascii", "binary" or "auto"."""
        if self.protocol is not None:
            return self.protocol
        if self.auth_file is None:
            return "auto"
        return "binary" if self.sasl else "ascii"

    @property
    def dialects(self) -> frozenset[Dialect]:
        """Which of memcached's dialects this server accepts."""
        return PROTOCOLS[self.binding_protocol]

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The addresses to listen on."""
        return endpoints(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions(Options):
    """The options of a server that has a process for itself."""

    #: The event loop: "asyncio", "uvloop", or "auto" for uvloop if it is installed.
    loop: str = "auto"
    #: The user to run as, if root has started the process.
    user: str | None = None
    #: The file that holds the process number while the server runs.
    pid_file: str | None = None
    #: Whether the process goes to the background once it listens.
    daemon: bool = False
