"""A program that has not installed the framework of an adapter learns what to install."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("adapter", "framework", "command"),
    [
        ("aiocache", "aiocache", "pip install aiocache"),
        ("django", "django", "pip install Django"),
        ("dogpile", "dogpile.cache", "pip install dogpile.cache"),
        ("flask_caching", "flask_caching", "pip install Flask-Caching"),
    ],
)
def test_adapter_without_its_framework_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, adapter: str, framework: str, command: str
) -> None:
    for name in [name for name in sys.modules if name == framework or name.startswith(f"{framework}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, framework, None)
    monkeypatch.delitem(sys.modules, f"memproto.clients.{adapter}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=f"^this (backend|cache) needs .*: {command}$"):
        import_module(f"memproto.clients.{adapter}")
