"""Runs a server in a process of its own: its event loop, its signals, its user, and the files about it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable

from memproto.server.errors import StartError
from memproto.server.garbage_collector import freezing
from memproto.server.log import log, log_level
from memproto.server.options import ProcessOptions
from memproto.server.process import (
    Background,
    allow_connections,
    drop_privileges,
    open_standard_streams,
    pid_file,
    write_ports,
)
from memproto.server.process_memory import ProcessMemory
from memproto.server.server import Server
from memproto.server.startup_signals import noting_signals
from memproto.server.store import Store
from memproto.server.tls import server_context

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def run(options: ProcessOptions) -> int:
    """Run a server until a signal or a client stops it; the exit code for the process.

    This configures logging, handles signals, and follows the options of the process: user, background, event loop.
    Why a server cannot start is one line on standard error. Raises ``SystemExit`` if uvloop is asked for and missing.
    """
    open_standard_streams()
    logging.basicConfig(level=log_level(options.verbose), format="%(asctime)s %(message)s", stream=sys.stderr)
    factory = loop_factory(options.loop)
    background = Background() if options.daemon else None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(serve(options, background))


async def serve(options: ProcessOptions, background: Background | None = None) -> int:
    """Serve until a signal, or a client with the right to do so, stops the server; the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in _STOPPING:
        loop.add_signal_handler(each, stop.set)
    try:
        allow_connections(options.connections)
        # Only root may be able to read the key. All other files belong to the user.
        tls = None if options.tls is None else server_context(options.tls)
        drop_privileges(options.user)
        memory = ProcessMemory()
        with noting_signals(_STOPPING) as stopped:
            store = Store(options, stopped)
        server = Server(options, tls=tls, store=store)
        server.limit_process_memory(memory)
        server.stopping = stop
        await server.start()
    except StartError as error:
        print(error, file=sys.stderr)
        return error.code
    if stopped():
        stop.set()
    loop.add_signal_handler(signal.SIGHUP, _reload, server)
    with freezing(server.connections), pid_file(options.pid_file):
        write_ports(os.environ.get("MEMCACHED_PORT_FILENAME"), server.listeners.ports)
        print(f"listening on {', '.join(server.addresses)}", file=sys.stderr, flush=True)
        if background is not None:
            background.finish(quiet=not options.verbose)
        await stop.wait()
        await server.stop()
    return 0


def _reload(server: Server) -> None:
    try:
        server.reload()
    except StartError as error:
        log.warning("not read again: %s", error)


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The function that makes the event loop; ``None`` for asyncio's own. Raises ``SystemExit`` without uvloop."""
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
