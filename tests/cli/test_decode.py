"""``memproto decode``: inputs, formats, filters and exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memproto.capture.sources import recognise
from memproto.cli import main as memproto
from memproto.cli import terminal
from memproto.cli.decode import main
from tests.capture.frames import CLIENT, SERVER, ip, pcap, tcp
from tests.support.peers import DEADLINE, ROOT

CAPTURES = ROOT / "tests" / "data" / "captures"
RECORDED = str(CAPTURES / "pymemcache.pcap")
Capsys = pytest.CaptureFixture[str]
CapBytes = pytest.CaptureFixture[bytes]


def _written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def test_lines_of_a_recorded_capture(capsys: Capsys) -> None:
    assert memproto(["decode", RECORDED]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert len(lines) == 12
    assert lines[1] == (
        "2026-11-22 00:59:41.580191  127.0.0.1:33296 > 127.0.0.1:37549      0.081ms  classic get        user:1"
        "                >12 <30      hit, 5 bytes"
    )


def test_each_format_of_a_recorded_capture(capsys: Capsys) -> None:
    counts = {}
    for name in ("lines", "fields", "json"):
        assert main([RECORDED, "--format", name]) == 0
        counts[name] = capsys.readouterr().out
    first, *_, last = counts["fields"].split("\n\n")
    assert first.splitlines()[:2] == [counts["lines"].splitlines()[0], "request, 34 bytes"]
    assert [json.loads(line)["command"] for line in counts["json"].splitlines()][-1] == "version"
    assert last == ""


def test_raw_bytes_can_be_decoded_again(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main([RECORDED, "--format", "raw", "--filter", "command=get", "--filter", "key=user:*"]) == 0
    raw = capsysbinary.readouterr().out
    assert raw == b"get user:1\r\nVALUE user:1 0 5\r\nhello\r\nEND\r\n"
    assert main([_written(tmp_path / "raw", raw)]) == 0
    assert b"hit, 5 bytes" in capsysbinary.readouterr().out


def test_filters_are_joined_by_and(capsys: Capsys) -> None:
    assert main([RECORDED, "--filter", "status=miss,hit", "--filter", "key!=user:1"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["miss", "bytes", "byte"]


def test_statistics_take_the_place_of_the_exchanges(capsys: Capsys) -> None:
    assert main([RECORDED, "--stats", "--filter", "dialect=classic"]) == 0
    assert capsys.readouterr().out.startswith("12 exchanges in 0.1")


def test_values_are_read_by_a_convention(capsys: Capsys) -> None:
    bmemcached = str(CAPTURES / "bmemcached.pcap")
    assert main([bmemcached, "--values", "bmemcached", "--filter", "command=GET"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("hit, 5 bytes  'hello'")
    assert main([bmemcached, "--values", "bmemcached", "--format", "json", "--filter", "status=hit"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[1])["values"] == [1]


NOOP = "800a0000 00000000 00000000 00000001 0000000000000000"


def test_sides_in_files_of_their_own(tmp_path: Path, capsys: Capsys) -> None:
    client = _written(tmp_path / "client", b"get a\r\nmn\r\n")
    server = _written(tmp_path / "server", b"END\r\nMN\r\n".hex().encode())
    assert main(["--client", client, "--server", server]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["miss", "ok"]
    assert main(["--client", client]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["--client", RECORDED, "--server", server]) == 65
    assert capsys.readouterr().err == f"memproto decode: {RECORDED} is a capture (pcap), not the bytes of one side\n"


FRAME = tcp(CLIENT, SERVER, b"get k\r\n", seq=100, ack=500)
REPLY = tcp(SERVER, CLIENT, b"END\r\n", seq=500, ack=107)


def test_a_cut_capture_gives_what_it_has_and_says_that_it_is_cut(tmp_path: Path, capsys: Capsys) -> None:
    data = pcap(101, (1.5, FRAME), (1.5, REPLY), (1.5, FRAME))
    assert main([_written(tmp_path / "cut", data[:-1])]) == 65
    said = capsys.readouterr()
    assert said.out.endswith("miss, not certain\n")
    assert said.err == "memproto decode: the capture ends in the middle of a packet\n"


def test_a_request_without_reply_is_there_at_the_end(tmp_path: Path, capsys: Capsys) -> None:
    assert main([_written(tmp_path / "open", pcap(101, (1.5, FRAME)))]) == 0
    assert "get" in capsys.readouterr().out
    assert main([_written(tmp_path / "open", pcap(101, (1.5, FRAME))[:-1])]) == 65
    assert main([_written(tmp_path / "open", pcap(101, (1.5, FRAME), (1.5, b""))[:-1])]) == 65
    assert "get" in capsys.readouterr().out


def test_frames_that_were_passed_over_are_told(tmp_path: Path, capsys: Capsys) -> None:
    fragment = ip("10.0.0.1", "10.0.0.2", 6, bytes(8), 0x2000)
    other = ip("10.0.0.1", "10.0.0.2", 1, bytes(8))
    assert main([_written(tmp_path / "odd", pcap(101, (1.0, fragment), (1.0, other), (1.0, fragment)))]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "memproto decode: 2 IP fragments of packets that are not whole were passed over",
        "memproto decode: no memcached traffic was found; --port names the port of a server",
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the input is empty"),
        (b"\0\1\2", "the input is neither a capture nor a hex dump, and does not begin with a message"),
        (pcap(105, (1.0, b"")), "the capture has link type 105, which is not supported"),
    ],
)
def test_an_input_that_cannot_be_decoded_is_one_line_and_65(
    data: bytes, words: str, tmp_path: Path, capsys: Capsys
) -> None:
    assert main([_written(tmp_path / "bad", data)]) == 65
    assert capsys.readouterr() == ("", f"memproto decode: {words}\n")


def test_a_file_that_is_not_there_is_one_line_and_66(tmp_path: Path, capsys: Capsys) -> None:
    for path, words in ((str(tmp_path / "no"), "No such file or directory"), (str(tmp_path), "Is a directory")):
        assert main([path]) == 66
        assert capsys.readouterr() == ("", f"memproto decode: {path}: {words}\n")


def test_a_missing_extra_is_one_line_and_69(monkeypatch: pytest.MonkeyPatch, capsys: Capsys) -> None:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    assert main([RECORDED]) == 69
    assert capsys.readouterr().err == (
        "memproto decode: pcap and pcapng files need dpkt: pip install 'memproto[pcap]'\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "0"], "argument --port: port is 0, must be 1 to 65535"),
        (["--port", "x"], "argument --port: port is x, must be 1 to 65535"),
        (["--filter", "key"], "is not of the form NAME=VALUE"),
        (["--values", "perl"], "argument --values: 'perl' is none of bmemcached, "),
        (["--format", "xml"], "argument --format: invalid choice"),
        (["--filter", "dialect=text"], "argument --filter: dialect is one of binary, classic, meta, not 'text'"),
        ([RECORDED, "--client", "x"], "--client and --server take the place of FILE"),
        (["--client", "-", "--server", "-"], "--client and --server cannot both be standard input"),
        (["--stats", "--format", "json"], "--stats takes the place of --format"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_2(arguments: list[str], words: str, capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def _start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "memproto", "decode", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT)


def test_a_live_capture_is_printed_as_exchanges_finish() -> None:
    with _start("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(pcap(101, (1.5, FRAME), (1.5, REPLY)))
            process.stdin.flush()
            # The pipe stays open; a program that waited for more would print nothing.
            assert process.stdout.readline().endswith(b"miss, not certain\n")
            process.stdin.write(pcap(101, (2.5, FRAME))[24:])
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert (out, err, process.returncode) == (b"", b"", 0)


def test_a_broken_pipe_ends_it_without_a_word() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with _start("-", stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(
            pcap(101, *((1.5, tcp(CLIENT, SERVER, b"mn\r\n", seq=100 + 4 * n)) for n in range(9))), timeout=DEADLINE
        )
    assert (err, process.returncode) == (b"", 0)


def test_standard_input_is_read_as_a_live_capture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capsys
) -> None:
    path = _written(tmp_path / "live", pcap(101, (1.5, FRAME), (1.5, REPLY)))
    with open(path) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["--port", "11211"]) == 0
    assert capsys.readouterr().out.endswith("miss, not certain\n")


def test_an_interrupt_ends_it_with_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capsys
) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            if not data:
                raise KeyboardInterrupt
            return data

    monkeypatch.setattr("memproto.cli.decode.recognise", lambda file, note: recognise(Interrupted(file.read()), note))
    assert main([_written(tmp_path / "open", pcap(101, (1.5, FRAME)))]) == 130
    assert "get" in capsys.readouterr().out


def test_a_hex_dump_on_standard_input_is_explained() -> None:
    with _start("--format", "fields") as process:
        out, err = process.communicate(NOOP.encode(), timeout=DEADLINE)
    assert (err, process.returncode) == (b"", 0)
    assert b"request NOOP, 24 bytes\n" in out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output = _Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    terminal.Lines().write("a line", "miss")
    assert output.getvalue() == "\x1b[33ma line\x1b[0m\n"


def test_a_terminal_without_rich_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    output = _Terminal()
    monkeypatch.setattr(sys, "stdout", output)
    terminal.Lines().write("a line", "miss")
    assert output.getvalue() == "a line\n"


def test_progress_is_shown_where_only_standard_error_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", bar := _Terminal())
    with terminal.progress(2048) as note:
        assert note is not None
        note(1024)
    assert bar.getvalue() != ""
    with terminal.progress(None) as note:
        assert note is None
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with terminal.progress(2048) as note:
        assert note is None


def test_output_that_is_no_text_file_gets_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    assert main([RECORDED]) == 0
    assert len(output.getvalue().splitlines()) == 12


@pytest.mark.parametrize("kind", ["fields", "json", "raw"])
def test_password_of_a_login_is_shown_as_stars_or_on_request(kind: str, tmp_path: Path, capfdbinary: CapBytes) -> None:
    path = _written(tmp_path / "login", b"set auth 0 0 11\r\nuser secret\r\nSTORED\r\nset k 0 0 1\r\nv\r\nSTORED\r\n")
    assert main([path, "--auth", "--format", kind]) == 0
    shown = capfdbinary.readouterr().out
    assert b"secret" not in shown
    assert b"user" in shown
    assert main([path, "--auth", "--format", kind, "--passwords"]) == 0
    assert b"secret" in capfdbinary.readouterr().out


def test_exchange_that_is_not_certain_is_told_in_each_format_and_can_be_left_out(
    tmp_path: Path, capsys: Capsys
) -> None:
    # The beginning of the connection was not captured.
    path = _written(tmp_path / "late.pcap", pcap(101, (1.5, FRAME), (1.5, REPLY)))
    assert main([path, "--format", "fields"]) == 0
    assert "not certain: bytes are missing, so that the reply may belong to another request" in capsys.readouterr().out
    assert main([path, "--stats"]) == 0
    assert "errors and events\n  1  not certain\n" in capsys.readouterr().out
    assert main([path, "--format", "json", "--filter", "certain=no"]) == 0
    assert json.loads(capsys.readouterr().out)["certain"] is False
    assert main([path, "--filter", "certain=yes"]) == 0
    assert capsys.readouterr().out == ""
