"""Meta replies of any form, read strictly."""

from __future__ import annotations

from typing import Final

from memproto import model
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64
from memproto._wire.exchange import Exchange
from memproto._wire.growing import too_large
from memproto.errors import RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, Failure, Item, Request, Status
from memproto.text._client_readers import TextReader
from memproto.text._failures import failure_in, unexpected
from memproto.text._lines import CRLF, read_line, unsigned, words_of
from memproto.text.meta._flags import BASE64, FLAGS_OF, KEY, OPAQUE, RETURNED, STATUSES, UNASKED, VALUE
from memproto.text.meta._keys import decoded_key
from memproto.text.meta._operations import key_of

# The requests whose replies may have a value.
_VALUED = (model.Get, model.Increment, model.Decrement)

# Letter -> the field of a reply that it carries as a number.
_NUMBERS: Final = {
    letter: field for returned in RETURNED.values() for letter, field in returned.items() if letter not in (KEY, OPAQUE)
}
# What only an ItemMeta has, and the flags of mg that ask for one.
_ITEM_META_NUMBERS: Final = frozenset({"ttl", "hit_before", "last_access"})
_ITEM_META_FLAGS: Final = frozenset(
    flag.letter for flag in FLAGS_OF[b"mg"].values() if flag.option in ("details", "vivify", "recache")
)
_NO_STATUSES: Final[dict[bytes, Status]] = {}
_NO_ITEM_META: Final = model.ItemMeta()


