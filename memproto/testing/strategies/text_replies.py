"""Replies of both text dialects."""

from __future__ import annotations

from hypothesis import strategies as st

from memproto import (
    AnyReply,
    AnyRequest,
    ClassicEnvelope,
    Failure,
    Get,
    InvalidRequest,
    MetaDebug,
    MetaEnvelope,
    Status,
    Version,
    text,
)
from memproto.testing.arguments import check_type
from memproto.testing.strategies.classic import classic_successes
from memproto.testing.strategies.items import texts, values_or
from memproto.testing.strategies.meta import meta_successes
from memproto.text import CLASSIC_COMMANDS

# A command whose failures have no words of their own.
_PLAIN = ClassicEnvelope(Version(), b"version")


def _refusals(request: AnyRequest) -> dict[bytes, int]:
    """The lines of failures that are particular to this request; a get has none, because its miss is no failure."""
    if isinstance(request, Get):
        return {}
    commands = (command for command in CLASSIC_COMMANDS.values() if command.request is type(request))
    return {line: status for command in commands for line, status in command.refusals.items()}


def _failures(envelope: ClassicEnvelope | MetaEnvelope) -> st.SearchStrategy[Failure]:
    """The failures that come out of a text reply to this as they went in."""
    refusals = _refusals(envelope.request)
    plain: list[int] = [
        Status.VALUE_TOO_LARGE,
        Status.INVALID_ARGUMENTS,
        Status.DELTA_BAD_VALUE,
        Status.AUTH_ERROR,
        Status.OUT_OF_MEMORY,
        *refusals.values(),
    ]
    if b"ERROR" not in refusals:
        plain.append(Status.UNKNOWN_COMMAND)

    def is_refusal(line: bytes) -> bool:
        told = text.decode_reply(b"CLIENT_ERROR " + line + b"\r\n", envelope)
        return told == Failure(Status.INVALID_ARGUMENTS, line)

    def is_error(line: bytes) -> bool:
        failure = Failure(Status.OUT_OF_MEMORY, line)
        return text.decode_reply(text.encode_reply(failure, _PLAIN), _PLAIN) == failure

    return st.one_of(
        st.sampled_from(plain).map(Failure),
        texts().filter(is_refusal).map(lambda line: Failure(Status.INVALID_ARGUMENTS, line)),
        texts().filter(is_error).map(lambda line: Failure(Status.OUT_OF_MEMORY, line)),
        texts().map(lambda line: Failure(Status.UNKNOWN_COMMAND, b": " + line)),
    )


def text_replies_to(
    envelope: ClassicEnvelope | MetaEnvelope, *, values: st.SearchStrategy[bytes] | None = None
) -> st.SearchStrategy[AnyReply]:
    """Every reply to this request that a text dialect can say in full: a success, a miss, a failure."""
    check_type("envelope", envelope, (ClassicEnvelope, MetaEnvelope), "a ClassicEnvelope or a MetaEnvelope")
    request = envelope.request
    if isinstance(request, InvalidRequest):
        return st.just(request.reply)
    if isinstance(envelope, ClassicEnvelope):
        return classic_successes(envelope, values_or(values)) | _failures(envelope)
    debugged = st.just(Failure(Status.KEY_NOT_FOUND)) if isinstance(request, MetaDebug) else st.nothing()
    return meta_successes(envelope, values_or(values)) | _failures(envelope) | debugged
