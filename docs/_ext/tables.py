"""Tables of the documentation, drawn from the library's declarations when it is built.

    {{ table opcodes }}

on a line of its own becomes the table of opcodes.
Nothing about the protocol is stated here: a table is what the declarations say, so it cannot disagree with the code.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import memproto
from memproto import OPCODES, Body, Field, Layout, Limits, OpcodeSpec, Presence
from memproto.binary import _layout
from memproto.binary._operations import OPERATIONS
from memproto.connection import _state
from memproto.model import STATUSES
from memproto.text.classic._commands import COMMANDS, NOREPLY, Argument, Command
from memproto.text.meta._flags import FLAGS_OF

#: A cell's text; literal columns are set in a fixed width.
Row = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Column titles, rows, and the indexes of the literal columns."""

    titles: Row
    rows: tuple[Row, ...]
    literal: frozenset[int] = frozenset()


# --- the wire


def _fields(layout: Layout) -> Iterable[tuple[int, Field]]:
    at = 0
    for field in layout.fields:
        yield at, field
        at += field.size


def header() -> Table:
    """The fields of the header."""
    rows = tuple((str(at), str(field.size), field.name, field.meaning) for at, field in _fields(_layout.HEADER))
    return Table(("offset", "size", "field", "meaning"), rows, frozenset({2}))


def _layouts() -> dict[str, Layout]:
    named = {name: value for name, value in vars(_layout).items() if isinstance(value, Layout)}
    return {name: layout for name, layout in named.items() if layout.size and layout is not _layout.HEADER}


def _has(body: Body, layout: Layout) -> bool:
    return any(each is layout for each in body.extras or ())


def _users(layout: Layout) -> str:
    asked = [spec.name for spec in OPCODES.values() if _has(spec.request, layout)]
    answered = [f"{spec.name} (response)" for spec in OPCODES.values() if _has(spec.reply, layout)]
    return ", ".join(asked + answered)


def extras() -> Table:
    """The fields of every layout of extras, and who has them; and of the number in a value."""
    rows = []
    for layout in _layouts().values():
        for index, (at, field) in enumerate(_fields(layout)):
            users = "" if index else _users(layout) or "in the value: INCREMENT and DECREMENT (response)"
            rows.append((users, str(at), str(field.size), field.name, field.meaning))
    return Table(("opcodes", "offset", "size", "field", "meaning"), tuple(rows), frozenset({3}))


def _extras_of(body: Body) -> str:
    if body.extras is None:
        return "any"
    return " or ".join(str(layout.size or Presence.MUST_NOT.value) for layout in body.extras)


def _shape(body: Body) -> str:
    return f"{_extras_of(body)} / {body.key.value} / {body.value.value}"


def _twin(spec: OpcodeSpec) -> str:
    return "" if spec.twin is None else OPCODES[spec.twin].name


def _opcode_row(spec: OpcodeSpec) -> Row:
    message = OPERATIONS[spec.opcode].request.__name__ if spec.opcode in OPERATIONS else memproto.Unknown.__name__
    shapes = (_shape(spec.request), _shape(spec.reply))
    return (f"{spec.opcode:#04x}", spec.name, message, *shapes, _twin(spec), spec.quiet.value)


def _opcode_table(supported: bool) -> Table:
    titles = ("opcode", "name", "message", "request: extras / key / value", "success: extras / key / value", "twin")
    rows = tuple(_opcode_row(OPCODES[number]) for number in sorted(OPCODES) if OPCODES[number].supported is supported)
    return Table((*titles, "quiet"), rows, frozenset({0, 1, 2, 5}))


def opcodes() -> Table:
    """The opcodes that memcached serves."""
    return _opcode_table(True)


def other_opcodes() -> Table:
    """The opcodes that have a name and nothing behind it in memcached."""
    return _opcode_table(False)


def statuses() -> Table:
    """Numbers, names and memcached's words."""
    rows = tuple((f"{status:#06x}", status.name, status.text.decode()) for status in STATUSES.values())
    return Table(("status", "name", "text"), rows, frozenset({0, 1}))


