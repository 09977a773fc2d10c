"""Valid messages with faults in them: what a confused or hostile peer says."""

from __future__ import annotations

from hypothesis import strategies as st

#: What changes the meaning of a line, or of a header, more often than random bytes do.
PIECES = (b"\r\n", b"\n", b" ", b"\0", b"0", b"9", b"-", b"\x80", b"\x81", b"\xff")
#: What is changed in a byte.
BITS = (1, 2, 4, 8, 16, 32, 64, 128, 255)
KINDS = ("change", "replace", "insert", "leave out", "repeat", "cut")


def with_fault(data: bytes, kind: str, at: int, size: int, piece: bytes, bits: int) -> bytes:
    """The same bytes with one fault: bits changed, bytes overwritten, put in, left out, said twice, or cut off."""
    match kind:
        case "change":
            return data[:at] + bytes(byte ^ bits for byte in data[at : at + 1]) + data[at + 1 :]
        case "replace":
            return data[:at] + piece + data[at + len(piece) :]
        case "leave out":
            return data[:at] + data[at + size :]
        case "repeat":
            return data[: at + size] + data[at:]
        case "cut":
            return data[:at]
        case _:
            return data[:at] + piece + data[at:]


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """The same bytes with one to three faults."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(1, 3))
        kind = draw(st.sampled_from(KINDS))
        pieces = {
            "replace": st.sampled_from(PIECES),
            "insert": st.sampled_from(PIECES) | st.binary(min_size=1, max_size=3),
        }
        piece = draw(pieces.get(kind, st.just(b"")))
        bits = draw(st.sampled_from(BITS)) if kind == "change" else 0
        data = with_fault(data, kind, at, size, piece, bits)
    return data
