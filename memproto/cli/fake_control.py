"""The commands that control ``memproto fake``: a line is a command, and a line of JSON its answer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, TypeVar, get_args

from memproto import AnyRequest, Failure, Status
from memproto.model import Message
from memproto.testing import (
    Close,
    Cut,
    Delay,
    Drop,
    Duplicate,
    FakeMemcached,
    Fault,
    Garbage,
    ReceivedRequest,
    Reply,
    Rule,
)

#: What JSON can say.
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

#: How many characters a command may have.
LONGEST_LINE = 64 * 1024

T = TypeVar("T")

_REQUESTS: dict[str, type[AnyRequest]] = {kind.__name__.lower(): kind for kind in get_args(AnyRequest)}


_NUMBERS: dict[object, str] = {int: "a whole number", float: "a number"}


class _FaultWord(NamedTuple):
    """How a fault is made of the options of a command: those that it needs, and others."""

    make: Callable[..., Fault]
    needs: dict[str, Callable[[str], object]]
    takes: dict[str, Callable[[str], object]]


def _flag(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("must be yes or no")
    return text == "yes"


def _data(text: str) -> bytes:
    r"""The bytes of a text with the escapes of JSON, each character up to ``\u00ff`` one byte."""
    data: str = json.loads(f'"{text}"', strict=False)
    return data.encode("latin-1")


def _status(text: str) -> Status:
    if text.upper() not in Status.__members__:
        raise ValueError(f"must be one of {', '.join(name.lower() for name in Status.__members__)}")
    return Status[text.upper()]


def _failure(status: Status, text: bytes | None = None) -> Reply:
    return Reply(Failure(status, text))


_FAULTS = {
    "close": _FaultWord(Close, {}, {"execute": _flag}),
    "drop": _FaultWord(Drop, {}, {"execute": _flag}),
    "delay": _FaultWord(Delay, {"seconds": float}, {"after": int}),
    "cut": _FaultWord(Cut, {"size": int}, {}),
    "duplicate": _FaultWord(Duplicate, {}, {"after": float}),
    "garbage": _FaultWord(Garbage, {"data": _data}, {}),
    "reply": _FaultWord(_failure, {"status": _status}, {"text": _data}),
}


class Control:
    """Carries out commands on a fake. Use it from one thread at a time."""

    def __init__(self, fake: FakeMemcached) -> None:
        self._fake = fake
        self._rules: list[Rule] = []
        #: Whether ``quit`` was said.
        self.ended: bool = False
        self._commands: dict[str, Callable[[list[str]], dict[str, Json]]] = {
            "advance": self._advance,
            "now": self._now,
            "down": self._without_arguments(lambda: fake.down()),
            "up": self._without_arguments(lambda: fake.up()),
            "refuse": self._without_arguments(lambda: fake.refuse()),
            "clear": self._without_arguments(self._clear),
            "fail": self._fail,
            "remove": self._remove,
            "requests": self._requests,
            "quit": self._quit,
        }

    def answer(self, line: str) -> str:
        """Carry out the command of a line; a line of JSON, without its end."""
        try:
            said: dict[str, Json] = {"ok": True, **self._carry_out(line)}
        except Exception as error:
            # Whatever it is, the user has to be answered: an error of a rule may be of any type.
            said = {"ok": False, "error": str(error)}
        return json.dumps(said)

    def _carry_out(self, line: str) -> dict[str, Json]:
        if len(line) > LONGEST_LINE:
            raise ValueError(f"the line has more than {LONGEST_LINE} characters")
        name, *arguments = shlex.split(line) or [""]
        if name not in self._commands:
            raise ValueError(f"no command {name!r}: it must be one of {', '.join(self._commands)}")
        return self._commands[name](arguments)

    @staticmethod
    def _without_arguments(function: Callable[[], object]) -> Callable[[list[str]], dict[str, Json]]:
        def carry_out(arguments: list[str]) -> dict[str, Json]:
            _count(arguments, 0, 0)
            function()
            return {}

        return carry_out

    def _advance(self, arguments: list[str]) -> dict[str, Json]:
        _count(arguments, 1, 1)
        self._fake.advance(_converted("SECONDS", arguments[0], float))
        return {"now": self._fake.now}

    def _now(self, arguments: list[str]) -> dict[str, Json]:
        _count(arguments, 0, 1)
        if arguments:
            self._fake.now = _converted("SECONDS", arguments[0], float)
        return {"now": self._fake.now}

    def _fail(self, arguments: list[str]) -> dict[str, Json]:
        kinds = _kinds(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
        options = _options(arguments)
        key = options.pop("key", None)
        rule = self._fake.fail(
            kinds,
            key=None if key is None else key.encode("utf-8", "surrogateescape"),
            nth=_converted("nth", options.pop("nth", "1"), int),
            times=_converted("times", options.pop("times"), int) if "times" in options else None,
            how=_fault(options),
        )
        self._rules.append(rule)
        return {"rule": len(self._rules)}

    def _remove(self, arguments: list[str]) -> dict[str, Json]:
        _count(arguments, 1, 1)
        number = _converted("RULE", arguments[0], int)
        if not 0 < number <= len(self._rules):
            raise ValueError(f"no rule {number}: there were {len(self._rules)} so far")
        rule = self._rules[number - 1]
        rule.remove()
        return {"applied": rule.applied}

    def remove_rules(self) -> None:
        """Remove all rules here: the fake would warn of those that applied to no request."""
        for rule in self._rules:
            rule.remove()

    def _clear(self) -> None:
        self.remove_rules()
        self._fake.clear()

    def _requests(self, arguments: list[str]) -> dict[str, Json]:
        _count(arguments, 0, 0)
        return {"requests": [_described(received) for received in self._fake.requests]}

    def _quit(self, arguments: list[str]) -> dict[str, Json]:
        _count(arguments, 0, 0)
        self.ended = True
        return {}


def _count(arguments: Sequence[str], least: int, most: int) -> None:
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} or {most}"
        raise ValueError(f"{len(arguments)} arguments, must be {wanted}")


def _option(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError(f"{word!r} must be NAME=VALUE")
    return name, value


def _options(words: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in map(_option, words):
        if name in options:
            raise ValueError(f"{name} is given twice")
        options[name] = value
    return options


def _converted(name: str, text: str, convert: Callable[[str], T]) -> T:
    try:
        return convert(text)
    except ValueError as error:
        problem = f", must be {_NUMBERS[convert]}" if convert in _NUMBERS else f": {error}"
        raise ValueError(f"{name} is {text!r}{problem}") from None


def _kinds(words: str) -> tuple[type[AnyRequest], ...]:
    for word in words.split(","):
        if word not in _REQUESTS:
            raise ValueError(f"no request {word!r}: it must be one of {', '.join(_REQUESTS)}")
    return tuple(_REQUESTS[word] for word in words.split(","))


def _fault(options: dict[str, str]) -> Fault:
    how = options.pop("how", "")
    if how not in _FAULTS:
        raise ValueError(f"how is {how!r}, must be one of {', '.join(_FAULTS)}")
    word = _FAULTS[how]
    if missing := word.needs.keys() - options.keys():
        raise ValueError(f"how={how} needs {', '.join(sorted(missing))}")
    known = word.needs | word.takes
    if unknown := options.keys() - known.keys():
        raise ValueError(f"how={how} does not take {', '.join(sorted(unknown))}")
    return word.make(**{name: _converted(name, text, known[name]) for name, text in options.items()})


def _described(received: ReceivedRequest) -> Json:
    request = received.request
    dialect = received.envelope.dialect
    return {
        "request": _plain(request),
        "dialect": None if dialect is None else dialect.value,
        "connection": received.connection,
        "time": received.time,
        "fault": None if received.fault is None else repr(received.fault),
    }


def _plain(value: object) -> Json:
    r"""A value as JSON has it. Bytes that are no UTF-8 are shown as ``\xff``."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return [_plain(each) for each in value]
        case Message():
            # Each message has them; the base class must not declare them.
            names: tuple[str, ...] = getattr(value, "__match_args__", ())
            return {"type": type(value).__name__, **{name: _plain(getattr(value, name)) for name in names}}
        case _:
            return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)
