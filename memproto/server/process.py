"""What a server is to the system: its user, its place in the background, the files that tell of it."""

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
        # In a container that may not even do this there are no other groups to lose.
        with suppress(PermissionError):
            os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        raise UserError(f"failed to assume identity of user {user}: {error.strerror}", _OS_ERROR) from error


def open_standard_streams() -> None:
    """Have something behind standard input, output and error, whatever the process was started with.

    Else the first files and sockets that are opened take their numbers, and what is written to standard error, or
    done to it by ``-d``, happens to them. To be called before anything is opened.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lasts


class Background:
    """Where ``-d`` takes the server to. Made before there is an event loop, which would not survive it.

    What was started in the foreground waits, and ends well once the server says :meth:`arrived`, or with the exit
    code of a server that could not. Until then all errors go to the terminal. The working directory
    stays, so that relative paths remain right.
    """

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        child = os.fork()
        if child:
            os.close(self._writing)
            _wait_for(child, reading)
        os.close(reading)
        os.setsid()

    def arrived(self, quiet: bool) -> None:
        """The server listens. If it is to be ``quiet``, it lets go of the terminal."""
        with open(os.devnull, "r+b", buffering=0) as nothing:
            for stream in (0, 1, 2) if quiet else (0,):
                os.dup2(nothing.fileno(), stream)
        # Whoever started it may be gone already.
        with suppress(BrokenPipeError):
            os.write(self._writing, b"!")
        os.close(self._writing)


def _wait_for(child: int, reading: int) -> None:
    """In the foreground: end as soon as, and as well as, the server has started."""
    started = os.read(reading, 1)
    # Not sys.exit(): all that Python would do on leaving is the child's to do.
    os._exit(0 if started else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)


@contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """A file with the process number for as long as it runs. If it cannot be, that is told, as memcached does."""
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
    """Write where the server listens, for whoever gave it ``-p -1``: lines such as ``TCP INET: 11211``."""
    if path:
        _write(Path(path), [f"{line}\n" for line in lines])


def _write(path: Path, lines: Iterable[str]) -> None:
    # Whoever waits for the file finds all of it.
    partial = path.with_name(f"{path.name}.lck")
    try:
        partial.write_text("".join(lines))
        partial.replace(path)
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
        with suppress(OSError):
            partial.unlink()
