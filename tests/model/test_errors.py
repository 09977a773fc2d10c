from __future__ import annotations

from memproto import LocalProtocolError, ProtocolError, RemoteProtocolError


def test_one_root_for_all() -> None:
    assert LocalProtocolError.__mro__[1:] == ProtocolError.__mro__ == (ProtocolError, Exception, BaseException, object)
    assert RemoteProtocolError.__mro__[1:] == ProtocolError.__mro__


def test_remote_error_carries_a_reply_hint() -> None:
    error = RemoteProtocolError("key is missing", b"bye")
    assert (str(error), error.reply_hint) == ("key is missing", b"bye")
    assert RemoteProtocolError("magic").reply_hint == b""