# --- text


def _argument(argument: Argument) -> str:
    name = argument.name if argument.most == 1 else f"{argument.name} ..."
    return name if argument.fewest else f"[{name}]"


def _classic_row(command: Command) -> Row:
    arguments = " ".join(map(_argument, command.arguments))
    success = f"`{command.success.decode()}`" if command.success else command.request.reply_types()[0].__name__
    refusals = ", ".join(f"`{line.decode()}`" for line in command.refusals)
    noreply = NOREPLY.decode() if command.noreply else ""
    return (command.verb.decode(), command.request.__name__, arguments, noreply, success, refusals)


def classic_commands() -> Table:
    """The commands of classic text."""
    rows = tuple(map(_classic_row, COMMANDS.values()))
    titles = ("command", "message", "arguments", "may end in", "success", "refusals")
    return Table(titles, rows, frozenset({0, 1, 2, 3}))


def _flags(command: bytes) -> Table:
    """The flags of a meta command that mean something to it."""
    rows = tuple(
        (flag.letter.decode(), flag.token.value, flag.returned.value, flag.meaning)
        for flag in FLAGS_OF[command].values()
        if not flag.meaning.startswith("of other commands")
    )
    return Table(("flag", "token behind the letter", "returned", "meaning"), rows, frozenset({0}))


# --- comments beside the code


def _comments(module: str, name: str) -> dict[str, str]:
    """The ``#:`` comments of a class's attributes."""
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return {attribute: " ".join(lines).strip() for (owner, attribute), lines in found.items() if owner == name}


def limits() -> Table:
    """Each limit, its default, and what it bounds."""
    comments = _comments(Limits.__module__, Limits.__name__)
    rows = tuple((field.name, str(field.default), comments[field.name]) for field in dataclasses.fields(Limits))
    return Table(("limit", "default", "bounds"), rows, frozenset({0, 1}))


# --- the states


def _members(kind: type[enum.Enum], title: str) -> Table:
    return Table((title, "meaning"), tuple((member.name, str(member.value)) for member in kind), frozenset({0}))


_S = TypeVar("_S", bound=enum.Enum)
_I = TypeVar("_I", bound=enum.Enum)


def _transitions(table: Mapping[_S, Mapping[_I, _S]]) -> Table:
    rows = tuple((state.name, on.name, to.name) for state, inputs in table.items() for on, to in inputs.items())
    return Table(("state", "input", "next state"), rows, frozenset({0, 1, 2}))


TABLES: dict[str, Callable[[], Table]] = {
    "header": header,
    "extras": extras,
    "opcodes": opcodes,
    "other-opcodes": other_opcodes,
    "statuses": statuses,
    "limits": limits,
    "classic-commands": classic_commands,
    **{f"flags-of-{command.decode()}": functools.partial(_flags, command) for command in FLAGS_OF},
    "server-states": lambda: _members(_state.ServerState, "state"),
    "server-inputs": lambda: _members(_state.ServerInput, "input"),
    "server-transitions": lambda: _transitions(_state.SERVER),
    "client-states": lambda: _members(_state.ClientState, "state"),
    "client-inputs": lambda: _members(_state.ClientInput, "input"),
    "client-transitions": lambda: _transitions(_state.CLIENT),
}


# --- into the pages

_PLACE = re.compile(r"^\{\{ table ([a-z-]+) \}\}$", re.MULTILINE)


def markdown(table: Table) -> str:
    """The table as Markdown."""
    rule = tuple("---" for _ in table.titles)
    rows = (tuple(_cell(cell, at in table.literal) for at, cell in enumerate(row)) for row in table.rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (table.titles, rule, *rows))


def _cell(text: str, literal: bool) -> str:
    return f"`{text}`" if literal and text else text


def filled(page: str) -> str:
    """A page's text with its tables. ``KeyError`` if there is no such table."""
    return _PLACE.sub(lambda place: markdown(TABLES[place[1]]()), page)


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = filled(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
