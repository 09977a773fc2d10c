"""Run the server until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable

from memproto.server.collector import freezing
from memproto.server.errors import StartError
from memproto.server.footprint import Footprint
from memproto.server.host import Server, log_level
from memproto.server.listeners import Listeners
from memproto.server.loading import signals_noted
from memproto.server.options import Options, parse
from memproto.server.process import (
    Background,
    allow_connections,
    become,
    open_standard_streams,
    pid_file,
    write_ports,
)
from memproto.server.session import log
from memproto.server.store import Store
from memproto.server.tls import refresh, server_context

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


async def serve(options: Options, background: Background | None = None) -> int:
    """Serve until a signal or a client with the right to do so ends it; the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in _STOPPING:
        loop.add_signal_handler(each, stop.set)
    try:
        allow_connections(options.connections)
        # The key may be for root alone; all else belongs to the user.
        tls = None if options.tls is None else server_context(options.tls)
        become(options.user)
        footprint = Footprint()
        with signals_noted(_STOPPING) as stopped:
            store = Store(options, stopped)
        server = Server(options, tls, store)
        server.keep_within(footprint)
        server.stopping = stop
        listeners = await server.start()
    except StartError as error:
        print(error, file=sys.stderr)
        return error.code
    if stopped():
        stop.set()
    loop.add_signal_handler(signal.SIGHUP, _read_again, server, listeners, options)
    with freezing(server.connections), pid_file(options.pid_file):
        write_ports(os.environ.get("MEMCACHED_PORT_FILENAME"), listeners.ports)
        print(f"listening on {', '.join(listeners.addresses)}", file=sys.stderr, flush=True)
        if background is not None:
            background.arrived(quiet=not options.verbose)
        await stop.wait()
        await server.stop()
    return 0


def _read_again(server: Server, listeners: Listeners, options: Options) -> None:
    """Users and certificates, for the connections to come; those that cannot be read stay as they are."""
    try:
        if server.users is not None:
            server.users.reload()
        if listeners.tls is not None and options.tls is not None:
            refresh(listeners.tls, options.tls)
    except StartError as error:
        log.warning("not read again: %s", error)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the event loop; ``None`` for asyncio's own."""
    if name == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if name == "uvloop":
            sys.exit("uvloop is not installed: pip install 'memproto[uvloop]'")
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def main() -> int:
    """The command line; the exit code."""
    open_standard_streams()
    options = parse()
    logging.basicConfig(level=log_level(options.verbose), format="%(asctime)s %(message)s", stream=sys.stderr)
    factory = loop_factory(options.loop)
    background = Background() if options.daemon else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve(options, background))


if __name__ == "__main__":
    sys.exit(main())
