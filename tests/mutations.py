"""Valid messages with faults in them: what a confused or hostile peer says."""

from __future__ import annotations

from hypothesis import strategies as st

#: What changes the meaning of a line, or of a header, more often than random bytes do.
_PIECES = st.sampled_from([b"\r\n", b"\n", b" ", b"\0", b"0", b"9", b"-", b"\x80", b"\x81", b"\xff"])


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The same bytes with one to three faults: a byte changed, some put in, some left out, or said twice."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(1, 3))
        what = draw(st.sampled_from(["change", "replace", "insert", "leave out", "repeat", "cut"]))
        if what == "change" and data:
            data = (
                data[:at]
                + bytes([data[at] ^ draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128, 255]))])
                + data[at + 1 :]
            )
        elif what == "replace":
            piece = draw(_PIECES)
            data = data[:at] + piece + data[at + len(piece) :]
        elif what == "leave out":
            data = data[:at] + data[at + size :]
        elif what == "repeat":
            data = data[: at + size] + data[at:]
        elif what == "cut":
            data = data[:at]
        else:
            data = data[:at] + draw(_PIECES | st.binary(min_size=1, max_size=3)) + data[at:]
    return data
