"""What a user hands to a constructor: refused there, by an error that names the value seen and the type expected."""

from __future__ import annotations

from collections.abc import Collection

from memproto._fields import check_fields, describe, with_article
from memproto.errors import LocalProtocolError
from memproto.limits import Limits
from memproto.model import Dialect, Envelope


def _seen(value: object) -> str:
    return f"{value!r:.60}" if isinstance(value, str | bytes | int | float) else describe(value)


def misuse(name: str, value: object, words: str) -> LocalProtocolError:
    """The error of an argument that must be what ``words`` say."""
    return LocalProtocolError(f"{name} is {_seen(value)}, must be {words}")


def limits_of(limits: object) -> Limits:
    """The limits given, the usual ones for ``None``. Raises LocalProtocolError."""
    if limits is None:
        return Limits()
    if not isinstance(limits, Limits):
        raise misuse("limits", limits, "a Limits")
    return limits


def check_dialect(name: str, dialect: object, hint: str = "") -> None:
    """Raise LocalProtocolError unless this is a member of Dialect; ``hint`` says what else the user may have meant."""
    if not isinstance(dialect, Dialect):
        names = ", ".join(f"Dialect.{member.name}" for member in Dialect)
        raise misuse(name, dialect, f"a member of Dialect ({names}){hint}")


def dialects_of(dialects: object) -> frozenset[Dialect]:
    """The dialects of a collection, of which there is one at least. Raises LocalProtocolError."""
    if isinstance(dialects, str | bytes) or not isinstance(dialects, Collection):
        raise misuse("dialects", dialects, "a collection of Dialect members")
    chosen = set()
    for each in dialects:
        check_dialect("one of the dialects", each)
        chosen.add(each)
    if not chosen:
        raise LocalProtocolError("dialects are none, at least one must be allowed")
    return frozenset(chosen)


def check_bool(name: str, value: object) -> None:
    """Raise LocalProtocolError unless this is true or false."""
    if not isinstance(value, bool):
        raise misuse(name, value, "True or False")


def bytes_of(name: str, data: object) -> bytes:
    """The bytes of what was received. Raises LocalProtocolError, for a number too, of which bytes() makes NULs."""
    if isinstance(data, bytes):
        return data
    if not isinstance(data, bytearray | memoryview):
        raise misuse(name, data, "bytes, a bytearray or a memoryview")
    return bytes(data)


def check_envelope(name: str, envelope: object, *kinds: type[Envelope]) -> None:
    """Raise LocalProtocolError unless this is an envelope of these kinds whose fields are of the declared types."""
    if not isinstance(envelope, kinds):
        raise misuse(name, envelope, " or ".join(with_article(kind.__name__) for kind in kinds))
    check_fields(envelope)
