"""The command line of a subcommand: a mistake in it is one line on standard error, and the exit code 2."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import NoReturn

from memproto.cli.exit_codes import WRONG_COMMAND_LINE

__all__ = ["CommandLine"]


class CommandLine(ArgumentParser):
    """The parser of a subcommand. ``description`` and ``epilog`` stand in the help as they are written."""

    def __init__(self, subcommand: str, description: str, epilog: str | None = None) -> None:
        super().__init__(
            prog=f"memproto {subcommand}",
            description=description,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Print the mistake, without the usage, and end the program with 2."""
        self.exit(WRONG_COMMAND_LINE, f"{self.prog}: error: {message}; see {self.prog} --help\n")
