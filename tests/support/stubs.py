"""Replies for tests that are not about what is in them."""

from __future__ import annotations

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    ClusterConfig,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Envelope,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Mechanisms,
    MetaDebug,
    MetaDebugReply,
    Noop,
    Ok,
    Prepend,
    Quit,
    RawReply,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    StatsReply,
    Status,
    Stored,
    Touch,
    Touched,
    Unknown,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)

_STUBS: dict[type[AnyRequest], AnyReply] = {
    Get: Values(),
    Set: Stored(1),
    Add: Stored(1),
    Replace: Stored(1),
    Append: Stored(1),
    Prepend: Stored(1),
    Delete: Deleted(),
    Increment: Counter(1),
    Decrement: Counter(1),
    Touch: Touched(0),
    Flush: Ok(),
    Stats: StatsReply(),
    Version: VersionReply(b"1.6.18"),
    Verbosity: Ok(),
    Noop: Ok(),
    Quit: Ok(),
    SaslList: Mechanisms((b"PLAIN",)),
    SaslAuth: Authenticated(),
    SaslStep: Authenticated(),
    Unknown: RawReply(0x81, value=b"Unknown command"),
    UnknownLine: Failure(Status.UNKNOWN_COMMAND),
    AdminCommand: AdminReply(),
    MetaDebug: MetaDebugReply(),
    ClusterConfig: Failure(Status.UNKNOWN_COMMAND),
}


def stub(request: AnyRequest) -> AnyReply:
    """A reply that says the least: a miss for gets, success for the rest, a refusal of what is unknown."""
    return request.reply if isinstance(request, InvalidRequest) else _STUBS[type(request)]


def stub_for(envelope: Envelope) -> AnyReply:
    """The same for the request in an envelope."""
    return stub(envelope.request)
