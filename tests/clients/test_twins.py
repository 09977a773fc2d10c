"""The four clients have the same methods: what is written twice stays the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from memproto.clients import AsyncClient, AsyncCluster, Client, Cluster
from memproto.commands import Commands

#: A cluster has no server to ask for these.
OF_ONE_SERVER = {"discover", "noop", "version"}
#: What a client of clients uses.
OF_CLIENTS = {"attempt", "retire"}
#: The words differ, because the asyncio client stays closed, and waits.
OWN_WORDS = {"close", "run", "set_nodes"}

PAIRS = [(Client, AsyncClient), (Cluster, AsyncCluster)]


def public(kind: type[Any]) -> dict[str, Any]:
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def parameters(function: Any) -> list[tuple[str, object]]:
    """The names and defaults of the parameters of a method, but for the first, its object."""
    return [(each.name, each.default) for each in inspect.signature(function).parameters.values()][1:]


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_blocking_and_asyncio_client_have_the_same_methods(blocking: type[Any], asynchronous: type[Any]) -> None:
    ours, theirs = public(blocking), public(asynchronous)
    assert ours.keys() - OF_CLIENTS == theirs.keys() - OF_CLIENTS
    for name in theirs.keys() - OF_CLIENTS:
        method = theirs[name]
        if isinstance(method, property):
            assert isinstance(ours[name], property)
            assert (ours[name].fset is None) is (method.fset is None)
        else:
            assert parameters(ours[name]) == parameters(method)
            assert inspect.iscoroutinefunction(method)
            assert not inspect.iscoroutinefunction(ours[name])
        if name not in OWN_WORDS:
            assert ours[name].__doc__ == method.__doc__


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_blocking_and_asyncio_client_take_the_same_arguments(blocking: type[Any], asynchronous: type[Any]) -> None:
    assert parameters(blocking.__init__) == parameters(asynchronous.__init__)


@pytest.mark.parametrize(("client", "missing"), [(Client, set()), (Cluster, OF_ONE_SERVER)])
def test_client_has_each_command_with_its_parameters(client: type[Any], missing: set[str]) -> None:
    commands = public(Commands)
    for helper in ("encode", "keys_of", "keys_of_items"):
        del commands[helper]
    assert commands.keys() - public(client).keys() == missing
    for name in commands.keys() - missing:
        assert parameters(getattr(client, name)) == parameters(commands[name])
