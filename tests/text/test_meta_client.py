"""Replies to meta requests: the same form of an item in a get of one key and of many, and whatever way bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import (
    AnyReply,
    ClientConnection,
    Counter,
    Decrement,
    Dialect,
    Failure,
    Get,
    Increment,
    Item,
    ItemMeta,
    Limits,
    MetaOptions,
    Noop,
    Ok,
    Request,
    Status,
    Touch,
    Touched,
    Values,
)
from tests.support.mutations import mutated
from tests.support.reached import reached, reaches
from tests.support.telling import Told, tell
from tests.support.wire import each_byte

U32, U64 = (1 << 32) - 1, (1 << 64) - 1


def _told(request: Request[object], heard: bytes, limits: Limits | None = None) -> Told:
    """What a client says of a reply, the same whole and byte by byte."""
    clients = [ClientConnection(limits, dialect=Dialect.META) for _ in range(2)]
    for client in clients:
        client.send(request)
    whole = tell(clients[0], [heard])
    assert tell(clients[1], each_byte(heard)) == whole
    return whole


_LIMITS = [None, Limits(value=2), Limits(line=24), Limits(value=3, answer=3)]


@pytest.mark.parametrize("limits", _LIMITS, ids=repr)
@reaches(faults=0.05, replies=0.05)
@given(data=st.data())
def test_item_has_one_form_in_a_get_of_one_key_and_of_many(limits: Limits | None, data: st.DataObject) -> None:
    regular = st.sampled_from([b"VA 3 f7 c99 kk O0\r\nabc\r\n", b"EN kk O0\r\n", b"VA 0 f0 c0 kk O0\r\n\r\n"])
    heard = data.draw(regular.flatmap(mutated))
    one = _told(Get((b"k",)), heard, limits)
    many = _told(Get((b"k", b"m")), heard + b"EN km O0\r\n", limits)
    if one.fault is None and one.replies:
        reached("replies")
        assert many == one
    elif not one.replies and one.fault is not None:
        reached("faults")
        assert many == one


@pytest.mark.parametrize(
    ("request_", "heard", "reply"),
    [
        (Increment(b"k"), b"VA 2 c5 O0\r\n10\r\n", Counter(10, 5)),
        (Decrement(b"k"), b"VA 20 c%d O0\r\n%d\r\n" % (U64, U64), Counter(U64, U64)),
        (Increment(b"k"), b"VA 2 c5 O0\r\n+1\r\n", Counter(1, 5)),
        (Increment(b"k"), b"NF O0\r\n", Failure(Status.KEY_NOT_FOUND)),
        (Touch(b"k", 5), b"HD f%d c%d kk O0\r\n" % (U32, U64), Touched(U32, U64)),
        (Touch(b"k", 5), b"EN kk O0\r\n", Failure(Status.KEY_NOT_FOUND)),
        (Touch(b"k", 5), b"EN  kk O0\r\n", Failure(Status.KEY_NOT_FOUND)),
        (Touch(b"k", 5), b"HD f1 c2 kk O0 W\r\n", Touched(1, 2)),
        (Touch(b"a b", 5), b"HD f1 c2 ka b O0\r\n", Touched(1, 2)),
        (Noop(), b"MN\r\n", Ok()),
        (Noop(), b"MN \r\n", Ok()),
        (
            Get((b"k",), meta=MetaOptions(vivify=5)),
            b"VA 1 f0 c1 kk O0\r\nx\r\n",
            Values((Item(b"k", b"x", 0, 1, meta=ItemMeta()),)),
        ),
        (
            Get((b"k", b"l"), meta=MetaOptions(vivify=5)),
            b"VA 1 f0 c1 kk O0\r\nx\r\nEN kl O0\r\n",
            Values((Item(b"k", b"x", 0, 1, meta=ItemMeta()),)),
        ),
    ],
    ids=repr,
)
def test_reply_of_regular_and_irregular_form_is_read(request_: Request[object], heard: bytes, reply: AnyReply) -> None:
    assert _told(request_, heard) == Told([reply])


@pytest.mark.parametrize(
    ("request_", "heard"),
    [
        (Increment(b"k"), b"VA 20 c5 O0\r\n18446744073709551616\r\n"),
        (Increment(b"k"), b"VA 1 c18446744073709551616 O0\r\n1\r\n"),
        (Increment(b"k"), b"VA 1 c5 O1\r\n1\r\n"),
        (Touch(b"k", 5), b"HD f4294967296 c18446744073709551616 kk O0\r\n"),
        (Touch(b"k", 5), b"HD f1 c1 kother O0\r\n"),
        (Touch(b"k", 5), b"NS kk O0\r\n"),
        # Such a key is sent in base64, and is no part of a line.
        (Touch(b"a\nb", 5), b"HD f1 c1 ka\nb O0\r\n"),
        (Get((b"a\nb",)), b"VA 1 f1 c1 ka\nb O0\r\nx\r\n"),
        (Get((b"a\nb", b"c")), b"VA 1 f1 c1 ka\nb O0\r\nx\r\nEN kc O0\r\n"),
    ],
    ids=repr,
)
def test_reply_that_does_not_answer_is_a_fault_however_it_arrives(request_: Request[object], heard: bytes) -> None:
    told = _told(request_, heard)
    assert told.replies == []
    assert told.fault is not None


def test_counter_over_the_limit_of_a_value_is_skipped() -> None:
    told = _told(Increment(b"k"), b"VA 2 c5 O0\r\n10\r\n", Limits(value=1))
    assert told == Told([Failure(Status.REPLY_TOO_LARGE, b"value is 2 bytes, limit is 1")])
