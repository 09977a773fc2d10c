"""Numbers as memcached reads and writes them, without a cache."""

from __future__ import annotations

import pytest

from memproto.engine._numbers import add_delta, format_counter, parse_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"0", 0),
        (b"7", 7),
        (b"10", 10),
        (b" 5", 5),
        (b"5 ", 5),
        (b"+5", 5),
        (b"5\n", 5),
        (b"5\r\n", 5),
        (b"\t\n\v\f\r +5", 5),
        (b"5\tabc", 5),
        (b"5\x00abc", 5),
        (b"5 6", 5),
        (b"9 ", 9),
        (b"000000000000000000000000001", 1),
        (b"0" * 27, 0),
        (b"-0", 0),
        (b"9223372036854775808", 2**63),
        (b"18446744073709551615", 2**64 - 1),
        (b"00018446744073709551615", 2**64 - 1),
        # strtoull negates, and memcached refuses what then looks negative.
        (b"-18446744073709551615", 1),
        (b"-9223372036854775809", 2**63 - 1),
        (b"9223372036854775807 -", 2**63 - 1),
        (b"9223372036854775808\x00-", 2**63),
    ],
)
def test_parse_number_reads_what_strtoull_reads(text: bytes, number: int) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"+",
        b"-",
        b"-1",
        b"-9223372036854775808",
        b"-18446744073709551616",
        b"9223372036854775808 -",
        b"abc",
        b"12abc",
        b"0x10",
        b"1.5",
        b"1e3",
        b"1_0",
        b"+ 5",
        b"--5",
        b"+-5",
        b"\x005",
        b"5\x85",
        "\N{ARABIC-INDIC DIGIT THREE}".encode(),
        b"18446744073709551616",
        b"99999999999999999999",
        b"100000000000000000000",
    ],
)
def test_parse_number_of_any_other_text_is_none(text: bytes) -> None:
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "text", [b"1" * 2**20, b"0" * 2**20 + b"x", b" " * 2**20 + b"x", b" " * 2**19 + b"0" * 2**19 + b"x"]
)
def test_a_megabyte_that_is_no_number_is_read_once(text: bytes) -> None:
    # Tried over and over it would take minutes; nothing is timed here.
    assert parse_number(text) is None


def test_parse_number_of_a_megabyte_of_zeros_takes_linear_time() -> None:
    assert parse_number(b"0" * 2**20 + b"7") == 7


@pytest.mark.parametrize(
    ("number", "delta", "result"),
    [
        (10, 5, 15),
        (10, 0, 10),
        (10, -3, 7),
        (10, -10, 0),
        (10, -11, 0),
        (0, -(2**64 - 1), 0),
        (2**64 - 1, 1, 0),
        (2**64 - 1, 2**64 - 1, 2**64 - 2),
        (7, 2**64 - 1, 6),
        (2**64 - 1, -(2**64 - 1), 0),
    ],
)
def test_add_delta_wraps_at_2_to_the_64_and_stops_at_0(number: int, delta: int, result: int) -> None:
    assert add_delta(number, delta) == result


@pytest.mark.parametrize(
    ("old", "number", "text"),
    [
        (b"10", 9, b"9 "),
        (b"9", 10, b"10"),
        (b"18446744073709551615", 0, b"0                   "),
        (b" 5", 6, b"6 "),
        (b"5\r\n", 6, b"6  "),
        (b"0", 2**64 - 1, b"18446744073709551615"),
    ],
)
def test_the_new_text_is_no_shorter_than_the_old(old: bytes, number: int, text: bytes) -> None:
    assert format_counter(old, number) == text
