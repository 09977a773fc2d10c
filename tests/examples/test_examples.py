"""What all examples have in common: they are short, stand alone, and use what memproto makes public."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.support.peers import ROOT

EXAMPLES = sorted(path for path in Path(ROOT, "examples").glob("*.py") if path.stem != "__init__")
PUBLIC = ("binary", "clients", "commands", "conventions", "engine", "limits", "serde", "server", "text", "udp")


@pytest.fixture(params=EXAMPLES, ids=lambda path: path.stem)
def example(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_example_has_less_than_100_lines(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 100


def test_example_that_is_a_program_says_how_to_run_it(example: Path) -> None:
    source = example.read_text(encoding="utf-8")
    documentation = ast.get_docstring(ast.parse(source))
    assert documentation is not None
    assert f"python -m examples.{example.stem}" in documentation or "__main__" not in source


def test_example_uses_public_names_of_memproto_and_no_other_example(example: Path) -> None:
    tree = ast.parse(example.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {node.module or "" for node in froms}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not {module for module in modules if module.split(".")[0] in ("examples", "tests", "")}
    ours = {module for module in modules if module.split(".")[0] == "memproto"}
    assert ours <= {"memproto", *(f"memproto.{name}" for name in PUBLIC)}
    for node in froms:
        if node.module in ours:
            names: list[str] = importlib.import_module(node.module or "").__all__
            assert {alias.name for alias in node.names} <= set(names)
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_memproto(node.value)}
    assert attributes <= set(importlib.import_module("memproto").__all__)


def _is_memproto(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("memproto", "mp")


def test_example_is_run_by_a_test(example: Path) -> None:
    tests = "\n".join(test.read_text(encoding="utf-8") for test in Path(ROOT, "tests").glob("**/test_*.py"))
    assert f"examples.{example.stem}" in tests or f'example("{example.stem}"' in tests or f'"{example.stem}"' in tests
