"""memproto loaded a second time, so that it counts what it does: calls, turns of loops, and what C code does for them.

Most loops that matter run in C: ``key in keys``, a slice, a ``join``. No profiler sees how long they are. So the
sources are rewritten while they are loaded: membership tests, comparisons, slices, concatenations, calls and loops go
through a :class:`Meter`, which charges each with the number of bytes or members that it looks at or copies. The numbers
depend on nothing but the input.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import BuiltinFunctionType, CodeType, MethodDescriptorType, ModuleType
from typing import Self

_NAME = "__meter__"
#: What is loaded a second time.
_TOPS = frozenset({"memproto", "examples", "benchmarks"})

_SIZED = (bytes, bytearray, str, tuple, list, set, frozenset, dict, deque)
_ORDERED = (tuple, list, deque)
_TEXTS = (bytes, bytearray, str)

# Methods and functions of C that take the same time whatever the size of what they are called on.
_CONSTANT = frozenset(
    (
        "append",
        "appendleft",
        "add",
        "popleft",
        "popitem",
        "get",
        "setdefault",
        "move_to_end",
        "keys",
        "values",
        "items",
        "len",
        "isinstance",
        "issubclass",
        "type",
        "next",
        "range",
        "getattr",
        "hasattr",
        "callable",
        "id",
        "repr",
        "super",
        "object",
        "property",
        "int",
        "bool",
        "float",
        "pack",
        "unpack",
        "unpack_from",
        "staticmethod",
        "classmethod",
        "with_traceback",
    )
)
# Of these the arguments are looked at, and not what they are called on.
_ARGUMENTS = frozenset(["extend", "update", "isdisjoint", "startswith", "endswith", "write"])


class Meter:
    """What has been done so far, as one number."""

    def __init__(self) -> None:
        self.cost = 0

    def tick(self) -> None:
        """A call, or a turn of a loop."""
        self.cost += 1

    def each(self, iterable: Iterable[object]) -> Iterator[object]:
        """The same members, a turn for each."""
        for member in iterable:
            self.cost += 1
            yield member

    def made(self, value: object) -> object:
        """What an expression has made: as many steps as it has members."""
        self.cost += _size(value)
        return value

    def added(self, target: object, value: object) -> object:
        """The right side of ``target += value``: what cannot be changed is copied."""
        self.cost += _size(value) + (_size(target) if isinstance(target, (bytes, str, tuple)) else 0)
        return value

    def dropped(self, container: object) -> None:
        """A ``del`` of a member."""
        self.cost += 1 if isinstance(container, dict) else _size(container)

    def contains(self, member: object, container: object) -> bool:
        """``member in container``."""
        if isinstance(container, _ORDERED):
            self.cost += _steps(container, member, 0)
        elif isinstance(container, _TEXTS):
            self.cost += len(container)
        else:
            self.cost += 1
        return member in container  # type: ignore[operator]  # as the source says

    def lacks(self, member: object, container: object) -> bool:
        """``member not in container``."""
        return not self.contains(member, container)

    def equal(self, one: object, other: object) -> object:
        """``one == other``."""
        self.cost += 1 + (_size(one) if _size(one) == _size(other) else 0)
        return one == other

    def unequal(self, one: object, other: object) -> object:
        """``one != other``."""
        self.cost += 1 + (_size(one) if _size(one) == _size(other) else 0)
        return one != other

    def call(self, function: Callable[..., object], *args: object, **named: object) -> object:
        """A call. What is written in Python counts for itself."""
        self.cost += 1
        if isinstance(function, type) and function.__module__ == "builtins":
            return self._made_of(function, args, named)
        if not isinstance(function, (BuiltinFunctionType, MethodDescriptorType)):
            return function(*args, **named)
        owner = function.__self__ if isinstance(function, BuiltinFunctionType) else None
        name = function.__name__
        result = function(*args, **named)
        if name == "iter":
            # It passes over the places of removed members.
            members = args[0]
            self.cost += _size(members) if type(members) is dict or type(members).__name__.startswith("dict_") else 0
        elif name in ("find", "index", "rfind", "count", "remove"):
            self.cost += _sought(owner, name, args, result)
        elif name in ("match", "search", "fullmatch"):
            self.cost += result.end() - result.start() if isinstance(result, re.Match) else _searched(name, args)
        elif name == "pop":
            self.cost += _size(owner) if args and isinstance(owner, list) else 1
        elif name not in _CONSTANT:
            self.cost += sum(map(_size, args)) + (0 if name in _ARGUMENTS else _size(owner)) + _size(result)
        return result

    def _made_of(self, kind: type, args: tuple[object, ...], named: dict[str, object]) -> object:
        result: object = kind(*args, **named)
        if kind in (map, zip, enumerate, reversed, filter):
            # Not counted before it is used.
            assert isinstance(result, Iterator)
            return self.each(result)
        if kind.__name__ not in _CONSTANT:
            self.cost += sum(map(_size, args)) + _size(result)
        return result


def _size(value: object) -> int:
    return len(value) if isinstance(value, _SIZED) else 0


def _steps(members: Sequence[object], member: object, start: int) -> int:
    """How many members are looked at to find one."""
    for number, each in enumerate(list(members)[start:], 1):
        if each is member or each == member:
            return number
    return len(members) - start


def _sought(owner: object, name: str, args: tuple[object, ...], result: object) -> int:
    start = args[1] if len(args) > 1 and isinstance(args[1], int) else 0
    if isinstance(owner, _ORDERED):
        return _steps(owner, args[0], start)
    if not isinstance(owner, _TEXTS) or name in ("rfind", "count"):
        return 1
    end = args[2] if len(args) > 2 and isinstance(args[2], int) else len(owner)
    found = result if isinstance(result, int) and result >= 0 else min(end, len(owner))
    return max(found - start, 1)


def _searched(name: str, args: tuple[object, ...]) -> int:
    return 1 if name == "match" else _size(args[0])


# --- rewriting

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.In: "contains",
    ast.NotIn: "lacks",
    ast.Eq: "equal",
    ast.NotEq: "unequal",
}


def _meter(method: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(_NAME, ast.Load()), method, ast.Load()), list(args), [])


class _Rewriter(ast.NodeTransformer):
    """Has everything that may take long go through the meter."""

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        method = _COMPARISONS.get(type(node.ops[0])) if len(node.ops) == 1 else None
        return node if method is None else _meter(method, node.left, node.comparators[0])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            return node
        call = _meter("call", node.func)
        call.args += node.args
        call.keywords = node.keywords
        return call

    def visit_Starred(self, node: ast.Starred) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = _meter("each", node.value)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        sliced = isinstance(node.slice, ast.Slice) and isinstance(node.ctx, ast.Load)
        return _meter("made", node) if sliced else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        return _meter("made", node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        return _meter("made", node)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        # What says how to format is a JoinedStr too, and must stay one.
        node.value = self.visit(node.value)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.comprehension:
        self.generic_visit(node)
        node.iter = _meter("each", node.iter)
        return node

    def visit_For(self, node: ast.For) -> ast.stmt:
        self.generic_visit(node)
        node.iter = _meter("each", node.iter)
        return node

    def visit_While(self, node: ast.While) -> ast.stmt:
        self.generic_visit(node)
        node.body.insert(0, ast.Expr(_meter("tick")))
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        target = ast.parse(ast.unparse(node.target), mode="eval").body
        self.generic_visit(node)
        node.value = _meter("added", target, node.value)
        return node

    def visit_Delete(self, node: ast.Delete) -> list[ast.stmt]:
        members = [target for target in node.targets if isinstance(target, ast.Subscript)]
        return [*(ast.Expr(_meter("dropped", target.value)) for target in members), node]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        # Not the annotations, which are read as text.
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        node.args.defaults = [self.visit(each) for each in node.args.defaults]
        body = [self.visit(each) for each in node.body]
        node.body = [ast.Expr(_meter("tick"))]
        for each in body:
            node.body += each if isinstance(each, list) else [each]
        return node


def _rewritten(source: bytes | str, path: str) -> CodeType:
    tree: ast.Module = _Rewriter().visit(ast.parse(source))
    # Under another name than the file's: coverage must not take these lines for the file's.
    code: CodeType = compile(ast.fix_missing_locations(tree), f"<metered {path}>", "exec", dont_inherit=True)
    return code


def compiled(source: str, meter: Meter) -> dict[str, Callable[..., object]]:
    """The names that this source defines."""
    names: dict[str, Callable[..., object]] = {}
    exec(_rewritten(source, "source"), {_NAME: meter}, names)
    return names


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, meter: Meter) -> None:
        super().__init__(name, path)
        self.meter = meter

    def get_code(self, fullname: str) -> CodeType:
        return _rewritten(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)[_NAME] = self.meter
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in _TOPS:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path, self.meter)
        return spec


class Metered:
    """A copy of a module whose work, and that of all of memproto below it, is counted by ``meter``.

    As a context it is what an import finds, for what looks up modules at run time.
    """

    def __init__(self, name: str) -> None:
        self.meter = Meter()
        self._modules: dict[str, ModuleType] = {}
        self._others: dict[str, ModuleType] = {}
        finder = _Finder(self.meter)
        with self:
            sys.meta_path.insert(0, finder)
            try:
                self.module = importlib.import_module(name)
            finally:
                sys.meta_path.remove(finder)

    def __enter__(self) -> Self:
        self._others = _exchanged(self._modules)
        return self

    def __exit__(self, *_: object) -> None:
        self._modules = _exchanged(self._others)


def _exchanged(modules: dict[str, ModuleType]) -> dict[str, ModuleType]:
    """Make these what is imported; what was before."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in _TOPS}
    for name in before:
        del sys.modules[name]
    sys.modules.update(modules)
    return before
