"""The command ``memproto``: its table of subcommands, its own options, and both ways to call it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tomllib

import pytest

from memproto import __version__
from memproto.cli import SUBCOMMANDS, main, serve
from memproto.server import parse_arguments
from tests.support.peers import DEADLINE, ROOT


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_each_subcommand(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for name, subcommand in SUBCOMMANDS.items():
        assert f"\n  {name:8} {subcommand.summary}\n" in said.out


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_is_that_of_the_package(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"memproto {__version__}\n"


def test_no_subcommand_is_a_mistake_that_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: memproto SUBCOMMAND")


def test_an_unknown_subcommand_is_a_mistake_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["server", "-p", "1"]) == 2
    assert capsys.readouterr().err == "memproto: error: no subcommand 'server'; see memproto --help\n"


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_subcommand_has_a_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    said = capsys.readouterr()
    assert (caught.value.code, said.err) == (0, "")
    assert said.out.startswith(f"usage: memproto {name}")


def test_serve_runs_the_options_of_the_rest_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "run", lambda options: 7 if options == parse_arguments(["-p", "5", "-Y", "f"]) else 1)
    assert main(["serve", "-p", "5", "-Y", "f"]) == 7


CAPTURE = str(ROOT / "tests" / "data" / "captures" / "pymemcache.pcap")


@pytest.mark.parametrize("arguments", [["-h"], ["get", "--help"], ["decode", CAPTURE], ["demo"]])
def test_output_that_nobody_reads_ends_it_in_silence(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_an_interruption_ends_it_in_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "run", interrupt)
    assert main(["serve"]) == 130
    assert capsys.readouterr() == ("", "")


def test_without_arguments_it_reads_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["memproto", "--version"])
    # runpy warns of a module that is imported already, as it is after other tests.
    monkeypatch.delitem(sys.modules, "memproto.__main__", raising=False)
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("memproto", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"memproto {__version__}\n"
    assert runpy.run_module("memproto")["main"] is main


def test_the_console_script_is_this_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"memproto": f"{main.__module__}:{main.__name__}"}


def test_the_version_loads_no_server_and_no_client() -> None:
    code = (
        "import sys; from memproto.cli import main; main(['--version']); "
        "print({'memproto.server', 'memproto.clients', 'asyncio', 'socket'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True, cwd=ROOT)
    assert ran.stdout.splitlines()[1] == "set()"
