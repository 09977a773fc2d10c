"""What may happen in which state, as tables. Nothing else decides it.

A pair of state and input that is not in a table is not allowed in that state; what that means (an exception,
a refusal, silence) is the connection's business. The state tables in the documentation are drawn from here.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class ServerState(enum.Enum):
    """Where a server connection stands."""

    OPEN = "requests are accepted; authentication is not required"
    UNAUTHENTICATED = "the peer must authenticate first"
    DECIDING = "credentials were handed out; the embedder's verdict is expected"
    CHALLENGED = "a challenge was sent; the peer's step is expected"
    AUTHENTICATED = "the peer has authenticated; requests are accepted"
    ENDING = "the peer sends no more requests; some of them still wait for their replies"
    CLOSED = "every request is answered"
    FAULTED = "the framing is lost"


class ServerInput(enum.Enum):
    """What can happen to a server connection."""

    REQUEST = "any other request"
    REQUEST_BEFORE_AUTH = "VERSION or SASL LIST MECHS"
    AUTH = "SASL AUTH"
    STEP = "SASL STEP"
    QUIT = "QUIT or QUITQ"
    ACCEPTED = "send(Authenticated)"
    CONTINUED = "send(Challenge)"
    REJECTED = "send(Failure) to SASL AUTH or STEP"
    END = "end of stream between two packets"
    ANSWERED = "the last answer is sent"
    FAULT = "RemoteProtocolError"


_S, _I = ServerState, ServerInput

SERVER: Mapping[ServerState, Mapping[ServerInput, ServerState]] = {
    _S.OPEN: {
        _I.REQUEST: _S.OPEN,
        _I.REQUEST_BEFORE_AUTH: _S.OPEN,
        _I.AUTH: _S.OPEN,
        _I.STEP: _S.OPEN,
        _I.ACCEPTED: _S.OPEN,
        _I.CONTINUED: _S.OPEN,
        _I.REJECTED: _S.OPEN,
        _I.QUIT: _S.ENDING,
        _I.END: _S.ENDING,
        _I.FAULT: _S.FAULTED,
    },
    _S.UNAUTHENTICATED: {
        _I.REQUEST_BEFORE_AUTH: _S.UNAUTHENTICATED,
        _I.AUTH: _S.DECIDING,
        _I.END: _S.ENDING,
        _I.FAULT: _S.FAULTED,
    },
    _S.DECIDING: {
        _I.ACCEPTED: _S.AUTHENTICATED,
        _I.CONTINUED: _S.CHALLENGED,
        _I.REJECTED: _S.UNAUTHENTICATED,
    },
    _S.CHALLENGED: {
        _I.REQUEST_BEFORE_AUTH: _S.CHALLENGED,
        _I.AUTH: _S.DECIDING,
        _I.STEP: _S.DECIDING,
        _I.END: _S.ENDING,
        _I.FAULT: _S.FAULTED,
    },
    _S.AUTHENTICATED: {
        _I.REQUEST: _S.AUTHENTICATED,
        _I.REQUEST_BEFORE_AUTH: _S.AUTHENTICATED,
        _I.AUTH: _S.DECIDING,
        _I.QUIT: _S.ENDING,
        _I.END: _S.ENDING,
        _I.FAULT: _S.FAULTED,
    },
    _S.ENDING: {_I.ANSWERED: _S.CLOSED},
    _S.CLOSED: {},
    _S.FAULTED: {},
}


class ClientState(enum.Enum):
    """Where a client connection stands."""

    OPEN = "requests may be sent"
    QUITTING = "QUIT was sent; replies are still expected"
    CLOSED = "the stream has ended, or the embedder gave it up"
    FAULTED = "the server broke the protocol"


class ClientInput(enum.Enum):
    """What can happen to a client connection."""

    SEND = "send() or send_quiet()"
    SEND_QUIT = "send(Quit())"
    REPLY = "a reply arrives"
    END = "end of stream with nothing outstanding"
    GIVE_UP = "close()"
    FAULT = "RemoteProtocolError"


_C, _J = ClientState, ClientInput

CLIENT: Mapping[ClientState, Mapping[ClientInput, ClientState]] = {
    _C.OPEN: {
        _J.SEND: _C.OPEN,
        _J.SEND_QUIT: _C.QUITTING,
        _J.REPLY: _C.OPEN,
        _J.END: _C.CLOSED,
        _J.GIVE_UP: _C.CLOSED,
        _J.FAULT: _C.FAULTED,
    },
    _C.QUITTING: {
        _J.REPLY: _C.QUITTING,
        _J.END: _C.CLOSED,
        _J.GIVE_UP: _C.CLOSED,
        _J.FAULT: _C.FAULTED,
    },
    _C.CLOSED: {_J.GIVE_UP: _C.CLOSED},
    _C.FAULTED: {_J.GIVE_UP: _C.FAULTED},
}
