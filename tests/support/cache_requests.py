"""Generated sequences of what a cache is asked, over so few keys that the requests meet each other."""

from __future__ import annotations

from hypothesis import strategies as st

from memproto import (
    Add,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Flush,
    Get,
    Increment,
    Prepend,
    Replace,
    Set,
    Touch,
)

#: Of one length, so that the size limit is the same for all.
KEYS = (b"one", b"two", b"six")
#: Seconds from now, and moments long past and far in the future.
EXPTIMES = (0, 100, 2_592_000, 2_592_001, 0xFFFF_FFFF)
#: What counts as a number, what does not, and what is on the edge.
TEXTS = (
    *(b"", b"0", b"5", b"10", b"99", b"100", b"12345", b"9223372036854775807"),
    *(b"18446744073709551615", b"18446744073709551616", b" 5", b"5 ", b"+5", b"-5", b"0005", b"5\r\n", b"5\x00x"),
    *(b"abc", b"12abc", b"0x10", b"1.5", b"-", b"+", b" ", b"+ 5", b"\x00"),
)
DELTAS = (0, 1, 5, 95, 2**63, 2**64 - 1)

keys = st.sampled_from(KEYS)
texts = st.sampled_from(TEXTS)
exptimes = st.sampled_from(EXPTIMES)
flags = st.sampled_from((0, 7, 0xFFFF_FFFF))
deltas = st.sampled_from(DELTAS)


def cache_requests(
    values: st.SearchStrategy[bytes],
    exptimes: st.SearchStrategy[int],
    delays: st.SearchStrategy[int | None],
    cas: st.SearchStrategy[int],
) -> st.SearchStrategy[AnyRequest]:
    """One request of those that a cache decides."""
    created = st.none() | exptimes.filter(lambda exptime: exptime != 0xFFFF_FFFF)
    return st.one_of(
        st.builds(Get, st.tuples(keys), st.none() | exptimes),
        *(st.builds(kind, keys, values, flags, exptimes, cas) for kind in (Set, Add, Replace)),
        *(st.builds(kind, keys, values, cas) for kind in (Append, Prepend)),
        *(st.builds(kind, keys, deltas, deltas, created, cas) for kind in (Increment, Decrement)),
        st.builds(Touch, keys, exptimes),
        st.builds(Delete, keys, cas),
        st.builds(Flush, delays),
    )
