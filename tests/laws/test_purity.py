"""Two rings: the inner one does no I/O and its packages import in one direction; the outer one uses its public names.

Everything here is about packages, so that a new module needs no entry. Type-only imports count.
"""

from __future__ import annotations

import ast
import importlib
import sys
from functools import cache
from pathlib import Path

import pytest

import memproto

ROOT = Path(memproto.__file__).parent
MODULES = {
    ".".join(("memproto", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

#: The packages and modules of the inner ring. Lower layers never import higher ones, nor their neighbours.
LAYERS: list[set[str]] = [
    {"errors", "serde"},
    {"_fields"},
    {"limits", "model"},
    {"_wire"},
    {"binary", "text", "udp", "conventions", "engine"},
    {"connection", "translate"},
    {"commands"},
    {""},
]
#: The packages of the outer ring, each with those of its own ring that it may use.
OUTER: dict[str, set[str]] = {
    "clients": set(),
    "server": set(),
    "testing": {"server"},
    "capture": set(),
    "cli": {"capture", "clients", "server", "testing"},
}
#: The modules of the inner ring whose names are public: the outer ring imports from nowhere else.
PUBLIC = {"", "binary", "text", "udp", "commands", "translate", "conventions", "engine", "model"}

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


def _package(module: str) -> str:
    """The package or module directly below ``memproto`` that a module belongs to; empty for ``memproto`` itself."""
    return module.split(".")[1] if "." in module else ""


INNER = [module for module in MODULES if _package(module) in set().union(*LAYERS)]


@cache
def _imports(module: str) -> frozenset[str]:
    """What a module imports, when it runs or for type checkers only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = names & set(MODULES)
            found |= submodules
            if len(submodules) < len(names):
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def _ours(module: str) -> frozenset[str]:
    return _imports(module) & frozenset(MODULES)


def _reached(module: str) -> set[str]:
    """Everything of memproto that a module imports, and what that imports, and so on."""
    reached: set[str] = set()
    todo = [module]
    while todo:
        for name in _ours(todo.pop()) - reached:
            reached.add(name)
            todo.append(name)
    return reached


def test_the_walk_finds_what_is_there() -> None:
    assert sum(map(len, LAYERS)) == len(set().union(*LAYERS))
    assert set().union(*LAYERS) | set(OUTER) == {_package(module) for module in MODULES} - {"__main__"}
    assert "memproto.binary._layout" in _imports("memproto.binary._server")
    assert "struct" in _imports("memproto._wire.packing")
    assert "memproto.model.enums" in _reached("memproto.connection.server")


@pytest.mark.parametrize("module", INNER)
def test_a_module_of_the_inner_ring_does_no_io(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(module)}
    assert roots & FORBIDDEN == set()
    third_party = roots - set(sys.stdlib_module_names) - {"memproto"}
    assert third_party <= {"construct"}
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & {"open", "print", "input", "exec", "eval", "__import__"} == set()


def test_construct_is_only_where_a_layout_is_declared() -> None:
    users = {module for module in INNER if "construct" in _imports(module)}
    # The header of a datagram is declared beside its own reader.
    assert users == {"memproto.binary._layout", "memproto._wire.packing", "memproto.udp"}


@pytest.mark.parametrize("module", INNER)
def test_imports_of_the_inner_ring_point_one_way(module: str) -> None:
    own = _package(module)
    (level,) = (index for index, layer in enumerate(LAYERS) if own in layer)
    below = set().union(*LAYERS[:level]) | {own}
    assert {_package(name) for name in _ours(module)} <= below


@pytest.mark.parametrize("module", [module for module in MODULES if module not in INNER])
def test_the_outer_ring_uses_public_names_of_the_inner_ring(module: str) -> None:
    own = _package(module)
    used = {name for name in _ours(module) if _package(name) != own}
    inner = {name for name in used if name in INNER}
    assert inner <= {f"memproto.{name}".removesuffix(".") for name in PUBLIC}
    allowed = set(OUTER) if own == "__main__" else OUTER[own]
    assert {_package(name) for name in used - inner} <= allowed


@pytest.mark.parametrize("module", [module for module in MODULES if module not in INNER])
def test_the_outer_ring_imports_only_names_that_the_inner_ring_exports(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in INNER:
            modules = {name.rpartition(".")[2] for name in MODULES if name.rpartition(".")[0] == node.module}
            exported: list[str] = importlib.import_module(node.module).__all__
            assert {alias.name for alias in node.names} <= modules.union(exported)


@pytest.mark.once
def test_no_module_imports_itself_by_a_detour() -> None:
    assert [module for module in MODULES if module in _reached(module)] == []


def test_nobody_in_the_inner_ring_imports_the_engine() -> None:
    for module in INNER:
        if _package(module) != "engine":
            assert not any(_package(name) == "engine" for name in _ours(module))


def test_importing_memproto_loads_the_inner_ring_only() -> None:
    assert not any(_package(name) in OUTER for name in _reached("memproto"))
