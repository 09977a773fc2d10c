"""The reference server's command line."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
import subprocess
import sys
from argparse import ArgumentTypeError
from typing import Any

import pytest

from memproto import Dialect, ServerDialect, __version__
from memproto.server.addresses import Endpoint, endpoints
from memproto.server.argument_types import size
from memproto.server.command_line import parse_arguments
from memproto.server.errors import OptionsError
from memproto.server.options import Options, ProcessOptions, TlsOptions
from memproto.server.runner import loop_factory
from tests.support.peers import DEADLINE, require

DEFAULTS = ProcessOptions(
    host="127.0.0.1",
    port=11211,
    memory=64 * 2**20,
    item_size_max=2**20,
    connections=1024,
    requests_per_turn=100,
    verbose=0,
    loop="auto",
)


def options(line: str, **environment: str) -> ProcessOptions:
    return parse_arguments(shlex.split(line), environment)


def changed(line: str, **environment: str) -> dict[str, object]:
    """What these options change."""
    given = dataclasses.asdict(options(line, **environment))
    return {name: value for name, value in given.items() if value != dataclasses.asdict(DEFAULTS)[name]}


def test_the_defaults_are_memcacheds_on_this_machine_only() -> None:
    assert parse_arguments([]) == DEFAULTS


def test_arguments_are_those_of_the_process_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["memproto serve", "-p", "1"])
    assert parse_arguments().port == 1


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["-p 5", "-p5", "--port=5", "--port 5", "-p ' 5'"], {"port": 5}),
        (["-p -1", "-p-1", "--port=-1"], {"port": -1}),
        (["-U 5 -p 7", "-U5 -p7", "--udp-port=5 -p 7"], {"udp": 5, "port": 7}),
        (["-U 5"], {"udp": 5, "port": 5}),
        (["-U 0", "-U0", "-t 4", "-t 9", "--threads=9", "-b 1024", "-o ''"], {}),
        (["-D :", "-f 1.25", "-n 48", "-r -k -L -X -W", "-N 1"], {}),
        (["-U -1 -p 0"], {"udp": -1, "port": 0}),
        (["-s /run/x", "--unix-socket=/run/x", "-s /run/x -p 0"], {"path": "/run/x", "port": 0}),
        (["-s /run/x -p 9"], {"path": "/run/x", "port": 9}),
        (["-a 770", "-a 0770", "--unix-mask=770"], {"path_mode": 0o770}),
        (["-l ::1", "--listen=::1"], {"host": "::1"}),
        (["-l a,b:5", "-l a -l b:5", "-l a --listen b:5 -l a"], {"host": "a,b:5"}),
        (["-b 7", "--listen-backlog=7"], {"backlog": 7}),
        (["-m 100", "-m100", "--memory-limit=100"], {"memory": 104857600}),
        (["-M", "--disable-evictions"], {"evict": False}),
        (["-I 2m", "-I2M", "--max-item-size=2048k", "-I 2097152"], {"item_size_max": 2097152}),
        (["-c 5", "--conn-limit=5"], {"connections": 5}),
        (["-R 7", "--max-reqs-per-event=7", "--max-reqs-per-event 7"], {"requests_per_turn": 7}),
        (["-B ascii", "-Bascii", "--protocol=ascii"], {"protocol": "ascii"}),
        (["-C", "--disable-cas"], {"cas": False}),
        (["-F", "--disable-flush-all"], {"flush": False}),
        (["-A", "--enable-shutdown"], {"shutdown": True}),
        (["-CFAM"], {"cas": False, "flush": False, "shutdown": True, "evict": False}),
        (["-u nobody", "--user=nobody"], {"user": "nobody"}),
        (["-P /run/x.pid", "--pidfile=/run/x.pid"], {"pid_file": "/run/x.pid"}),
        (["-d", "--daemon"], {"daemon": True}),
        (["-v", "--verbose"], {"verbose": 1}),
        (["-vv", "-v -v"], {"verbose": 2}),
        (["-vvv"], {"verbose": 3}),
        (["-vvp5 -m64 -U0"], {"verbose": 2, "port": 5}),
        (["-o idle_timeout=30", "-o modern,idle_timeout=30,", "-o idle_timeout=30 -o modern"], {"idle_timeout": 30}),
        (["-o no_lru_crawler,slab_sizes=96-192,hashpower=20,ext_path=/x:1G,ssl_key=x,slab_automove=0"], {}),
        (["--loop asyncio"], {"loop": "asyncio"}),
        (["--datagrams 9"], {"datagrams_per_reply": 9}),
        (["--persist /x.db"], {"persist": "/x.db"}),
        (["--persist /x.db --sync full"], {"persist": "/x.db", "sync": "full"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_spelling_of_an_option_sets_its_field(lines: list[str], expected: dict[str, object]) -> None:
    for line in lines:
        assert changed(line) == expected, line


def test_options_of_authentication_set_their_fields() -> None:
    text = {"auth_file": "f"}
    sasl = {"auth_file": "f", "sasl": True}
    assert changed("-Y f") == changed("--auth-file=f") == text
    assert changed("-Y f -B ascii") == {**text, "protocol": "ascii"}
    assert changed("-S -Y f") == changed("--enable-sasl --auth-file f") == sasl
    assert changed("-S -Y f -B binary") == {**sasl, "protocol": "binary"}
    assert changed("-S", MEMCACHED_SASL_PWDB="f") == {**sasl, "auth_fields": True}
    assert changed("-S -Y f", MEMCACHED_SASL_PWDB="other") == sasl
    assert changed("", MEMCACHED_SASL_PWDB="f") == {}


def test_options_of_tls_set_their_fields() -> None:
    assert options("-Z -o ssl_chain_cert=c,ssl_key=k").tls == TlsOptions("c", "k")
    assert options("--enable-ssl -o ssl_chain_cert=c").tls == TlsOptions("c")
    line = (
        "-Z -o ssl_chain_cert=c,ssl_ca_cert=a,ssl_ciphers=ALL,ssl_verify_mode=2,ssl_min_version=3,ssl_session_cache,"
        "ssl_kernel_tls,ssl_wbuf_size=16,ssl_keyformat=pem"
    )
    assert options(line).tls == TlsOptions("c", ca="a", ciphers="ALL", verify=2, min_version=3)
    assert options("-o ssl_chain_cert=c,ssl_key=k").tls is None


def test_dialects_follow_from_protocol_and_authentication() -> None:
    assert options("").dialects == set(Dialect)
    assert options("-B ascii").dialects == {Dialect.CLASSIC, Dialect.META}
    assert options("-B binary").dialects == options("-S -Y f").dialects == {Dialect.BINARY}
    assert [options(line).binding_protocol for line in ("", "-B auto", "-Y f", "-S -Y f", "-B binary")] == [
        "auto",
        "auto",
        "ascii",
        "binary",
        "binary",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", [Endpoint("127.0.0.1")]),
        ("127.0.0.1:5", [Endpoint("127.0.0.1", 5)]),
        ("a, b:5;c", [Endpoint("a"), Endpoint("b", 5), Endpoint("c")]),
        ("::1", [Endpoint("::1")]),
        ("[::1]", [Endpoint("::1")]),
        ("[::1]:5", [Endpoint("::1", 5)]),
        ("[::1]:-1", [Endpoint("::1", -1)]),
        ("*", [Endpoint(None)]),
        ("*:5", [Endpoint(None, 5)]),
        ("a,notls:b:65535", [Endpoint("a"), Endpoint("b", 65535, tls=False)]),
    ],
)
def test_list_of_addresses_is_parsed(text: str, expected: list[Endpoint]) -> None:
    assert endpoints(text) == tuple(expected)


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("1024", 1024), ("512k", 2**19), ("1M", 2**20), ("3g", 3 * 2**30)]
)
def test_size_with_a_unit_is_a_number_of_bytes(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "k", "-1", "1.5m", "1mb", "1 k", "1t", "\u0661", "1\n", "9" * 5000])
def test_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a size"):
        size(text)


#: Where memcached ends with the same code.
ALIKE = [
    (1, "-c 0", "argument -c/--conn-limit: Maximum connections must be greater than 0, not 0"),
    (1, "-c -1", "Maximum connections must be greater than 0"),
    (1, "-c x", "'x' is not a number"),
    (1, "-R 0", "Number of requests per event must be greater than 0"),
    (1, "-t 0", "Number of threads must be greater than 0"),
    (1, "-f 1.0", "Factor must be greater than 1"),
    (1, "-f x", "Factor must be greater than 1"),
    (1, "-n 0", "Chunk size must be greater than 0"),
    (1, "-N 0", "Maximum number of NAPI IDs must be greater than 0"),
    (1, "-D ''", "No delimiter specified"),
    (1, "-q", "unrecognized arguments: -q"),
    (1, "--nonsense", "unrecognized arguments: --nonsense"),
    (1, "--enable-s", "ambiguous option"),
    (1, "-p", "argument -p/--port: expected one argument"),
    (1, "-o nonsense", 'Illegal suboption "nonsense"'),
    (1, "-o modern,,no_lru_crawler", 'Illegal suboption ""'),
    (1, "-o proxy_config=x", 'Illegal suboption "proxy_config=x"'),
    (1, "-o idle_timeout", "Missing idle_timeout argument"),
    (1, "-o ssl_verify_mode=4", "Invalid ssl_verify_mode: 4"),
    (1, "-o ssl_min_version=4", "Invalid ssl_min_version: 4"),
    (1, "-o hash_algorithm=md5", "Invalid hash_algorithm: md5"),
    (1, "-o hashpower=11", "Invalid hashpower: 11"),
    (64, "-p 65536", "Invalid port number 65536"),
    (64, "-U 65536", "Invalid port number 65536"),
    (64, "-m 0", "Cannot set item size limit higher than 1/2 of memory max."),
    (64, "-m 1", "Cannot set item size limit higher than 1/2 of memory max."),
    (64, "-I 1023", "Item max size cannot be less than 1024 bytes."),
    (64, "-I 33m", "Cannot set item size limit higher than 1/2 of memory max."),
    (64, "-m 4000 -I 1025m", "Cannot set item size limit higher than a gigabyte."),
    (64, "-B meta", "Invalid value for binding protocol: meta -- should be one of auto, binary, or ascii"),
    (64, "-S -B ascii -Y f", "You cannot allow the ASCII protocol while using SASL."),
    (64, "-S -B auto -Y f", "You cannot allow the ASCII protocol while using SASL."),
    (64, "-Y f -B binary", "You cannot allow the BINARY protocol while using ascii authentication."),
    (64, "-Y f -U 5", "Cannot enable UDP while using authentication (-U 0 to disable)."),
    (64, "-S -Y f -U -1", "Cannot enable UDP while using authentication"),
    (64, "-Z -p 0 -U 5", "You cannot enable SSL without a TCP port."),
]
#: Where memcached is in trouble later, or in none, or takes what comes for a zero.
STRICTER = [
    (1, "-o idle_timeout=x", "Invalid idle_timeout: x"),
    (64, "-p 1 -U 65536", "Invalid port number 65536"),
    (64, "-p -2", "Invalid port number -2"),
    (64, "-m -5", "Cannot set item size limit higher than 1/2 of memory max."),
    (1, "-o ssl_keyformat=DER", "Invalid ssl_keyformat: DER"),
    (64, "-l notls:127.0.0.1", "'notls' option is valid only when SSL is enabled"),
    (1, "-p x", "argument -p/--port: 'x' is not a number"),
    (1, "-a 888", "'888' is not a mode in octal"),
    (1, "-I 1x", "'1x' is not a size"),
    (1, "extra", "unrecognized arguments: extra"),
    (1, "--datagrams 0", "must be 1 to 65535, not 0"),
    (1, "--datagrams 65536", "must be 1 to 65535, not 65536"),
    (1, "--loop none", "invalid choice"),
    (1, "--persist x --sync none", "invalid choice"),
    (64, "-p 0", "port is 0, which is none, and there is neither UDP nor a Unix socket"),
    (64, "-S", "-S needs a file of users: -Y FILE, or MEMCACHED_SASL_PWDB in the environment"),
    (64, "-Z", "-Z needs a certificate: -o ssl_chain_cert=FILE"),
    (64, "--sync full", "--sync says nothing without --persist"),
    (64, "-l ''", "-l: no address to listen on"),
    (64, "-l ,", "-l: no address to listen on"),
    (64, "-l :5", "-l: no address in ':5'"),
    (64, "-l a:", "-l: Invalid port number: \"\" in 'a:'"),
    (64, "-l a:x", "-l: Invalid port number: \"x\" in 'a:x'"),
    (64, "-l a:0", "-l: Invalid port number: \"0\" in 'a:0'"),
    (64, "-l a:65536", "-l: Invalid port number: \"65536\" in 'a:65536'"),
    (64, "-l [::1]:-2", "-l: Invalid port number: \"-2\" in '[::1]:-2'"),
]
MISTAKES = [*ALIKE, *STRICTER]


@pytest.mark.parametrize(("code", "line", "words"), MISTAKES, ids=[line for _, line, _ in MISTAKES])
def test_mistake_is_one_line_on_standard_error_and_the_exit_code_of_its_kind(
    code: int, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options(line)
    told = capsys.readouterr()
    assert (caught.value.code, told.out, told.err.count("\n")) == (code, "", 1)
    assert told.err.startswith("memproto serve: error: ")
    assert words in told.err


@pytest.mark.peer("memcached")
def test_memcached_ends_with_the_same_codes() -> None:
    require("memcached")
    user = ["-u", "root" if os.geteuid() == 0 else "nobody"]
    ended = {}
    for _, line, _ in ALIKE:
        command = ["memcached", *user, *shlex.split(line)]
        ended[line] = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False).returncode
    assert ended == {line: code for code, line, _ in ALIKE}


@pytest.mark.parametrize("port", [-1, 1, 65535])
def test_values_at_their_limits_are_taken(port: int) -> None:
    most = options(f"-p {port} -m 2048 -I 1024m -c 1 -R 1")
    assert (most.port, most.connections, most.requests_per_turn, most.item_size_max) == (port, 1, 1, 2**30)
    least = options("-m 2 -I 1024k")
    assert (least.memory, least.item_size_max) == (2 * 2**20, 2**20)
    assert options("-I 1k").item_size_max == 1024


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_option(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments([flag])
    told = capsys.readouterr()
    assert (caught.value.code, told.err) == (0, "")
    # Every option of memcached -h, but -e, which maps memory and cannot be had here.
    for short in "pUsaAldrumMckvhiVPfnLDtRCbBISFXWYZoN":
        assert f"\n  -{short}" in told.out, short
    for own in ("--persist PATH", "--sync", "--datagrams N", "--loop", "MEMCACHED_PORT_FILENAME"):
        assert own in told.out


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version_is_that_of_memcached_and_ours(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments([flag])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"memcached 1.6.18 (memproto {__version__})\n"


def test_license_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["-i"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"memproto {__version__}, MIT license\n"


def test_without_uvloop_the_loop_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory("asyncio") is None
    assert loop_factory("auto") is None
    with pytest.raises(SystemExit, match="uvloop is not installed"):
        loop_factory("uvloop")


@pytest.mark.peer("uvloop")
def test_with_uvloop_the_loop_is_the_one_that_was_asked_for() -> None:
    require("uvloop")
    uvloop = importlib.import_module("uvloop")
    assert loop_factory("asyncio") is None
    assert loop_factory("auto") is loop_factory("uvloop") is uvloop.new_event_loop


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"connections": 0}, "Maximum connections must be greater than 0, not 0"),
        ({"requests_per_turn": 0}, "Number of requests per event must be greater than 0, not 0"),
        ({"datagrams_per_reply": 65536}, "datagrams must be 1 to 65535, not 65536"),
        ({"sync": "none"}, 'sync must be "normal" or "full", not \'none\''),
        ({"port": 65536}, "Invalid port number 65536"),
        ({"sasl": True}, "-S needs a file of users"),
        ({"auth_file": "f", "dialect": ServerDialect}, "a dialect of your own has no words to authenticate with"),
    ],
)
def test_options_of_a_program_that_are_wrong_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionsError, match=words):
        Options(**values)
    with pytest.raises(ValueError, match=words):
        Options(**values)
