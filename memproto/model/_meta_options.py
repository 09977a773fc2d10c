"""What a dialect other than meta makes of meta's options."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from memproto.errors import LocalProtocolError
from memproto.model.requests import MetaOptions, Request

T = TypeVar("T", bound=Request[object])

_NOTHING = MetaOptions()


def plain(request: T) -> T:
    """The request without meta options, which must ask nothing that only meta can do. Raises LocalProtocolError."""
    options: MetaOptions | None = getattr(request, "meta", None)
    if options is None:
        return request
    # How the key was spelt does not change the question.
    if replace(options, base64=False) != _NOTHING:
        raise LocalProtocolError(f"{type(request).__name__} has meta options that only meta can say: {options}")
    return replace(request, meta=None)  # type: ignore[type-var]  # whatever has options is a dataclass
