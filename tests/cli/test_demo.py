"""The demonstration runs to its end, and bytes are explained by the declarations."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from memproto import ProtocolError, RemoteProtocolError
from memproto.cli import demo
from memproto.cli.explain import explain, main
from memproto.clients.client import Client

ROOT = Path(__file__).parent.parent.parent

SET = bytes.fromhex(
    "80010003 08000000 0000000d 0000002a 0000000000000000"  # header
    "00000007 0000000a"  # flags, expiration
    "6b6579 6869"  # key, hi
)
HIT = bytes.fromhex("81000000 04000000 00000006 0000002a 0000000000000005 00000007 6869")
MISS = bytes.fromhex("81000000 00000001 00000009 0000002a 0000000000000000 4e6f7420666f756e64")


def test_the_demonstration_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main([]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.endswith("51 exchanges, all as expected; the server has stopped\n")
    for seen in (
        "request SET",
        "response GET",
        "GETKQ: a miss is not answered",
        "DELTA_BAD_VALUE",
        "request QUIT",
        "end of the items",
        "mg greeting v",
    ):
        assert seen in said.out


def test_a_wrong_answer_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Client, "version", lambda self: b"0.0.0")
    assert demo.main([]) == 1
    assert "version: expected b'1.6.18', got b'0.0.0'" in capsys.readouterr().err


@pytest.mark.parametrize(("said", "told"), [("no such thing", "no such thing"), ("", "it said nothing")])
def test_a_server_that_does_not_start_is_told(
    said: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    no_server = tmp_path / "python"
    no_server.write_text(f"#!/bin/sh\nprintf '{said}' >&2\n", encoding="ascii")
    no_server.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(no_server))
    assert demo.main([]) == 1
    assert f"the server did not start: {told}" in capsys.readouterr().err


def test_a_server_that_ends_badly_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    server = tmp_path / "python"
    server.write_text(
        "#!/bin/sh\ntrap 'kill $!; exit 3' TERM\nsleep 20 2>&- &\necho listening on 127.0.0.1:1 >&2\nwait\n",
        encoding="ascii",
    )
    server.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(server))
    monkeypatch.setattr(demo, "Dialect", ())
    assert demo.main([]) == 1
    assert "the server ended with exit code 3" in capsys.readouterr().err


def test_a_request_is_explained_field_by_field() -> None:
    assert explain(SET).splitlines() == [
        "request SET, 37 bytes",
        "  80                       magic              128     REQUEST",
        "  01                       opcode             1       SET",
        "  00 03                    key_length         3       bytes of key",
        "  08                       extras_length      8       bytes of extras",
        "  00                       data_type          0       "
        "reserved: ignored in requests, 0 in memcached's responses",
        "  00 00                    vbucket_or_status  0       "
        "request: vbucket id, ignored by memcached; response: status",
        "  00 00 00 0d              body_length        13      extras + key + value, in bytes",
        "  00 00 00 2a              opaque             42      copied into the response bit for bit",
        "  00 00 00 00 00 00 00 00  cas                0       version of the item, 0 for none",
        "  00 00 00 07              flags              7       "
        "the client's own 32 bits, stored with the item and given back",
        "  00 00 00 0a              expiration         10      "
        "0 never; up to 2592000 seconds from now; above that Unix time",
        "  6b 65 79                 key                b'key'",
        "  68 69                    value              b'hi'",
        "  = Set(key=b'key', value=b'hi', flags=7, exptime=10, cas=0, meta=None)",
    ]


def test_responses_are_explained_in_order() -> None:
    hit, miss = explain(HIT + MISS).split("\n\n")
    assert hit.startswith("response GET, 30 bytes\n")
    assert "  00 01                       vbucket_or_status  1             status KEY_NOT_FOUND" in miss
    assert "b'Not found'  the server's message" in miss
    assert "00 00 00 07" in hit
    assert "flags" in hit


@pytest.mark.parametrize(
    ("packet", "seen"),
    [
        (
            "81050000 00000000 00000008 00000001 0000000000000009 000000000000000a",
            "counter            10   the new number",
        ),
        ("80dd0000 00000000 00000000 00000001 0000000000000000", "request unknown opcode, 24 bytes"),
        ("80000000 00000000 00000000 00000001 0000000000000000", "malformed: key of GET is missing"),
        ("81000000 00000085 00000000 00000001 0000000000000000", "status of another server"),
        (
            "81000000 01000000 00000001 00000001 0000000000000000 ff",
            "extras             b'\\xff'  of no declared layout",
        ),
        ("80090001 00000000 00000001 00000001 0000000000000000 6b", "GETQ: a miss is not answered"),
        ("810c0001 00000001 00000001 00000001 0000000000000000 6b", "key                b'k'"),
        (
            "810b0000 00000000 00000014 00000001 0000000000000000" + "61" * 20,
            "value              b'aaaaaaaaaaaaaaaa'... (20 bytes)",
        ),
    ],
)
def test_the_unusual_is_explained_too(packet: str, seen: str) -> None:
    assert seen in explain(bytes.fromhex(packet))


def test_what_is_no_packet_is_refused() -> None:
    with pytest.raises(ProtocolError, match="5 bytes at the end are less than one packet"):
        explain(HIT + HIT[:5])
    with pytest.raises(RemoteProtocolError, match="magic is 0x67"):
        explain(HIT + b"get key\r\n" + bytes(20))


TEXT = (
    b"set key 7 0 2\r\nhi\r\nmg key v k Oab\r\nVA 2 kkey Oab W\r\nhi\r\n7\r\n\r\nhello\r\nmg k ?\r\n"
    + b"x" * 70
    + b"\n"
)


def test_text_is_explained_line_by_line() -> None:
    assert explain(TEXT).splitlines() == [
        f"  {each[0]:77}  {each[1]}"
        for each in (
            (r"b'set key 7 0 2\r\n'", "store: key, flags, expiry, bytes"),
            (r"b'hi\r\n'", "data: 2 bytes, CR LF"),
            (r"b'mg key v k Oab\r\n'", "meta get; v return the value; k return the key; Oab opaque, returned as it is"),
            (
                r"b'VA 2 kkey Oab W\r\n'",
                "a value: bytes; kkey the key; Oab opaque, returned as it is; W you are to store it again",
            ),
            (r"b'hi\r\n'", "data: 2 bytes, CR LF"),
            (r"b'7\r\n'", "the new number"),
            (r"b'\r\n'", "an empty line"),
            (r"b'hello\r\n'", "unknown"),
            (r"b'mg k ?\r\n'", "meta get; ? unknown"),
            (f"b'{'x' * 60}'... (71 bytes)", "unknown"),
        )
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"END", "3 bytes at the end are less than one line"),
        (b"VA 5\r\nabc\r\n", "5 bytes at the end are less than the data, 5 bytes and CR LF"),
    ],
)
def test_text_that_is_cut_off(text: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        explain(text)


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["800a0000:00000000", "00000000", "0000000100000000 00000000"]) == 0
    assert capsys.readouterr().out.endswith("  = Noop()\n")
    assert main(["zz"]) == 1
    assert main(["80"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("cannot explain this: ") == 2


def test_value_of_a_request_that_is_cut_is_not_shown_twice() -> None:
    value = "61" * 20
    shown = explain(bytes.fromhex(f"80010001 08000000 0000001d 00000001 0000000000000000 0000000000000000 6b {value}"))
    assert shown.splitlines()[-1].endswith("b'aaaaaaaaaaaaaaaa'... (20 bytes)")
