"""All requests: one type per meaning, the same for every dialect."""

from __future__ import annotations

from typing import TypeAlias

from memproto.model.item_requests import (
    Add,
    Append,
    Decrement,
    Delete,
    Get,
    Increment,
    MetaDebug,
    Prepend,
    Replace,
    Set,
    Touch,
)
from memproto.model.server_requests import (
    AdminCommand,
    Flush,
    InvalidRequest,
    Noop,
    Quit,
    SaslAuth,
    SaslList,
    SaslStep,
    Stats,
    Unknown,
    UnknownLine,
    Verbosity,
    Version,
)

AnyRequest: TypeAlias = (
    Get
    | Set
    | Add
    | Replace
    | Append
    | Prepend
    | Delete
    | Increment
    | Decrement
    | Touch
    | Flush
    | Stats
    | Version
    | Verbosity
    | Noop
    | Quit
    | SaslList
    | SaslAuth
    | SaslStep
    | Unknown
    | UnknownLine
    | AdminCommand
    | MetaDebug
    | InvalidRequest
)
