"""The statistics of the process and its connections; the engine has those of the cache."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping
from typing import Protocol

from memproto import StatsReply
from memproto.server.listeners import Listeners
from memproto.server.options import Options, TlsOptions

# Statistics that clients expect, of parts that this server does not have: slabs, threads, LRU segments, a log to watch.
# A flushed item is a miss like any other.
_ALWAYS_ZERO = """
    response_obj_oom response_obj_count response_obj_bytes read_buf_count read_buf_bytes read_buf_bytes_free
    read_buf_oom reserved_fds get_flushed listen_disabled_num time_in_listen_disabled_us hash_power_level
    hash_bytes hash_is_expanding slab_reassign_rescues slab_reassign_chunk_rescues slab_reassign_evictions_nomem
    slab_reassign_inline_reclaim slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_running
    slabs_moved lru_crawler_running lru_crawler_starts lru_maintainer_juggles malloc_fails log_worker_dropped
    log_worker_written log_watcher_skipped log_watcher_sent log_watchers unexpected_napi_ids
    round_robin_fallback slab_global_page_pool evicted_active reclaimed crawler_items_checked lrutail_reflocked
    moves_to_cold moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped
"""
_PROTOCOL_NAMES = {"auto": "auto-negotiate"}


class Counts(Protocol):
    """The counters of the server."""

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


class ClientSession(Protocol):
    """A session."""

    #: When it was last answered, in Unix seconds.
    last_active: float

    @property
    def peer(self) -> str:
        """The address of the client."""
        ...

    @property
    def listener(self) -> str:
        """The address that the client has connected to."""
        ...

    @property
    def state(self) -> str:
        """The state of the connection."""
        ...


def encode(numbers: Mapping[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    """Statistics as pairs of bytes."""
    return tuple((name.encode(), str(number).encode()) for name, number in numbers.items())


def process(counts: Counts, options: Options, open_: int, now: float) -> StatsReply:
    """The statistics of the process, in the reply to ``stats``."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return StatsReply(
        encode(
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
                **dict.fromkeys(_ALWAYS_ZERO.split(), 0),
                **({"idle_kicks": counts.idle_kicks} if options.idle_timeout else {}),
            }
        )
    )


def settings(counts: Counts, options: Options) -> StatsReply:
    """The settings of the process, in the reply to ``stats settings``."""
    return StatsReply(
        encode(
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
                "binding_protocol": _PROTOCOL_NAMES.get(options.binding_protocol, options.binding_protocol),
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


def connections(listeners: Listeners, sessions: Iterable[ClientSession], now: float, started: float) -> StatsReply:
    """The reply to ``stats conns``."""
    numbers: dict[str, object] = {}
    for number, address in enumerate(listeners.addresses):
        kind = "" if address.startswith(("unix:", "udp:")) else "tcp:"
        numbers[f"{number}:addr"] = kind + address
        numbers[f"{number}:state"] = "conn_read" if address.startswith("udp:") else "conn_listening"
        numbers[f"{number}:secs_since_last_cmd"] = int(now - started)
    for number, session in enumerate(sessions, len(listeners.addresses)):
        numbers[f"{number}:addr"] = session.peer
        numbers[f"{number}:listen_addr"] = session.listener
        numbers[f"{number}:state"] = session.state
        numbers[f"{number}:secs_since_last_cmd"] = int(now - session.last_active)
    return StatsReply(encode(numbers))
