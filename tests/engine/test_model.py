"""Law 7: the engine agrees with the model, whatever is asked and however time goes on."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memproto import AnyRequest, Flush, Get, Set, Values
from memproto.engine import ITEM_OVERHEAD, Engine, StoredItem
from memproto.engine._numbers import parse_number
from tests.support.cache_requests import KEYS, cache_requests, exptimes, texts
from tests.support.model import Model, number_of
from tests.support.reached import reached, reaches

START = 1_700_000_000.0
#: Near enough that the steps below come to it, before it and behind.
SOON = 1_700_000_010

steps = st.sampled_from((0.0, 0.0, 0.25, 1.0, 1.5, 5.0, 99.0, 2_592_000.0))
ends = exptimes | st.sampled_from((1, 2, 10, SOON - 1, SOON, 1_699_999_999, -1))
delays = st.none() | ends
#: The CAS numbers of a short sequence are small.
cas = st.just(0) | st.integers(0, 12) | st.just(2**64 - 1)
# One costs a millisecond.
many = settings(max_examples=10 * settings().max_examples)
timed = st.lists(st.tuples(steps, cache_requests(texts, ends, delays, cas)), min_size=5, max_size=40)


@pytest.mark.untraced
@many
@pytest.mark.parametrize("look", [True, False], ids=["looking", "blind"])
@reaches(request=1.0, hit={True: 0.1})
@given(timed=timed)
def test_the_engine_agrees_with_the_model(look: bool, timed: list[tuple[float, AnyRequest]]) -> None:
    engine, model, now = Engine(), Model(), START
    for step, request in timed:
        now += step
        reached("request")
        reply = engine.execute(request, now)
        assert reply == model.execute(request, now)
        if look:
            # All items after each step; not always, because looking is a use of them.
            reply = engine.execute(Get(KEYS), now)
            assert reply == model.execute(Get(KEYS), now)
        if isinstance(reply, Values) and reply.items:
            reached("hit")
    assert engine.execute(Get(KEYS), now) == model.execute(Get(KEYS), now)


@many
@given(st.text("0123456789+- \t\n\v\f\r\0x", max_size=30).map(str.encode) | st.binary(max_size=30))
@example(b"-18446744073709551615")
@example(b"18446744073709551615")
@example(b"18446744073709551616")
@example(b"9223372036854775808 -")
@example(b"9223372036854775808\0-")
@example(b"0" * 30)
@example(b"0" * 30 + b"x")
def test_numbers_of_values_are_read_as_by_the_model(text: bytes) -> None:
    assert parse_number(text) == number_of(text)


class Kept:
    """A journal in a dict."""

    def __init__(self, items: dict[bytes, StoredItem] | None = None) -> None:
        self.items = dict(items or {})

    def put(self, saved: StoredItem) -> None:
        self.items.pop(saved.item.key, None)
        self.items[saved.item.key] = saved

    def discard(self, key: bytes) -> None:
        del self.items[key]

    def clear(self) -> None:
        self.items.clear()

    def newest_first(self) -> Iterable[StoredItem]:
        return list(reversed(self.items.values()))

    def keep_newest(self, count: int) -> None:
        for key in list(self.items)[: len(self.items) - count]:
            del self.items[key]

    @property
    def cost(self) -> int:
        return sum(ITEM_OVERHEAD + len(key) + len(item.value) for key, (item, *_) in self.items.items())


@many
@reaches(request=0.5, kept=0.05)
@given(timed, st.integers(400, 3 * ITEM_OVERHEAD), st.booleans())
def test_the_journal_and_the_account_of_memory_are_true(
    timed: list[tuple[float, AnyRequest]], memory: int, evict: bool
) -> None:
    journal, now = Kept(), START
    engine = Engine(memory_limit=memory, item_size_max=400, evict=evict, journal=journal)
    for step, request in timed:
        now += step
        engine.execute(request, now)
        reached("request")
        if len(engine):
            reached("kept")
        assert len(engine) == len(journal.items)
        assert engine.size == journal.cost
        assert engine.size <= memory or (evict and len(engine) == 1)
    # A flush that is still to come is not kept, and must not come between.
    engine.execute(Flush(), now)
    for key in KEYS:
        engine.execute(Set(key, key, exptime=60), now)
    again = Engine(memory_limit=memory, item_size_max=400, evict=evict, journal=Kept(journal.items))
    assert again.execute(Get(KEYS), now + 1) == engine.execute(Get(KEYS), now + 1)
    engine.execute(Get(KEYS), now + 60)
    assert (engine.size, len(engine), journal.items) == (0, 0, {})
