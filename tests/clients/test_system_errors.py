"""Whose error it is: the system's, or one that a signal handler raises in the middle of an operation."""

from __future__ import annotations

import errno
import socket

import pytest

from memproto.clients.system_errors import is_system_error


def test_an_error_of_a_system_call_is_the_systems() -> None:
    with socket.socket() as closed:
        pass
    with pytest.raises(OSError, match="Bad file descriptor") as found:
        closed.send(b"x")
    # The function that has called the operation is the only frame.
    assert is_system_error(found.value)


def test_an_error_that_passes_through_the_module_socket_is_the_systems() -> None:
    with pytest.raises(socket.gaierror) as found:
        socket.getaddrinfo("name.invalid", 0, flags=socket.AI_NUMERICHOST)
    assert str(found.traceback[-1].path) == socket.__file__
    assert is_system_error(found.value)


def test_the_same_error_raised_by_a_function_of_the_program_is_not() -> None:
    def handler() -> None:
        raise BlockingIOError(errno.EAGAIN, "as the system does")

    with pytest.raises(BlockingIOError) as found:
        handler()
    assert not is_system_error(found.value)
