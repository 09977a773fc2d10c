"""What the tests themselves must be like: each asserts something, and a law that often gives up counts how often."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

FOLDER = Path(__file__).parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef

# They fail when the server that they started printed a traceback, which is not what their callers are about.
_NO_ASSERTIONS = {
    *("running_example", "example_server", "tiny_server", "memcached", "memcached_with_udp", "server_of"),
    *("wait_for_port", "run", "stop", "get", "load", "feed", "send", "close"),
}


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


@cache
def _called(function: ast.AST) -> set[str]:
    """The names of what is called, without the objects they belong to."""
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


@cache
def _asserts(function: ast.AST) -> bool:
    """Whether it asserts by itself: by a statement, by pytest, or by a function whose name says that it checks."""
    if {"raises", "warns", "fail", "assert_type", "run_state_machine_as_test"} & _called(function):
        return True
    if any(name.startswith(("check_", "assert_")) for name in _called(function)):
        return True
    return any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Raise) and "AssertionError" in ast.dump(node))
        for node in ast.walk(function)
    )


def _silent(trees: dict[str, ast.Module]) -> list[str]:
    """The tests that assert nothing, neither by themselves nor by a function of the tests that they call."""
    functions = [function for tree in trees.values() for function in _functions(tree)]
    asserting = {function.name for function in functions if _asserts(function)} - _NO_ASSERTIONS
    while True:
        more = {each.name for each in functions if asserting & _called(each)} - _NO_ASSERTIONS - asserting
        if not more:
            break
        asserting |= more
    return [
        f"{file}:{function.lineno} {function.name}"
        for file, tree in trees.items()
        for function in _functions(tree)
        if function.name.startswith("test_") and not _asserts(function) and not asserting & _called(function)
    ]


def _gives_up(function: Function) -> bool:
    """Whether a law may end, or pass over its assertions, because of what was drawn."""
    for node in ast.walk(function):
        if isinstance(node, ast.Try) or (isinstance(node, ast.Return) and node.value is None):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "assume":
            return True
        if isinstance(node, ast.If) and any(_asserts(each) for each in (*node.body, *node.orelse)):
            return True
    return False


def _uncounted(trees: dict[str, ast.Module]) -> list[str]:
    return [
        f"{file}:{function.lineno} {function.name}"
        for file, tree in trees.items()
        for function in _functions(tree)
        if function.name.startswith("test_")
        and any("given(" in ast.unparse(each) for each in function.decorator_list)
        and not any("reaches(" in ast.unparse(each) for each in function.decorator_list)
        and _gives_up(function)
    ]


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    files = sorted(FOLDER.rglob("*.py"))
    return {file.relative_to(FOLDER).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def test_every_test_asserts_something(trees: dict[str, ast.Module]) -> None:
    assert _silent(trees) == []


def test_every_law_that_may_give_up_counts_how_often_it_does_not(trees: dict[str, ast.Module]) -> None:
    assert _uncounted(trees) == []


_MADE = """
def helper(): assert True
def test_good(): helper()
def test_silent(): print()
@given(x())
def test_conditional(x):
    if x: assert x
@given(x())
def test_given_up(x):
    try: f(x)
    except ValueError: return
    assert x
@reaches(x=1.0)
@given(x())
def test_counted(x):
    if x: assert x
@given(x())
def test_plain(x):
    y = 1 if x else 2
    assert y
"""


def test_such_tests_are_found() -> None:
    made = {"made.py": ast.parse(_MADE)}
    assert _silent(made) == ["made.py:4 test_silent"]
    assert _uncounted(made) == ["made.py:6 test_conditional", "made.py:9 test_given_up"]
