"""The encoders of classic text: each gives the bytes that the strict function gives, or leaves the request to it."""

from __future__ import annotations

from typing import Any

import pytest

from memproto import Append, Decrement, Increment, LocalProtocolError, MetaOptions, Prepend, Touch
from memproto.text.classic import _client

META = MetaOptions(invalidate=True)
KEY = b"k"

REGULAR = [
    (Append(KEY, b"v"), b"append k 0 0 1\r\nv\r\n"),
    (Prepend(b"k" * 250, b""), b"prepend " + b"k" * 250 + b" 0 0 0\r\n\r\n"),
    (Increment(KEY), b"incr k 1\r\n"),
    (Decrement(KEY, 2**64 - 1), b"decr k 18446744073709551615\r\n"),
    (Increment(b"noreply", 0, 7), b"incr noreply 0\r\n"),
    (Touch(KEY, -(2**31)), b"touch k -2147483648\r\n"),
    (Touch(KEY, 2**31 - 1), b"touch k 2147483647\r\n"),
]

WRONG: Any = object()

IRREGULAR = [
    *[kind(*arguments) for kind in (Append, Prepend) for arguments in ((KEY, b"v", 1), (KEY, b"v", True))],
    *[Append(KEY, b"v", flags=flags) for flags in (1, WRONG)],
    Append(KEY, b"v", unlink=True),
    Append(KEY, b"v", meta=META),
    Append(b"a b", b"v"),
    Append(WRONG, b"v"),
    Append(KEY, WRONG),
    *[Increment(KEY, delta) for delta in (-1, 2**64, WRONG, True)],
    Increment(KEY, 1, WRONG),
    Increment(KEY, 1, 0, 0),
    Increment(KEY, cas=1),
    Increment(KEY, cas=WRONG),
    Increment(KEY, meta=META),
    *[Increment(key) for key in (WRONG, b"", b"a b", b"k" * 251)],
    *[Touch(KEY, exptime) for exptime in (2**31, -(2**31) - 1, WRONG)],
    *[Touch(key) for key in (WRONG, b"", b"a\n")],
]


@pytest.mark.parametrize(("request_", "wire"), REGULAR)
def test_regular_request_is_encoded_at_once(request_: Append | Increment | Touch, wire: bytes) -> None:
    encoder = _client.ENCODERS[type(request_)]
    parts = encoder.encode(request_, 0)
    assert parts is not None
    assert b"".join(parts) == wire
    assert parts == _client.CommandEncoder.encode(encoder, request_, 0)


@pytest.mark.parametrize("request_", IRREGULAR)
def test_other_request_is_left_to_the_strict_function(request_: Append | Increment | Touch) -> None:
    assert _client.ENCODERS[type(request_)].encode(request_, 0) is None


def test_large_value_is_left_to_the_strict_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_client, "HUGE", 3)
    encoder = _client.ENCODERS[Append]
    assert encoder.encode(Append(KEY, b"12"), 0) is not None
    assert encoder.encode(Append(KEY, b"123"), 0) is None
    with pytest.raises(LocalProtocolError):
        _client.CommandEncoder.encode(encoder, Append(b"a b", b"1"), 0)
