"""What enters the library as a request or a reply: whether it is one, and whether its fields are of the right types.

``send``, ``execute``, ``encode_request`` and ``encode_reply`` ask here before they change anything.
"""

from __future__ import annotations

from typing import Final, get_args

from memproto._fields import check_fields, is_known, misfit
from memproto.errors import LocalProtocolError
from memproto.messages import AnyReply, AnyRequest, Get

REQUESTS: Final[frozenset[object]] = frozenset(get_args(AnyRequest))
REPLIES: Final[frozenset[object]] = frozenset(get_args(AnyReply))

_BYTES: Final = frozenset({bytes})


def check_request(request: object) -> None:
    """Raise LocalProtocolError unless this is a request, and each of its fields is of the declared type."""
    if type(request) not in REQUESTS:
        raise LocalProtocolError(misfit("request", request, "a request, such as Get; an event has it as event.request"))
    if isinstance(request, Get) and _is_plain_get(request):
        return
    if not is_known(request):
        check_fields(request)


def _is_plain_get(request: Get) -> bool:
    """Whether this is the usual get of any number of keys, all of them of the right type; a quick look at many."""
    keys = request.keys
    plain = request.meta is None and request.exptime is None and type(keys) is tuple
    return plain and _BYTES.issuperset(map(type, keys))


def check_reply(reply: object) -> None:
    """Raise LocalProtocolError unless this is a reply, and each of its fields is of the declared type."""
    if type(reply) not in REPLIES:
        raise LocalProtocolError(misfit("reply", reply, "a reply, such as Values or Failure"))
    if not is_known(reply):
        check_fields(reply)
