"""The exit codes of the command, by the names of sysexits.h where it has one."""

from __future__ import annotations

from typing import Final

#: A miss, or an item that was not stored because its condition does not hold.
MISS: Final = 1
#: The command line is wrong; as argparse and most programs have it.
WRONG_COMMAND_LINE: Final = 2
USAGE: Final = 64
DATA_ERROR: Final = 65
NO_INPUT: Final = 66
UNAVAILABLE: Final = 69
SOFTWARE: Final = 70
#: memcached, too, has it for an address that it cannot listen on.
OS_ERROR: Final = 71
PROTOCOL: Final = 76
NO_PERMISSION: Final = 77
#: As a shell has it for a program that SIGINT has ended.
INTERRUPTED: Final = 130
