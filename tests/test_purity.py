"""memproto does no I/O, reads no clock, and its modules import in one direction."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import memproto

ROOT = Path(memproto.__file__).parent
MODULES = {
    ".".join(("memproto", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

FORBIDDEN = frozenset(
    [
        "socket",
        "ssl",
        "asyncio",
        "selectors",
        "select",
        "threading",
        "multiprocessing",
        "concurrent",
        "queue",
        "subprocess",
        "signal",
        "time",
        "datetime",
        "random",
        "secrets",
        "os",
        "io",
        "pathlib",
        "shutil",
        "tempfile",
        "sqlite3",
        "logging",
    ]
)

# Lower ones never import higher ones, nor their neighbours.
LAYERS: list[set[str]] = [
    {"memproto.enums", "memproto.errors", "memproto._state", "memproto.serde"},
    {"memproto._fields"},
    {"memproto._message", "memproto.limits", "memproto._packing", "memproto._buffer"},
    {"memproto.replies", "memproto.conventions._forms"},
    {"memproto.requests", "memproto.conventions._table"},
    {"memproto.messages", "memproto.conventions._values"},
    {"memproto._usual"},
    {
        "memproto._checking",
        "memproto._layout",
        "memproto.events",
        "memproto._collecting",
        "memproto._plain",
        "memproto.conventions._serde",
    },
    {"memproto._arguments", "memproto._packet", "memproto.udp", "memproto.dialect", "memproto.conventions"},
    {"memproto._binary_messages", "memproto._text"},
    {"memproto._binary_replies", "memproto._classic_requests", "memproto._classic_replies", "memproto._meta_flags"},
    {"memproto._binary_requests", "memproto._classic_collectors", "memproto._meta_requests", "memproto._meta_replies"},
    {"memproto._meta_hits", "memproto._binary_collectors"},
    {
        "memproto._binary_client",
        "memproto._binary_server",
        "memproto._text_client",
        "memproto._text_server",
        "memproto.binary",
    },
    {"memproto.client", "memproto.server", "memproto.text"},
    {"memproto.calls", "memproto.translate"},
    {"memproto"},
]


def _imports(module: str) -> set[str]:
    """What a module imports when it runs: everything but what only type checkers see."""
    tree = ast.parse(MODULES[module].read_text())
    skipped: set[ast.AST] = set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            skipped.update(child for statement in node.body for child in ast.walk(statement))
        elif isinstance(node, ast.ImportFrom) and node not in skipped:
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & set(MODULES)
            found |= submodules
            if len(submodules) < len(names):
                found.add(node.module)
        elif isinstance(node, ast.Import) and node not in skipped:
            found |= {alias.name for alias in node.names}
    return found


def _reached(module: str) -> set[str]:
    """Everything of memproto that a module imports, and what that imports, and so on."""
    reached: set[str] = set()
    todo = [module]
    while todo:
        for name in _imports(todo.pop()) & set(MODULES) - reached:
            reached.add(name)
            todo.append(name)
    return reached


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_the_walk_finds_what_is_there() -> None:
    apart = {module for module in MODULES if _is_in(module, "memproto.engine") or _is_in(module, "memproto.testing")}
    assert set().union(*LAYERS) == set(MODULES) - apart
    assert sum(map(len, LAYERS)) == len(set().union(*LAYERS))
    assert "memproto._binary_requests" in _imports("memproto._binary_server")
    assert "struct" in _imports("memproto._packing")
    assert "memproto.client" not in _imports("memproto.events")
    assert "memproto.enums" in _reached("memproto.server")


@pytest.mark.parametrize("module", [module for module in MODULES if not _is_in(module, "memproto.testing")])
def test_no_module_does_io(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(module)}
    assert roots & FORBIDDEN == set()
    third_party = roots - set(sys.stdlib_module_names) - {"memproto"}
    assert third_party <= {"construct"}
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(MODULES[module].read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & {"open", "print", "input", "exec", "eval", "__import__"} == set()


def test_construct_is_only_where_the_layout_is_declared() -> None:
    users = {module for module in MODULES if "construct" in _imports(module)}
    # The header of a datagram is declared beside its own reader.
    assert users - {"memproto.udp"} == {"memproto._layout", "memproto._packing"}


@pytest.mark.parametrize("module", sorted(set().union(*LAYERS)))
def test_imports_point_one_way(module: str) -> None:
    (level,) = (index for index, layer in enumerate(LAYERS) if module in layer)
    above = set().union(*LAYERS[level:])
    assert _imports(module) & above == set()


def test_nothing_imports_itself_by_a_detour() -> None:
    assert [module for module in MODULES if module in _reached(module)] == []


def test_the_engine_knows_messages_only_and_nobody_knows_the_engine() -> None:
    plain = {"memproto.messages", "memproto.enums", "memproto.errors", "memproto.limits"}
    plain |= {"memproto._checking", "memproto._fields"}
    for module in MODULES:
        ours = {name for name in _imports(module) if _is_in(name, "memproto")}
        if _is_in(module, "memproto.engine"):
            assert {name for name in ours if not _is_in(name, "memproto.engine")} <= plain
        else:
            assert not any(_is_in(name, "memproto.engine") for name in ours)


def test_nobody_knows_the_testing_help() -> None:
    for module in MODULES:
        if not _is_in(module, "memproto.testing"):
            assert not any(_is_in(name, "memproto.testing") for name in _imports(module))
