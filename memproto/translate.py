"""From one dialect to another: a gateway is a change of envelope.

:func:`translate` gives a request an envelope of another dialect; :func:`translate_reply` turns the reply to that into
the reply to the original. What a dialect cannot express raises :class:`TranslationError`, which names it. A
:class:`~memproto.ClientConnection` translates by itself: a gateway can hand it the requests of any front as they are.
"""

from __future__ import annotations

from typing import Literal, overload

from memproto import model
from memproto._wire.arguments import check_dialect, check_envelope
from memproto._wire.checks import I32
from memproto.binary._layout import OPCODES, Quiet
from memproto.binary._operations import checked_parts, opcode_for
from memproto.errors import LocalProtocolError, ProtocolError
from memproto.limits import MONTH
from memproto.model import AnyReply, AnyRequest, BinaryEnvelope, ClassicEnvelope, Dialect, Envelope, MetaEnvelope
from memproto.model._checks import check_reply
from memproto.model._meta_options import without_meta_options
from memproto.text._lines import COUNTS, OF_ONE_KEY, STORES, WITH_FLAGS
from memproto.text.classic._arguments import check_request, verb_for
from memproto.text.meta._operations import envelope_of

_HEX = frozenset(b"0123456789abcdefABCDEF")

#: Requests that every dialect can say, as far as their fields allow.
_OF_SERVER = (model.Flush, model.Stats, model.Version, model.Verbosity, model.Quit)
_KNOWN = (model.Get, *OF_ONE_KEY, model.Touch, model.Noop, *_OF_SERVER)
_WITH_EXPTIME = (model.Get, *WITH_FLAGS, *COUNTS, model.Touch, model.Flush)


class TranslationError(ProtocolError):
    """The other dialect cannot say this. The message names what it cannot keep."""


@overload
def translate(envelope: Envelope, to: Literal[Dialect.BINARY]) -> BinaryEnvelope: ...
@overload
def translate(envelope: Envelope, to: Literal[Dialect.CLASSIC]) -> ClassicEnvelope: ...
@overload
def translate(envelope: Envelope, to: Literal[Dialect.META]) -> ClassicEnvelope | MetaEnvelope: ...
@overload
def translate(envelope: Envelope, to: Dialect) -> Envelope: ...
def translate(envelope: Envelope, to: Dialect) -> Envelope:
    """The same request in another dialect; the envelope itself if it is in that dialect already.

    To META, what has no meta form (Flush, Stats, Version, Verbosity, Quit) becomes classic text, where it has no
    opaque. A quiet request stays quiet if the other dialect leaves out the same replies. Otherwise it becomes one that
    asks for its reply (classic ``noreply`` would lose errors): ``ServerConnection.send`` with the original's envelope
    leaves out what the original does.

    Raises :class:`TranslationError`; :class:`~memproto.LocalProtocolError` for an argument of a wrong type.
    """
    check_envelope("envelope", envelope, Envelope)
    check_dialect("to", to)
    if envelope.dialect is to:
        return envelope
    request = envelope.request
    if not isinstance(request, (*_KNOWN, model.MetaDebug)):
        raise TranslationError(f"{type(request).__name__} belongs to one connection or dialect and is not translated")
    try:
        if to is Dialect.BINARY:
            return _to_binary(envelope, without_meta_options(request))
        if to is Dialect.META and not isinstance(request, _OF_SERVER):
            return _to_meta(envelope, request)
        return _to_classic(without_meta_options(request))
    except LocalProtocolError as error:
        raise TranslationError(str(error)) from None


# --- to binary


def _to_binary(envelope: Envelope, request: AnyRequest) -> BinaryEnvelope:
    if isinstance(request, model.Get) and len(request.keys) != 1:
        raise TranslationError(f"keys are {len(request.keys)}, one binary packet carries 1")
    quiet, opaque, with_key = False, 0, False
    if isinstance(envelope, MetaEnvelope):
        quiet, with_key = b"q" in envelope.flags, b"k" in envelope.flags
        opaque = _opaque_of(envelope.flags)
        unseen = b"v" not in envelope.flags and b"s" not in envelope.flags
        if isinstance(request, model.Get) and request.exptime is not None and unseen:
            request = model.Touch(request.keys[0], request.exptime)
            quiet = False
    request = _unsigned(request)
    opcode = opcode_for(request)
    if with_key and isinstance(request, model.Get):
        opcode = model.Opcode.GETK if request.exptime is None else model.Opcode.GATK
    twin = OPCODES[opcode].twin
    if quiet and twin is not None:
        opcode = twin
    checked_parts(request, opcode)
    return BinaryEnvelope(request, opcode, opaque)


