"""Requests for a dialect that has no meta options."""

from __future__ import annotations

from typing import Final, TypeVar

from memproto.errors import LocalProtocolError
from memproto.model.item_requests import (
    Add,
    Append,
    Decrement,
    Delete,
    Get,
    Increment,
    MetaOptions,
    Prepend,
    Replace,
    Set,
)
from memproto.model.request import Request

_WITH_OPTIONS: Final = (Get, Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement)
_NO_OPTIONS: Final = MetaOptions()


T = TypeVar("T", bound=Request[object])


def without_meta_options(request: T) -> T:
    """The same request without meta options. Raises LocalProtocolError if they ask for what only meta can do."""
    asked: Request[object] = request
    if not isinstance(asked, _WITH_OPTIONS) or asked.meta is None:
        return request
    # The other dialects have another way to encode the key, and ask for the same item.
    if asked.meta.replace(base64=False) != _NO_OPTIONS:
        raise LocalProtocolError(f"{type(request).__name__} has meta options that only meta can say: {asked.meta}")
    return asked.replace(meta=None)  # type: ignore[return-value]  # it is of the same class
