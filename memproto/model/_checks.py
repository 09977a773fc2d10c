"""What enters the library as a request or a reply: whether it is one, and whether its fields are of the right types.

``send``, ``execute``, ``encode_request`` and ``encode_reply`` ask here before they change anything.
"""

from __future__ import annotations

from typing import Final, get_args

from memproto._fields import check_fields, misfit
from memproto.errors import LocalProtocolError
from memproto.model._quick_checks import REPLY_LOOKS, REQUEST_LOOKS
from memproto.model.replies import AnyReply
from memproto.model.requests import AnyRequest

REQUESTS: Final[frozenset[object]] = frozenset(get_args(AnyRequest))
REPLIES: Final[frozenset[object]] = frozenset(get_args(AnyReply))


def check_request(request: object) -> None:
    """Raise LocalProtocolError unless this is a request, and each of its fields is of the declared type."""
    look = REQUEST_LOOKS.get(type(request))
    if look is not None and look(request):
        return
    if type(request) not in REQUESTS:
        raise LocalProtocolError(misfit("request", request, "a request, such as Get; an event has it as event.request"))
    check_fields(request)


def check_reply(reply: object) -> None:
    """Raise LocalProtocolError unless this is a reply, and each of its fields is of the declared type."""
    look = REPLY_LOOKS.get(type(reply))
    if look is not None and look(reply):
        return
    if type(reply) not in REPLIES:
        raise LocalProtocolError(misfit("reply", reply, "a reply, such as Values or Failure"))
    check_fields(reply)
