"""Replies of both text dialects."""

from __future__ import annotations

from hypothesis import strategies as st

from memproto import model, text
from memproto.testing.arguments import check_type
from memproto.testing.strategies.classic import classic_successes
from memproto.testing.strategies.items import Bytes, texts, values_or
from memproto.testing.strategies.meta import meta_successes
from memproto.text import CLASSIC_COMMANDS

# A command whose failures have no words of their own.
_PLAIN = model.ClassicEnvelope(model.Version(), b"version")


def _refusals(request: model.AnyRequest) -> dict[bytes, int]:
    """The lines of failures that are particular to this request; a get has none, because its miss is no failure."""
    if isinstance(request, model.Get):
        return {}
    commands = (command for command in CLASSIC_COMMANDS.values() if command.request is type(request))
    return {line: status for command in commands for line, status in command.refusals.items()}


def _failures(envelope: model.ClassicEnvelope | model.MetaEnvelope) -> st.SearchStrategy[model.Failure]:
    """The failures that come out of a text reply to this as they went in."""
    refusals = _refusals(envelope.request)
    plain: list[int] = [
        model.Status.VALUE_TOO_LARGE,
        model.Status.INVALID_ARGUMENTS,
        model.Status.DELTA_BAD_VALUE,
        model.Status.AUTH_ERROR,
        model.Status.OUT_OF_MEMORY,
        *refusals.values(),
    ]
    if b"ERROR" not in refusals:
        plain.append(model.Status.UNKNOWN_COMMAND)

    def is_refusal(line: bytes) -> bool:
        told = text.decode_reply(b"CLIENT_ERROR " + line + b"\r\n", envelope)
        return told == model.Failure(model.Status.INVALID_ARGUMENTS, line)

    def is_error(line: bytes) -> bool:
        failure = model.Failure(model.Status.OUT_OF_MEMORY, line)
        return text.decode_reply(text.encode_reply(failure, _PLAIN), _PLAIN) == failure

    return st.one_of(
        st.sampled_from(plain).map(model.Failure),
        texts().filter(is_refusal).map(lambda line: model.Failure(model.Status.INVALID_ARGUMENTS, line)),
        texts().filter(is_error).map(lambda line: model.Failure(model.Status.OUT_OF_MEMORY, line)),
        texts().map(lambda line: model.Failure(model.Status.UNKNOWN_COMMAND, b": " + line)),
    )


def text_replies_to(
    envelope: model.ClassicEnvelope | model.MetaEnvelope, *, values: Bytes | None = None
) -> st.SearchStrategy[model.AnyReply]:
    """Every reply to this request that a text dialect can say in full: a success, a miss, a failure."""
    check_type("envelope", envelope, (model.ClassicEnvelope, model.MetaEnvelope), "a ClassicEnvelope or a MetaEnvelope")
    request = envelope.request
    if isinstance(request, model.InvalidRequest):
        return st.just(request.reply)
    if isinstance(envelope, model.ClassicEnvelope):
        return classic_successes(envelope, values_or(values)) | _failures(envelope)
    made = meta_successes(envelope, values_or(values)) | _failures(envelope)
    return made | st.just(model.Failure(model.Status.KEY_NOT_FOUND)) if isinstance(request, model.MetaDebug) else made
