"""Why the server cannot start."""

from __future__ import annotations


class StartError(Exception):
    """The server cannot start as its options say; the text is one line for the user."""

    #: The exit code that memcached has for it.
    code = 64  # EX_USAGE


class OptionsError(StartError, ValueError):
    """An option is out of range, or two do not go together; the text says which and why."""


class ListenError(StartError):
    """Some address cannot be listened on; the text says which and why."""

    code = 71  # EX_OSERR


class AuthFileError(StartError):
    """The file of users cannot be read or breaks a rule; the text says which file, line and rule."""

    code = 1  # EXIT_FAILURE


class TlsError(StartError):
    """The certificate, the key or a setting of TLS cannot be used."""


class UserError(StartError):
    """The user to run as is not known, or cannot be become."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
