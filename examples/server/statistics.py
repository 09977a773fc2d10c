"""What STAT tells of the process and its connections; what it tells of the cache is the engine's."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from typing import Protocol

from examples.server.listeners import Listeners
from examples.server.options import Options, TlsOptions
from memproto import StatsReply

_PROTOCOL_NAMES = {"auto": "auto-negotiate"}


class Counts(Protocol):
    """What the server counts."""

    started: float
    total: int
    rejected: int
    bytes_read: int
    bytes_written: int
    auth_commands: int
    auth_errors: int
    idle_kicks: int
    yields: int
    verbose: int


class Talker(Protocol):
    """A session."""

    @property
    def peer(self) -> str:
        """Where the client is."""

    @property
    def busy(self) -> bool:
        """Whether the client is being answered."""


def encoded(numbers: Mapping[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    """As STAT wants them."""
    return tuple((name.encode(), str(number).encode()) for name, number in numbers.items())


def process(counts: Counts, options: Options, open_: int, now: float) -> StatsReply:
    """STAT without a group, the process's part."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return StatsReply(
        encoded(
            {
                "pid": os.getpid(),
                "uptime": int(now - counts.started),
                "time": int(now),
                "version": "1.6.18",
                "pointer_size": 64,
                "rusage_user": f"{usage.ru_utime:.6f}",
                "rusage_system": f"{usage.ru_stime:.6f}",
                "max_connections": options.connections,
                "curr_connections": open_,
                "total_connections": counts.total,
                "rejected_connections": counts.rejected,
                "connection_structures": open_,
                "auth_cmds": counts.auth_commands,
                "auth_errors": counts.auth_errors,
                "bytes_read": counts.bytes_read,
                "bytes_written": counts.bytes_written,
                "accepting_conns": 1,
                "threads": 1,
                "conn_yields": counts.yields,
                **({"idle_kicks": counts.idle_kicks} if options.idle_timeout else {}),
            }
        )
    )


def settings(counts: Counts, options: Options) -> StatsReply:
    """STAT settings, the process's part."""
    return StatsReply(
        encoded(
            {
                "maxconns": options.connections,
                "tcpport": options.port,
                "udpport": options.udp,
                "inter": options.host,
                "verbosity": counts.verbose,
                "domain_socket": options.path or "NULL",
                "umask": f"{options.path_mode:o}",
                "num_threads": 1,
                "reqs_per_event": options.requests_per_turn,
                "tcp_backlog": options.backlog,
                "binding_protocol": _PROTOCOL_NAMES.get(options.protocol, options.protocol),
                "auth_enabled_sasl": "yes" if options.sasl else "no",
                "auth_enabled_ascii": options.auth_file if options.auth_file and not options.sasl else "no",
                "maxconns_fast": "yes",
                "idle_timeout": options.idle_timeout,
                "shutdown_command": "yes" if options.shutdown else "no",
                "ssl_enabled": "yes" if options.tls else "no",
                **(_tls(options.tls) if options.tls else {}),
                "persist": options.persist or "NULL",
            }
        )
    )


def _tls(options: TlsOptions) -> dict[str, object]:
    return {
        "ssl_chain_cert": options.chain,
        "ssl_key": options.key or "NULL",
        "ssl_verify_mode": options.verify,
        "ssl_ciphers": options.ciphers or "NULL",
        "ssl_ca_cert": options.ca or "NULL",
        "ssl_min_version": f"tlsv1.{options.min_version}",
    }


def connections(listeners: Listeners, sessions: Iterable[Talker]) -> StatsReply:
    """STAT conns."""
    numbers: dict[str, object] = {}
    for number, address in enumerate(listeners.addresses):
        kind = "" if address.startswith(("unix:", "udp:")) else "tcp:"
        numbers[f"{number}:addr"] = kind + address
        numbers[f"{number}:state"] = "conn_listening"
    for number, session in enumerate(sessions, len(numbers) // 2):
        numbers[f"{number}:addr"] = session.peer
        numbers[f"{number}:state"] = "conn_mwrite" if session.busy else "conn_read"
    return StatsReply(encoded(numbers))
