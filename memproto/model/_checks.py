"""The check of a request or reply that enters the library: whether it is one, and whether its fields have their types.

``send``, ``execute``, ``encode_request`` and ``encode_reply`` call it before they change anything. The rules of all
messages are derived from their annotations, and take microseconds. For the messages that servers see most, this module
has the same rules written by hand, for the exact types only. A message that does not pass them may still be right (a
subclass of ``bytes``, say); then the derived rules decide. Tests hold both equal, for every field of every such class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, get_args

from memproto import model
from memproto._fields import check_fields, wrong_type
from memproto.errors import LocalProtocolError
from memproto.model import AnyReply, AnyRequest

REQUESTS: Final[frozenset[object]] = frozenset(get_args(AnyRequest))
REPLIES: Final[frozenset[object]] = frozenset(get_args(AnyReply))

_BYTES: Final = frozenset({bytes})
_INT_OR_NONE: Final = frozenset({int, type(None)})
_BYTES_OR_NONE: Final = frozenset({bytes, type(None)})
_BOOL_OR_NONE: Final = frozenset({bool, type(None)})
# mypy takes a comparison with the class itself for one that always holds.
_BOOLS: Final = frozenset({bool})
_OPTIONS: type = model.MetaOptions
_ITEM_META: type = model.ItemMeta
_STATUS: type = int


def _is_meta(meta: model.MetaOptions | None) -> bool:
    return meta is None or (
        type(meta) is _OPTIONS
        and type(meta.vivify) in _INT_OR_NONE
        and type(meta.recache) in _INT_OR_NONE
        and type(meta.bump) in _BOOLS
        and type(meta.unless_cas) is int
        and type(meta.new_cas) is int
        and type(meta.invalidate) in _BOOLS
        and type(meta.exptime) in _INT_OR_NONE
        and type(meta.drop_value) in _BOOLS
        and type(meta.base64) in _BOOLS
        and type(meta.details) in _BOOLS
        and type(meta.ttl_first) in _BOOLS
    )


def is_item_meta(meta: model.ItemMeta | None) -> bool:
    """Whether this is None or an ItemMeta whose fields are exactly of the declared types."""
    return meta is None or (
        type(meta) is _ITEM_META
        and type(meta.ttl) is int
        and type(meta.hit_before) in _BOOLS
        and type(meta.last_access) is int
        and type(meta.won) in _BOOLS
        and type(meta.lost) in _BOOLS
        and type(meta.stale) in _BOOLS
        and type(meta.unchanged) in _BOOLS
        and type(meta.size) in _INT_OR_NONE
    )


def _get(request: model.Get) -> bool:
    keys, exptime = request.keys, request.exptime
    return (
        type(keys) is tuple
        and (type(keys[0]) is bytes if len(keys) == 1 else _BYTES.issuperset(map(type, keys)))
        and (exptime is None or type(exptime) is int)
        and (request.meta is None or _is_meta(request.meta))
    )


def _store(request: model.Set | model.Add | model.Replace) -> bool:
    return (
        type(request.key) is bytes
        and type(request.value) is bytes
        and type(request.flags) is int
        and type(request.exptime) is int
        and type(request.cas) is int
        and (request.meta is None or _is_meta(request.meta))
        and type(request.unlink) in _BOOL_OR_NONE
        and type(request.strict) in _BOOLS
    )


def _concatenate(request: model.Append | model.Prepend) -> bool:
    return (
        type(request.key) is bytes
        and type(request.value) is bytes
        and type(request.cas) is int
        and _is_meta(request.meta)
        and type(request.flags) is int
        and type(request.unlink) in _BOOLS
    )


def _delete(request: model.Delete) -> bool:
    return type(request.key) is bytes and type(request.cas) is int and _is_meta(request.meta)


def _count(request: model.Increment | model.Decrement) -> bool:
    return (
        type(request.key) is bytes
        and type(request.delta) is int
        and type(request.initial) is int
        and type(request.exptime) in _INT_OR_NONE
        and type(request.cas) is int
        and _is_meta(request.meta)
    )


def _touch(request: model.Touch) -> bool:
    return type(request.key) is bytes and type(request.exptime) is int


def _stored(reply: model.Stored | model.Deleted) -> bool:
    return type(reply.cas) is int


def _counter(reply: model.Counter) -> bool:
    return type(reply.value) is int and type(reply.cas) is int and is_item_meta(reply.meta)


def _touched(reply: model.Touched) -> bool:
    return type(reply.flags) in _INT_OR_NONE and type(reply.cas) is int


def _failure(reply: model.Failure) -> bool:
    # A Status is a subclass of int.
    return isinstance(reply.status, _STATUS) and type(reply.text) in _BYTES_OR_NONE


def _nothing(message: object) -> bool:
    return True


# By class of the message.
EXACT_REQUESTS: Final[dict[type, Callable[..., bool]]] = {
    model.Get: _get,
    **dict.fromkeys((model.Set, model.Add, model.Replace), _store),
    **dict.fromkeys((model.Append, model.Prepend), _concatenate),
    model.Delete: _delete,
    **dict.fromkeys((model.Increment, model.Decrement), _count),
    model.Touch: _touch,
    model.Noop: _nothing,
}
EXACT_REPLIES: Final[dict[type, Callable[..., bool]]] = {
    **dict.fromkeys((model.Stored, model.Deleted), _stored),
    model.Counter: _counter,
    model.Touched: _touched,
    model.Failure: _failure,
    model.Ok: _nothing,
}


def check_request(request: object) -> None:
    """Raise LocalProtocolError unless this is a request, and each of its fields is of the declared type."""
    is_exact = EXACT_REQUESTS.get(type(request))
    if is_exact is not None and is_exact(request):
        return
    if type(request) not in REQUESTS:
        expected = "a request, such as Get; an event has it as event.request"
        raise LocalProtocolError(wrong_type("request", request, expected))
    check_fields(request)


def check_reply(reply: object) -> None:
    """Raise LocalProtocolError unless this is a reply, and each of its fields is of the declared type."""
    is_exact = EXACT_REPLIES.get(type(reply))
    if is_exact is not None and is_exact(reply):
        return
    if type(reply) not in REPLIES:
        raise LocalProtocolError(wrong_type("reply", reply, "a reply, such as Values or Failure"))
    check_fields(reply)
