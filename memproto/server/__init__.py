"""The reference server: memcached's options, dialects and answers, on asyncio.

``memproto serve`` runs it as a process. In a program of your own::

    async with Server(Options(port=-1, persist="items.sqlite")) as server:
        host, port = server.address
        ...  # clients connect
    # the items are in the file

The names exported here are public; the modules of this package are not.
"""

from memproto.server.command_line import parse_arguments
from memproto.server.errors import OptionsError, StartError
from memproto.server.options import Options, ProcessOptions, TlsOptions
from memproto.server.runner import run
from memproto.server.server import Server

__all__ = ["Options", "OptionsError", "ProcessOptions", "Server", "StartError", "TlsOptions", "parse_arguments", "run"]
