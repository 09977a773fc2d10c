"""The public names: all there, all documented, all typed."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import memproto
import memproto.binary
import memproto.model
import memproto.testing
import memproto.text
from memproto.testing.strategies import binary_replies

PUBLIC = (memproto, memproto.model, memproto.binary, memproto.text, memproto.testing)
ROOT = Path(memproto.__file__).parent


def _public_objects() -> list[tuple[str, object]]:
    return [(f"{module.__name__}.{name}", getattr(module, name)) for module in PUBLIC for name in module.__all__]


CLASSES: set[type] = {thing for _, thing in _public_objects() if isinstance(thing, type)}
FUNCTIONS: set[types.FunctionType] = {thing for _, thing in _public_objects() if isinstance(thing, types.FunctionType)}
THINGS: list[type | types.FunctionType] = [*sorted(CLASSES, key=lambda kind: kind.__qualname__), *FUNCTIONS]


def _methods(kind: type) -> Iterator[tuple[str, Callable[..., object]]]:
    """The methods and properties that a class itself writes down."""
    for name, member in vars(kind).items():
        if name.startswith("_") and name != "__init__":
            continue
        if isinstance(member, property):
            assert member.fget is not None
            yield name, member.fget
        elif isinstance(member, types.FunctionType):
            yield name, member


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_all_names_are_there_once_and_in_order(module: types.ModuleType) -> None:
    names = module.__all__
    assert len(set(names)) == len(names)
    # The names of the model follow those of the package itself.
    own = names[: -len(memproto.model.__all__)] if module is memproto else names
    assert names[len(own) :] == (memproto.model.__all__ if module is memproto else [])
    assert own == sorted(own, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(module, name) for name in names)
    if module is memproto:
        assert len(names) > 60


def test_what_the_package_imports_it_exports() -> None:
    public = {
        name
        for name, thing in vars(memproto).items()
        if not name.startswith("_") and not isinstance(thing, types.ModuleType)
    }
    assert public | {"__version__"} == set(memproto.__all__)


def test_every_exported_type_of_an_annotation_is_exported() -> None:
    events = {*typing.get_args(memproto.ServerEvent), memproto.Exchange}
    unions = {*typing.get_args(memproto.AnyRequest), *typing.get_args(memproto.AnyReply), *events}
    assert unions <= CLASSES


def test_the_version_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", memproto.__version__)


def test_it_is_marked_as_typed() -> None:
    assert (ROOT / "py.typed").read_bytes() == b""


def _modules() -> list[str]:
    return [
        ".".join(("memproto", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(ROOT.rglob("*.py"))
    ]


@pytest.mark.parametrize("name", _modules())
def test_every_module_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(Path(str(module.__file__)).read_text().splitlines()) <= 450


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_everything_public_is_documented(thing: type | types.FunctionType) -> None:
    assert thing.__doc__
    # A dataclass without a docstring gets its signature as one.
    assert not thing.__doc__.startswith(f"{thing.__name__}(")
    if isinstance(thing, type):
        for name, method in _methods(thing):
            assert name == "__init__" or method.__doc__, f"{thing.__qualname__}.{name}"


def _mentions_any(annotation: object) -> bool:
    return annotation is typing.Any or any(map(_mentions_any, typing.get_args(annotation)))


def _annotations(thing: type | types.FunctionType) -> Iterator[tuple[str, object]]:
    # Names for type checkers only, and those that a wrapped strategy does not see.
    names = {**vars(binary_replies), "Exchange": memproto.Exchange}
    if isinstance(thing, types.FunctionType):
        yield from typing.get_type_hints(thing, localns=names).items()
        return
    for kind in thing.__mro__:
        # The names in a base class of another library are its own affair.
        if kind.__module__.startswith("memproto"):
            yield from inspect.get_annotations(kind, locals=names, eval_str=True).items()
    for name, method in _methods(thing):
        hints = typing.get_type_hints(method, localns=names)
        assert "return" in hints or name == "__init__"
        for parameter, hint in hints.items():
            yield f"{name}({parameter})", hint


@pytest.mark.parametrize("thing", THINGS, ids=str)
def test_nothing_public_is_of_any_type(thing: type | types.FunctionType) -> None:
    if isinstance(thing, type) and issubclass(thing, enum.Enum):
        return
    found = dict(_annotations(thing))
    assert [name for name, annotation in found.items() if _mentions_any(annotation)] == []
    if isinstance(thing, types.FunctionType):
        parameters = inspect.signature(thing).parameters
        assert set(parameters) <= set(found)


def test_no_construct_type_is_in_a_public_signature() -> None:
    for thing in THINGS:
        if not (isinstance(thing, type) and issubclass(thing, enum.Enum)):
            for name, annotation in _annotations(thing):
                assert "construct" not in str(annotation), f"{thing.__qualname__}: {name}"