def _opaque_of(flags: tuple[bytes, ...]) -> int:
    for word in flags:
        if word[:1] == b"O":
            if len(word) != 9 or not _HEX.issuperset(word[1:]):
                raise TranslationError(f"opaque is {word[1:]!r}, binary has 32 bits: 8 hexadecimal digits")
            return int(word[1:], 16)
    return 0


def _unsigned(request: AnyRequest) -> AnyRequest:
    """Text can say "expired already" by a negative number, binary only by a time long past."""
    if not isinstance(request, _WITH_EXPTIME) or request.exptime is None or request.exptime >= 0:
        return request
    # In binary a time long past flushes nothing; now is what a negative delay means.
    return model.Flush(0) if isinstance(request, model.Flush) else request.replace(exptime=MONTH + 1)


# --- to meta


def _to_meta(envelope: Envelope, request: AnyRequest) -> MetaEnvelope:
    ask: tuple[bytes, ...] = ()
    request = _signed(request)
    if isinstance(request, model.Touch):
        request, ask = model.Get((request.key,), request.exptime), (b"f", b"c")
    elif isinstance(request, model.Get):
        ask = (b"v", b"f", b"c")
    elif isinstance(request, COUNTS):
        ask = (b"v", b"c")
    elif isinstance(request, STORES):
        ask = (b"c",)
    if isinstance(envelope, BinaryEnvelope):
        spec = OPCODES[envelope.opcode]
        if spec.opcode in (model.Opcode.GETK, model.Opcode.GETKQ, model.Opcode.GATK, model.Opcode.GATKQ):
            ask += (b"k",)
        if not isinstance(request, model.Noop):
            ask += (b"O%08x" % envelope.opaque,)
        if spec.quiet is not Quiet.NOTHING:
            ask += (b"q",)
    return envelope_of(request, ask)


def _signed(request: AnyRequest) -> AnyRequest:
    """Expiries are signed in text: from 2**31 on they would be negative, which means "at once"; they become never."""
    if not isinstance(request, _WITH_EXPTIME) or request.exptime is None or request.exptime <= I32:
        return request
    if isinstance(request, model.Flush):
        raise TranslationError(f"delay is {request.exptime}, text has signed 32 bits")
    return request.replace(exptime=0)


# --- to classic


def _to_classic(request: AnyRequest) -> ClassicEnvelope:
    request = _signed(request)
    if isinstance(request, model.Add | model.Replace) and request.cas:
        request = model.Set(request.key, request.value, request.flags, request.exptime, request.cas)
    if isinstance(request, COUNTS) and request.exptime is None:
        # Nothing is created, so that there is nothing to begin with.
        request = request.replace(initial=0)
    check_request(request)
    return ClassicEnvelope(request, verb_for(request))


# --- replies


def translate_reply(reply: AnyReply, original: Envelope) -> AnyReply:
    """The reply to ``original``, made of the reply to its translation."""
    check_reply(reply)
    check_envelope("original", original, Envelope)
    request = original.request
    if isinstance(request, model.Touch) and isinstance(reply, model.Values):
        if not reply.items:
            return model.Failure(model.Status.KEY_NOT_FOUND)
        return model.Touched(reply.items[0].flags, reply.items[0].cas)
    if isinstance(request, model.Get) and isinstance(reply, model.Touched):
        return model.Values((model.Item(request.keys[0], b"", reply.flags or 0, reply.cas),))
    if isinstance(request, model.Noop) and isinstance(reply, model.VersionReply):
        return model.Ok()
    if isinstance(reply, model.Failure):
        if reply.status == model.Status.REPLY_TOO_LARGE:
            # What the client connection has skipped no dialect has a status for; memcached has no memory for a reply.
            return model.Failure(model.Status.OUT_OF_MEMORY, reply.text)
        if isinstance(request, model.Get) and reply.status == model.Status.KEY_NOT_FOUND:
            return model.Values()
        # Binary has one status for a group that is not there and for one that is spelt wrong.
        of_binary = original.dialect is Dialect.BINARY and isinstance(request, model.Stats)
        if of_binary and reply.status == model.Status.INVALID_ARGUMENTS:
            return model.Failure(model.Status.KEY_NOT_FOUND, reply.text)
    return reply
