"""All Python in the README and the documentation runs; the tables are what the declarations say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest

import memproto
import memproto.binary
import memproto.clients
import memproto.commands
import memproto.conventions
import memproto.engine
import memproto.server
import memproto.testing
import memproto.text
import memproto.udp
from memproto import OPCODES, ClientState, Limits, ServerState
from memproto.binary._layout import HEADER
from memproto.connection._state import CLIENT, SERVER
from memproto.model import STATUSES
from memproto.text.classic._commands import COMMANDS
from memproto.text.meta._flags import FLAGS_OF
from tests.support.pages import DOCS, PAGES, ROOT, WITH_CODE, blocks
from tests.support.peers import require

_INCLUDE = re.compile(r"^```\{literalinclude\} (\S+)\n((?::.*\n)*)```$", re.MULTILINE)


def _tables() -> ModuleType:
    spec = util.spec_from_file_location("tables", DOCS / "_ext" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables() -> Iterator[ModuleType]:
    require("sphinx")
    yield _tables()
    del sys.modules["tables"]


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for line, code in blocks(page):
        exec(compile("\n" * line + code, str(page), "exec"), module.__dict__)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_can_fail(page: Path) -> None:
    assert any("assert " in code for _, code in blocks(page))


def test_the_readme_has_the_two_commands_of_the_quick_start() -> None:
    commands = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert [command.count("\n") for command in commands] == [1, 1]
    assert commands[0].rstrip().endswith("/memproto demo")
    assert commands[1].rstrip().endswith("/pytest")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_paths_named_as_code_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    code = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    words = {word.strip("`'").rstrip(".") for each in code for word in each.split()}
    folders = "memproto|tests|docs|examples|benchmarks|.ci"
    paths = {word for word in words if re.match(rf"({folders})/|[\w./-]+\.(py|md|toml|yaml)$", word)}
    assert paths
    assert {path for path in paths if not (ROOT / path).exists()} - {"docs/_build/html"} == set()


def test_the_table_of_contributing_names_what_is_in_the_files() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (`memproto/[^|]+) \| `(\w+)` \|$", text, re.MULTILINE)
    assert len(rows) > 20
    for paths, name in rows:
        for path in re.findall(r"`(\S+)`", paths):
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8")), f"{path}: {name}"


# --- code that is included


def _included() -> list[tuple[Path, Path, str]]:
    """Each page, file and name of an object in it."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        directives = _INCLUDE.findall(text)
        assert len(directives) == text.count("{literalinclude}"), f"{page.name} has one that is not understood"
        for path, options in directives:
            (name,) = re.findall(r"^:pyobject: (\S+)$", options, re.MULTILINE)
            found.append((page, (page.parent / path).resolve(), name))
    return found


def _objects(file: Path) -> set[str]:
    """The classes and functions of a file, and those in classes, by their dotted names."""
    names: set[str] = set()
    todo: list[tuple[str, ast.AST]] = [("", ast.parse(file.read_text(encoding="utf-8")))]
    while todo:
        prefix, node = todo.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(prefix + child.name)
                todo.append((f"{prefix}{child.name}.", child))
    return names


def test_what_a_page_includes_is_there() -> None:
    included = _included()
    assert {page.name for page, _, _ in included} >= {"several-servers.md", "writing-a-client.md"}
    for page, file, name in included:
        assert name in _objects(file), f"{page.name} includes {name} of {file.name}"


def test_what_a_page_includes_is_tested() -> None:
    tests = "\n".join(test.read_text(encoding="utf-8") for test in (ROOT / "tests").rglob("test_*.py"))
    for page, file, _ in _included():
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        imported = re.search(rf"^(from|import) {re.escape(module)}\b", tests, re.MULTILINE)
        assert imported or file.name.startswith("test_"), f"{page.name}: {module}"


def test_the_reference_has_every_public_name() -> None:
    reference = (DOCS / "reference.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[\w.]+", reference))
    # A name of several modules is told of once, with the first of them.
    modules = (
        memproto,
        memproto.commands,
        memproto.clients,
        memproto.binary,
        memproto.text,
        memproto.udp,
        memproto.conventions,
        memproto.engine,
        memproto.server,
        memproto.testing,
    )
    homes: dict[tuple[str, int], str] = {}
    for module in modules:
        for name in module.__all__:
            full = homes.setdefault((name, id(getattr(module, name))), f"{module.__name__}.{name}")
            assert full in words or name == "__version__", full


