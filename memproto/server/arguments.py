"""Every option of the command line: memcached's by its short and long name, and our own."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from collections.abc import Callable

from memproto import __version__
from memproto.server.argument_types import character, factor, number, octal, size
from memproto.server.extended_options import EFFECTIVE
from memproto.udp import MAX_DATAGRAMS

#: Checked as memcached checks it, and without effect: short, long, value, its type, why.
_INERT: tuple[tuple[str, str, str, Callable[[str], object], str], ...] = (
    ("-r", "--enable-coredumps", "", str, "core files are as the system has them"),
    ("-k", "--lock-memory", "", str, "memory is not locked"),
    ("-L", "--enable-largepages", "", str, "there are no large pages"),
    ("-X", "--disable-dumping", "", str, "there are no dumps"),
    ("-W", "--disable-watch", "", str, "there is nothing to watch"),
    ("-f", "--slab-growth-factor", "FACTOR", factor, "there are no slabs"),
    ("-n", "--slab-min-size", "BYTES", number(1, "Chunk size must be greater than 0"), "there are no slabs"),
    ("-t", "--threads", "N", number(1, "Number of threads must be greater than 0"), "there is one thread"),
    ("-D", "", "CHAR", character, "prefixes of keys end at a colon"),
    (
        "-N",
        "--napi-ids",
        "N",
        number(1, "Maximum number of NAPI IDs must be greater than 0"),
        "there is one thread",
    ),
)

_ANY = number(-(1 << 31), "too small")


def add_to(made: ArgumentParser, listen: type[Action], extended: type[Action]) -> None:
    """Declare all options."""
    _where(made, listen)
    _what(made)
    _how(made, extended)
    _own(made)
    add = made.add_argument_group("memcached's, accepted and without effect").add_argument
    for short, long, value, kind, why in _INERT:
        names = (short, long) if long else (short,)
        if value:
            add(*names, dest=short, metavar=value, type=kind, help=why)
        else:
            add(*names, dest=short, action="store_true", help=why)


def _where(made: ArgumentParser, listen: type[Action]) -> None:
    add = made.add_argument_group("where it listens").add_argument
    tcp = "TCP port; -1 takes a free one, 0 is none (default: 11211, or that of -U; none with -s)"
    udp = "UDP port; -1 takes a free one, 0 is none (default: 0)"
    addresses = (
        "addresses, separated by commas, each with a :PORT of its own if you like; * is every interface; "
        "notls: before one keeps it without TLS; a second -l adds to them (default: 127.0.0.1)"
    )
    mode = "access to the Unix socket, in octal (default: 700)"
    queue = "connections that wait to be accepted (default: 1024)"
    add("-p", "--port", dest="port", metavar="PORT", type=_ANY, help=tcp)
    add("-U", "--udp-port", dest="udp", metavar="PORT", type=_ANY, help=udp)
    add("-s", "--unix-socket", dest="path", metavar="PATH", help="Unix socket; without -p, instead of TCP")
    add("-a", "--unix-mask", dest="path_mode", metavar="MODE", type=octal, default=0o700, help=mode)
    add("-l", "--listen", dest="host", metavar="ADDR", action=listen, default="127.0.0.1", help=addresses)
    add("-b", "--listen-backlog", dest="backlog", metavar="N", type=_ANY, default=1024, help=queue)


def _what(made: ArgumentParser) -> None:
    add = made.add_argument_group("what it keeps and answers").add_argument
    item = "largest item, 1k to 1g and at most half of -m; k, m and g are understood (default: 1m)"
    full = "refuse a store when memory is full, instead of forgetting items"
    spoken = "what is spoken: ascii, binary, or auto, which goes by the first byte (default: auto)"
    users = "text authentication by FILE, lines of user:password; text only, or with -S for SASL"
    add("-m", "--memory-limit", dest="memory", metavar="MEGABYTES", type=_ANY, default=64, help="memory (default: 64)")
    add("-M", "--disable-evictions", dest="no_evict", action="store_true", help=full)
    add("-I", "--max-item-size", dest="item_size", metavar="SIZE", type=size, default="1m", help=item)
    add("-B", "--protocol", dest="protocol", metavar="NAME", help=spoken)
    add("-C", "--disable-cas", dest="no_cas", action="store_true", help="no CAS: it is 0 everywhere")
    add("-F", "--disable-flush-all", dest="no_flush", action="store_true", help="refuse to flush")
    add("-A", "--enable-shutdown", dest="shutdown", action="store_true", help='take the text command "shutdown"')
    add("-S", "--enable-sasl", dest="sasl", action="store_true", help="SASL PLAIN authentication; binary only")
    add("-Y", "--auth-file", dest="auth_file", metavar="FILE", help=users)


def _how(made: ArgumentParser, extended: type[Action]) -> None:
    add = made.add_argument_group("how it runs").add_argument
    connections = number(1, "Maximum connections must be greater than 0")
    turn = number(1, "Number of requests per event must be greater than 0")
    most = "most connections at a time (default: 1024)"
    row = "most requests of one connection in a row (default: 100)"
    words = f"words separated by commas; effective are {', '.join(EFFECTIVE)}; memcached's others do nothing"
    add("-c", "--conn-limit", dest="connections", metavar="N", type=connections, default=1024, help=most)
    add("-R", "--max-reqs-per-event", dest="requests", metavar="N", type=turn, default=100, help=row)
    add("-Z", "--enable-ssl", dest="tls", action="store_true", help="TLS on TCP; needs -o ssl_chain_cert=FILE")
    add("-o", "--extended", dest="extended", metavar="WORDS", action=extended, default={}, help=words)
    add("-u", "--user", dest="user", metavar="NAME", help="become NAME before listening; only if started by root")
    add("-d", "--daemon", dest="daemon", action="store_true", help="go to the background once it listens")
    add("-P", "--pidfile", dest="pid_file", metavar="FILE", help="write the process number to FILE")
    add("-v", "--verbose", dest="verbose", action="count", default=0, help="tell what happens; twice: tell more")
    add("-V", "--version", action="version", version=f"memcached 1.6.18 (memproto {__version__})", help="print it, end")
    add("-i", "--license", action="version", version=f"memproto {__version__}, MIT license", help="print it, end")


def _own(made: ArgumentParser) -> None:
    add = made.add_argument_group("not memcached's").add_argument
    loops = ("auto", "asyncio", "uvloop")
    datagrams = number(1, f"must be 1 to {MAX_DATAGRAMS}", MAX_DATAGRAMS)
    sync = "with --persist: full waits for the disk at each commit (default: normal)"
    most = "most datagrams of one reply over UDP (default: 1024)"
    add("--loop", choices=loops, default="auto", help="event loop; auto takes uvloop if it is installed")
    add("--persist", metavar="PATH", help="keep the items in this file over a restart")
    add("--sync", choices=("normal", "full"), help=sync)
    add("--datagrams", metavar="N", type=datagrams, default=1024, help=most)
