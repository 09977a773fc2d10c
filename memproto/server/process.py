"""The process of a server: its user, its limits, its place in the background, the files about it."""

from __future__ import annotations

import os
import pwd
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from memproto.server.errors import StartError, UserError

_NO_USER, _OS_ERROR = 67, 71  # EX_NOUSER, EX_OSERR
#: Files that are open besides those of the connections.
_OTHER_FILES = 64


class FilesError(StartError):
    """The system does not let it have a file open for each connection."""

    code = _OS_ERROR


def allow_connections(most: int) -> None:
    """Raise the limit of open files so far that there is room for them. Raises :class:`FilesError`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    for limits in ((wanted, hard), (wanted, wanted), (hard, hard)):
        # Only root may raise the hard one.
        with suppress(OSError, ValueError, OverflowError):
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            break
    if 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] < most:
        raise FilesError("failed to set rlimit for open files. Try starting as root or requesting smaller -c value.")


def drop_privileges(user: str | None) -> None:
    """Give up the rights of root for those of ``user``. Raises :class:`~memproto.server.errors.UserError`.

    Done before listening, as memcached does it: so a Unix socket and all files belong to the user, who can remove them.
    """
    if user is None or os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise UserError(f"can't find the user {user} to switch to", _NO_USER) from None
    try:
        # In a container that may not even do this there are no other groups.
        with suppress(PermissionError):
            os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        raise UserError(f"failed to assume identity of user {user}: {error.strerror}", _OS_ERROR) from error


def open_standard_streams() -> None:
    """Open standard input, output and error if the process was started without them. Call it before all other files.

    Otherwise the first files and sockets would take their numbers, and what is written to standard error would
    be written to them.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The system takes the lowest free number.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lasts


class Background:
    """Moves the process to the background, for ``-d``. Created before the event loop, which would not survive the fork.

    The process in the foreground waits. It ends with exit code 0 once the server calls :meth:`finish`, or with the
    exit code of a server that could not start. Until then all errors go to the terminal. The working directory
    does not change, so that relative paths remain right.
    """

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        child = os.fork()
        if child:
            os.close(self._writing)
            _wait_for(child, reading)
        os.close(reading)
        os.setsid()

    def finish(self, quiet: bool) -> None:
        """End the process in the foreground: the server listens. A ``quiet`` one closes the terminal, too."""
        with open(os.devnull, "r+b", buffering=0) as nothing:
            for stream in (0, 1, 2) if quiet else (0,):
                os.dup2(nothing.fileno(), stream)
        # The process in the foreground may have been killed.
        with suppress(BrokenPipeError):
            os.write(self._writing, b"!")
        os.close(self._writing)


def _wait_for(child: int, reading: int) -> None:
    """In the foreground: end when the server has started, or failed to."""
    started = os.read(reading, 1)
    # Not sys.exit(): the child does what Python does at exit.
    os._exit(0 if started else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


@contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """A file with the process number for as long as it runs. As in memcached it is no error if it cannot be written."""
    if path is None:
        yield
        return
    where = Path(path).absolute()
    line = f"{os.getpid()}\n"
    _write(where, [line])
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            # A server that was started since may have written its own.
            if where.read_text() == line:
                where.unlink()


def write_ports(path: str | None, lines: Iterable[str]) -> None:
    """Write the ports, for those who start it with ``-p -1``: lines such as ``TCP INET: 11211``."""
    if path:
        _write(Path(path), [f"{line}\n" for line in lines])


def _write(path: Path, lines: Iterable[str]) -> None:
    # A reader that waits for the file finds it complete.
    partial = path.with_name(f"{path.name}.lck")
    try:
        partial.write_text("".join(lines))
        partial.replace(path)
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
        with suppress(OSError):
            partial.unlink()
