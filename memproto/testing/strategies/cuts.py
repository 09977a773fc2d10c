"""Bytes as they arrive: in pieces."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from memproto.testing.arguments import check_data


def cuts(data: bytes, max_cuts: int = 8) -> st.SearchStrategy[list[int]]:
    """Places to cut ``data`` at, in order; the same place twice makes an empty piece."""
    check_data(data)
    return st.lists(st.integers(0, len(data)), max_size=max_cuts).map(sorted)


def pieces(data: bytes, max_cuts: int = 8) -> st.SearchStrategy[list[bytes]]:
    """The same bytes in pieces, some of them perhaps empty."""

    def cut(places: list[int]) -> list[bytes]:
        edges = [0, *places, len(data)]
        return [data[begin:end] for begin, end in pairwise(edges)]

    return cuts(data, max_cuts).map(cut)
