"""What a reply repeats of its request, by which the two can be told to belong together: opaque, key, or the form.

The name of a packet is its opcode and opaque as one number, or these with its key. The name of a line is the word of
its opaque, the word of its key, or, behind a ``=``, its form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

from memproto.model import BinaryEnvelope, ClassicEnvelope, Decrement, Envelope, Get, Increment, MetaEnvelope, Stats
from memproto.text._lines import words_of
from memproto.text.classic._commands import COMMANDS, END, VALUE
from memproto.text.meta._flags import KEY, OPAQUE

__all__ = ["Name", "has_name", "is_form", "is_opaque", "line_name", "names_of", "opaque_of", "packet_name"]

Name: TypeAlias = "int | bytes | tuple[int, bytes]"

_FORM: Final = b"="
_NUMBER: Final = b"=number"
_END: Final = _FORM + END
_MN: Final = b"MN"
# The meta replies that return flags.
_WITH_FLAGS: Final = frozenset({b"HD", b"VA", b"EN", b"NF", b"NS", b"EX"})


def packet_name(opcode: int, opaque: int) -> int:
    """The name of a packet without a key."""
    return opcode << 32 | opaque


def line_name(line: bytes) -> Name:
    """The name of the reply that begins with a line: the one that says most."""
    words = words_of(line)
    code = words[0] if words else b""
    if code == VALUE:
        return b" ".join(words[:2])
    for letter in (OPAQUE, KEY) if code in _WITH_FLAGS else ():
        for word in words[1:]:
            if word.startswith(letter):
                return word
    return _NUMBER if code.isdigit() else _FORM + line


def is_form(name: Name) -> bool:
    """Whether a name says no more than the form of the reply."""
    return isinstance(name, bytes) and name.startswith(_FORM)


def is_opaque(name: Name) -> bool:
    """Whether a name is the opaque, which a client may use for several requests."""
    return isinstance(name, int) or (isinstance(name, bytes) and name.startswith(OPAQUE))


def has_name(envelope: MetaEnvelope, names: tuple[Name, ...], name: Name) -> bool:
    """Whether the reply to a meta request may have this name; ``names`` are all of them, if they are known.

    A form that no request has may be any reply's.
    """
    return is_form(name) or name in (names or names_of(envelope))


def opaque_of(envelope: Envelope) -> int | bytes | None:
    """The opaque of a request, ``None`` if it has none."""
    if isinstance(envelope, BinaryEnvelope):
        return envelope.opaque or None
    if isinstance(envelope, MetaEnvelope):
        return next((word for word in envelope.flags if word.startswith(OPAQUE)), None)
    return None


def names_of(envelope: Envelope) -> tuple[Name, ...]:
    """All names that the reply to a request may have, each once."""
    return tuple(dict.fromkeys(_names_of(envelope)))


def _names_of(envelope: Envelope) -> Iterator[Name]:
    request = envelope.request
    keys = request.keys if isinstance(request, Get) else ()
    if isinstance(envelope, BinaryEnvelope):
        name = packet_name(envelope.opcode, envelope.opaque)
        yield name
        for key in keys:
            yield name, key
    elif isinstance(envelope, MetaEnvelope):
        if (opaque := opaque_of(envelope)) is not None:
            yield opaque
        if KEY in envelope.flags:
            # As it stands in the line: the reply has it in base64, too.
            yield KEY + words_of(envelope.line)[1]
        if envelope.command == b"mn":
            yield _FORM + _MN
    else:
        assert isinstance(envelope, ClassicEnvelope)
        for key in keys:
            yield VALUE + b" " + key
        if isinstance(request, Get | Stats):
            yield _END
        elif isinstance(request, Increment | Decrement):
            yield _NUMBER
        elif envelope.verb in COMMANDS:
            yield _FORM + COMMANDS[envelope.verb].success
