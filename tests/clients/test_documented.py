"""What ``help()`` and the documentation show of the clients' methods."""

from __future__ import annotations

import inspect

import pytest

from memproto.clients import AsyncClient, AsyncCluster, Client, Cluster
from memproto.clients.documented import documented_by
from memproto.commands import Commands


@pytest.mark.parametrize("kind", [Client, AsyncClient, Cluster, AsyncCluster])
def test_a_method_shows_the_parameters_of_its_command_and_the_result(kind: type[object]) -> None:
    unknown = " | Unknown" if "Cluster" in kind.__name__ else ""
    for name, result in (("gat", "V | None"), ("set", f"bool{unknown}"), ("incr", f"int | None{unknown}")):
        method = getattr(kind, name)
        shown = inspect.signature(method)
        assert shown.return_annotation == result
        assert shown.parameters == inspect.signature(getattr(Commands, name)).parameters
        assert method.__doc__ == getattr(Commands, name).__doc__
        assert inspect.iscoroutinefunction(method) is kind.__name__.startswith("Async")


def test_no_method_shows_a_command_as_its_result() -> None:
    for kind in (Client, AsyncClient, Cluster, AsyncCluster):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            assert "Command[" not in str(inspect.signature(method).return_annotation), name
            assert name.startswith("_") or method.__doc__, name


def test_a_function_without_a_signature_or_annotations_gives_its_name() -> None:
    def method(*arguments: object) -> bool:
        return bool(arguments)

    assert documented_by(getattr)(method).__name__ == "getattr"
    assert inspect.signature(documented_by(len)(method)).return_annotation is inspect.Signature.empty
