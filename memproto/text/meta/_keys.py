"""Keys as words of a meta line: as they are, or in base64."""

from __future__ import annotations

import binascii
from base64 import b64encode
from typing import Final

from memproto._wire.checks import check_bytes
from memproto.errors import LocalProtocolError
from memproto.limits import MAX_KEY

#: The longest key that base64 can carry, in bytes.
MAX_BASE64_KEY: Final = MAX_KEY // 4 * 3

_PRINTABLE: Final = bytes(range(0x21, 0x7F))


def decoded_key(word: bytes) -> bytes | None:
    """The key that a base64 word stands for, ``None`` if it is not base64 with padding as an encoder writes it."""
    try:
        key = binascii.a2b_base64(word)
    except binascii.Error:
        return None
    # The decoder ignores foreign bytes, too much padding and unused bits; but a key has one spelling only.
    return key if key and b64encode(key) == word else None


def needs_base64(key: bytes) -> bool:
    """Whether a key cannot stand in a line as it is."""
    return key.translate(None, _PRINTABLE) != b""


def is_word(key: bytes) -> bool:
    """Whether this is a key, of the right type, that can stand in a line as it is."""
    return type(key) is bytes and 0 < len(key) <= MAX_KEY and not key.translate(None, _PRINTABLE)


def key_word(key: bytes, encoded: bool) -> bytes:
    """The key as it stands in a line. Raises LocalProtocolError if that is too long.

    A server refuses a longer word, and reads the data behind the line as commands.
    """
    check_bytes("key", key, MAX_KEY, 1)
    word = b64encode(key) if encoded else key
    if len(word) > MAX_KEY:
        raise LocalProtocolError(f"key is {len(key)} bytes and needs base64, limit is {MAX_BASE64_KEY}")
    return word