class IrregularReply(TextReader):
    """Reads the reply to one meta command, of whatever form, from the head of the stream.

    ``flags`` are those of the request. With ``strict`` the reply must carry the key and the opaque that they ask for;
    else they may be missing, but for the key of a success.
    """

    __slots__ = ("_has_spaced_key", "_head", "_refusal", "flags", "limits", "request", "strict")

    def __init__(
        self, request: Request[object], flags: tuple[bytes, ...], limits: Limits, strict: bool = False
    ) -> None:
        self.request = request
        self.flags = flags
        self.limits = limits
        self.strict = strict
        # Of a VA line: the size of the value, how much of it is kept, and the flags.
        self._head: tuple[int, int, list[bytes]] | None = None
        self._refusal: Failure | None = None
        # Whether the reply had a key with spaces, which is not among its words.
        self._has_spaced_key = False

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        if self._head is None:
            line = read_line(buffer, self.limits)
            if line is None:
                return None
            words = self._words_of(line)
            if words[:1] != [b"VA"]:
                return self._reply_without_value(line, words)
            self._read_head(line, words, buffer)
        return self._read_value(buffer)

    def _words_of(self, line: bytes) -> list[bytes]:
        """The words of a reply. A key with spaces is not among them: binary clients can store such keys."""
        if not isinstance(self.request, model.Get | model.Touch):
            return words_of(line)
        key = b" k" + key_of(self.request)
        at = line.find(key) if b" " in key[1:] else -1
        if at < 0 or line[at + len(key) : at + len(key) + 1] not in (b"", b" "):
            return words_of(line)
        self._has_spaced_key = True
        return words_of(line[:at] + line[at + len(key) :])

    # --- a reply with a value

    def _read_head(self, line: bytes, words: list[bytes], buffer: ReceiveBuffer) -> None:
        size = unsigned(words[1], U32) if len(words) > 1 else None
        if size is None or VALUE not in self.flags or not isinstance(self.request, _VALUED):
            raise unexpected(line, type(self.request).__name__)
        self._check_echo(words[2:], success=True)
        self._head = size, size, words[2:]
        if size > self.limits.value:
            self._refusal = too_large(f"value is {size} bytes, limit is {self.limits.value}")
            buffer.discard(size)
            self._head = size, 0, []

    def _read_value(self, buffer: ReceiveBuffer) -> AnyReply | None:
        assert self._head is not None
        size, kept, flags = self._head
        if not buffer.gather(kept + 2):
            return None
        at = buffer.at
        if buffer.data[at + kept : at + kept + 2] != CRLF:
            raise RemoteProtocolError(f"value is not followed by CR LF after {size} bytes")
        buffer.at = at + kept + 2
        return self._refusal or self._success(flags, buffer.data[at : at + size])

    # --- a reply without one

    def _reply_without_value(self, line: bytes, words: list[bytes]) -> AnyReply:
        code = words[0] if words else b""
        request = self.request
        failure = None if code == b"HD" else failure_in(line)
        if failure is not None:
            return failure
        if code == b"MN" and isinstance(request, model.Noop):
            return model.Ok()
        if code == b"ME" and isinstance(request, model.MetaDebug):
            return self._debug_info(line, words, request.key)
        if code == b"EN" and isinstance(request, model.Get | model.Touch | model.MetaDebug):
            self._check_echo(words[1:])
            return model.Values() if isinstance(request, model.Get) else Failure(Status.KEY_NOT_FOUND)
        status = STATUSES.get(type(request), _NO_STATUSES).get(code)
        if status is not None:
            self._check_echo(words[1:])
            return Failure(status)
        if code != b"HD" or isinstance(request, model.Noop | model.MetaDebug) or self._must_have_value():
            raise unexpected(line, type(request).__name__)
        self._check_echo(words[1:], success=True)
        return self._success(words[1:], None)

    def _must_have_value(self) -> bool:
        """Whether a value is asked for; it is left out if the client named the CAS of the one that it has."""
        if VALUE not in self.flags or not isinstance(self.request, _VALUED):
            return False
        return not (isinstance(self.request, model.Get) and any(word[:1] == b"C" for word in self.flags))

    def _debug_info(self, line: bytes, words: list[bytes], key: bytes) -> model.MetaDebugReply:
        if words[1:2] != [key] and decoded_key(b"".join(words[1:2])) != key:
            raise unexpected(line, f"MetaDebug of {key!r}")
        pairs = [word.partition(b"=") for word in words[2:]]
        return model.MetaDebugReply(tuple((name, value) for name, _, value in pairs))

    # --- what the flags say

    def _success(self, words: list[bytes], value: bytes | None) -> AnyReply:
        request = self.request
        numbers = _numbers_in(words)
        cas = numbers.get("cas", 0)
        if isinstance(request, model.Get):
            meta = self._item_meta(words, numbers, value is not None)
            encoded = BASE64 in words
            return model.Values((Item(request.keys[0], value or b"", numbers.get("flags", 0), cas, encoded, meta),))
        if isinstance(request, model.Touch):
            return model.Touched(numbers.get("flags", 0), cas)
        if isinstance(request, model.Delete):
            return model.Deleted(cas)
        if isinstance(request, model.Increment | model.Decrement):
            number = unsigned(value or b"", U64) if VALUE in self.flags else 0
            if number is None:
                raise RemoteProtocolError(f"counter is {(value or b'')[:30]!r}, must be a number")
            return model.Counter(number, cas, model.ItemMeta(numbers["ttl"]) if "ttl" in numbers else None)
        return model.Stored(cas)

    def _item_meta(self, words: list[bytes], numbers: dict[str, int], with_value: bool) -> model.ItemMeta | None:
        asked = any(word[:1] in _ITEM_META_FLAGS for word in self.flags)
        said = not (UNASKED.keys().isdisjoint(words) and _ITEM_META_NUMBERS.isdisjoint(numbers))
        if with_value and not asked and not said:
            return None
        meta = model.ItemMeta(
            ttl=numbers.get("ttl", -1),
            hit_before=bool(numbers.get("hit_before", 0)),
            last_access=numbers.get("last_access", 0),
            unchanged=VALUE in self.flags and not with_value,
            size=None if with_value else numbers.get("size"),
            **{field: letter in words for letter, field in UNASKED.items()},
        )
        return meta if asked or meta != _NO_ITEM_META else None

    def _check_echo(self, words: list[bytes], success: bool = False) -> None:
        """Raise RemoteProtocolError unless the key and the opaque of the reply are those of the request."""
        present = {KEY} if self._has_spaced_key else set()
        encoded = BASE64 in words
        for word in words:
            letter = word[:1]
            if letter == OPAQUE and word not in self.flags:
                raise RemoteProtocolError(f"opaque of the reply is {word[1:]!r}, which was not sent with this request")
            if letter == KEY and len(word) > 1:
                key = decoded_key(word[1:]) if encoded else word[1:]
                if key != key_of(self.request):
                    raise RemoteProtocolError(f"key of the reply is {key!r}, asked was {key_of(self.request)!r}")
            present.add(letter)
        if KEY in self.flags and KEY not in present and (self.strict or success):
            raise RemoteProtocolError(f"key is missing in the reply, asked was {key_of(self.request)!r}")
        if self.strict and OPAQUE not in present and any(word[:1] == OPAQUE for word in self.flags):
            raise RemoteProtocolError("opaque is missing in the reply, one was sent with this request")


def _numbers_in(words: list[bytes]) -> dict[str, int]:
    """The numbers that a reply returns, by field. Raises RemoteProtocolError if one is none."""
    numbers = {}
    for word in words:
        letter, token = word[:1], word[1:]
        field = _NUMBERS.get(letter)
        if field is not None:
            number = unsigned(token.removeprefix(b"-"), U64)
            if number is None:
                raise RemoteProtocolError(f"flag {letter.decode()} of the reply is {token!r}, must be a number")
            numbers[field] = -number if token[:1] == b"-" else number
    return numbers
