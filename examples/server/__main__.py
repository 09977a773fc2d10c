"""Run the server until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

from examples.server.host import Server, log_level
from examples.server.listeners import ListenError
from examples.server.options import Options, parse


async def serve(options: Options) -> int:
    """Serve until a signal comes; the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    server = Server(options)
    try:
        listeners = await server.start()
    except ListenError as error:
        print(f"cannot listen on {error}", file=sys.stderr)
        return 71  # EX_OSERR, as memcached
    print(f"listening on {', '.join(listeners.addresses)}", file=sys.stderr, flush=True)
    await stop.wait()
    await server.stop()
    return 0


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
    options = parse()
    logging.basicConfig(level=log_level(options.verbose), format="%(asctime)s %(message)s", stream=sys.stderr)
    with asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        return runner.run(serve(options))


if __name__ == "__main__":
    sys.exit(main())