# --- the tables


def _page(tables: ModuleType, name: str) -> str:
    text = (DOCS / name).read_text(encoding="utf-8")
    filled = tables.filled(text)
    assert isinstance(filled, str)
    assert "{{" not in filled
    return filled


def test_every_opcode_is_in_the_wire_tables_once(tables: ModuleType) -> None:
    page = _page(tables, "wire.md")
    for spec in OPCODES.values():
        assert page.count(f"| `{spec.opcode:#04x}` | `{spec.name}` |") == 1


def test_every_status_and_limit_and_field_of_the_header_is_in_the_wire_tables(tables: ModuleType) -> None:
    page = _page(tables, "wire.md")
    for status in STATUSES.values():
        assert f"| `{status:#06x}` | `{status.name}` | {status.text.decode()} |" in page
    for limit in fields(Limits):
        assert f"| `{limit.name}` | `{limit.default}` |" in page
    for field in HEADER.fields:
        assert f"| {field.size} | `{field.name}` | {field.meaning} |" in page


def test_the_shapes_are_those_of_the_declarations(tables: ModuleType) -> None:
    rows = {row[1]: row for row in tables.opcodes().rows}
    assert rows["SETQ"][2:] == ("Set", "8 / must / may", "- / - / -", "SET", "a success is not answered")
    assert rows["INCREMENT"][3] == "20 / must / -"
    assert rows["FLUSH"][3] == "- or 4 / - / -"
    assert rows["TOUCH"][3:5] == ("4 / must / not checked", "4 or - / - / -")


def test_every_classic_command_is_in_the_text_tables_once(tables: ModuleType) -> None:
    page = _page(tables, "text.md")
    for verb in COMMANDS:
        assert page.count(f"| `{verb.decode()}` | `") == 1
    rows = {row[0]: row[1:] for row in tables.classic_commands().rows}
    assert rows["get"] == ("Get", "keys ...", "", "Values", "`END`")
    assert rows["cas"] == (
        "Set",
        "key flags exptime length cas",
        "noreply",
        "`STORED`",
        "`NOT_STORED`, `EXISTS`, `NOT_FOUND`",
    )
    assert rows["flush_all"] == ("Flush", "[delay]", "noreply", "`OK`", "`CLIENT_ERROR flush_all not allowed`")
    assert rows["quit"] == ("Quit", "[words ...]", "", "Ok", "")


def test_every_flag_of_a_meta_command_is_in_its_table(tables: ModuleType) -> None:
    page = _page(tables, "text.md")
    for command, flags in FLAGS_OF.items():
        (section,) = re.findall(rf"^### {command.decode()}\n(.*?)(?=^##)", page, re.M | re.S)
        own = [flag for flag in flags.values() if not flag.meaning.startswith("of other commands")]
        assert section.count("\n| `") == len(own)
        for flag in own:
            assert f"| `{flag.letter.decode()}` | {flag.token.value} |" in section


def test_every_state_and_transition_is_in_the_state_tables(tables: ModuleType) -> None:
    page = _page(tables, "states.md")
    for state in [*ServerState, *ClientState]:
        assert f"| `{state.name}` | {state.value} |" in page
    transitions = [(state.name, on.name, to.name) for state, row in SERVER.items() for on, to in row.items()]
    transitions += [(state.name, on.name, to.name) for state, row in CLIENT.items() for on, to in row.items()]
    for names in transitions:
        assert "| `{}` | `{}` | `{}` |".format(*names) in page


def test_an_unknown_table_is_an_error(tables: ModuleType) -> None:
    with pytest.raises(KeyError):
        tables.filled("{{ table nothing }}\n")


@pytest.mark.once
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    require("sphinx")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-n", "-b", "html", "-d", str(tmp_path / "trees")]
    built = subprocess.run([*command, str(DOCS), str(tmp_path / "html")], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "TAP_MUTATION" in (tmp_path / "html" / "wire.html").read_text(encoding="utf-8")
