"""Authentication: memcached's file of users, and SASL PLAIN, in which form text authentication arrives too."""

from __future__ import annotations

from hmac import compare_digest
from pathlib import Path

from memproto import AnyReply, Authenticated, Challenge, Failure, Mechanisms, SaslAuth, SaslList, SaslStep, Status
from memproto.server.errors import AuthFileError
from memproto.server.options import Options

_PLAIN = b"PLAIN"
_REFUSED = Failure(Status.AUTH_ERROR)
#: memcached's limits. It drops further users silently, which would lock them out.
_MOST_USERS = 8
_LONGEST_LINE = 254


class Users:
    """Users and their passwords.

    With ``realms`` a user may also say ``user@realm``, as SASL has it; the realm is not looked at. With ``fields`` the
    file is memcached's SASL password database: a line may go on behind the password with ``:`` and anything, and
    there is no limit on lines. :meth:`reload` reads the file again.
    """

    def __init__(self, path: Path, entries: tuple[tuple[bytes, bytes], ...], *, realms: bool, fields: bool) -> None:
        self._path = path
        self._entries = entries
        self._realms = realms
        self._fields = fields

    @classmethod
    def load(cls, path: str | Path, *, realms: bool = True, fields: bool = False) -> Users:
        """Read the file of ``user:password`` lines. Raises :class:`~memproto.server.errors.AuthFileError`."""
        # Absolute, because the working directory may change before it is read again.
        where = Path(path).absolute()
        return cls(where, _read(where, fields), realms=realms, fields=fields)

    @classmethod
    def load_for(cls, options: Options) -> Users | None:
        """The users of ``options.auth_file``; ``None`` without authentication. Raises ``AuthFileError``."""
        if options.auth_file is None:
            return None
        return cls.load(options.auth_file, realms=options.sasl, fields=options.auth_fields)

    def reload(self) -> None:
        """Read the file again. Raises ``AuthFileError``, and then the old users remain."""
        self._entries = _read(self._path, self._fields)

    def answer(self, request: SaslList | SaslAuth | SaslStep) -> AnyReply:
        """The reply to a SASL request; a step is taken for the answer to an empty challenge."""
        if isinstance(request, SaslList):
            return Mechanisms((_PLAIN,))
        if request.mechanism != _PLAIN:
            return _REFUSED
        if isinstance(request, SaslAuth) and not request.data:
            return Challenge(b"")
        return Authenticated() if self._accepts(request.data) else _REFUSED

    def _accepts(self, data: bytes) -> bool:
        parts = data.split(b"\0")
        if len(parts) != 3:
            return False
        for_whom, user, password = parts
        return for_whom in (b"", user) and self.knows(user, password)

    def knows(self, user: bytes, password: bytes) -> bool:
        """Whether this is a user's password. It takes as long for the first user as for the last and for none."""
        names = [user]
        if self._realms and b"@" in user:
            names.append(user.rpartition(b"@")[0])
        known = False
        for name in names:
            for entry_user, entry_password in self._entries:
                known |= compare_digest(name, entry_user) & compare_digest(password, entry_password)
        return known


def _read(path: Path, fields: bool) -> tuple[tuple[bytes, bytes], ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise AuthFileError(f"{path}: cannot be read: {error.strerror}") from error
    if not lines:
        raise AuthFileError(f"{path}: no users: there must be lines of user:password")
    if len(lines) > _MOST_USERS and not fields:
        raise AuthFileError(f"{path}:{_MOST_USERS + 1}: too many users, the limit is {_MOST_USERS}")
    return tuple(_entry(path, number, line, fields) for number, line in enumerate(lines, 1))


def _entry(path: Path, number: int, line: bytes, fields: bool) -> tuple[bytes, bytes]:
    user, colon, password = line.partition(b":")
    if fault := _fault(line, user, colon):
        # Without the line itself, because there may be a password in it.
        raise AuthFileError(f"{path}:{number}: {fault}")
    return user, password.partition(b":")[0] if fields else password


def _fault(line: bytes, user: bytes, colon: bytes) -> str:
    if len(line) > _LONGEST_LINE:
        return f"line is {len(line)} bytes, the limit is {_LONGEST_LINE}"
    if b"\0" in line:
        return "a zero byte, which neither a user nor a password can have"
    if not colon:
        return "no colon: it must be user:password"
    return "" if user else "the user before the colon is empty"
