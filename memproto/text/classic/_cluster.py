"""The reply to ``config get cluster``: the nodes of a cluster, as ElastiCache and Memorystore list them."""

from __future__ import annotations

from typing import Final

from memproto._wire.arguments import bytes_of, misuse
from memproto._wire.buffer import ReceiveBuffer
from memproto._wire.checks import U32, U64, check_number
from memproto._wire.exchange import Exchange
from memproto._wire.growing import too_large
from memproto.errors import LocalProtocolError, RemoteProtocolError
from memproto.limits import Limits
from memproto.model import AnyReply, ClusterConfigReply, ClusterNode, Failure
from memproto.model._checks import check_reply
from memproto.text._client_readers import TextReader
from memproto.text._failures import unexpected
from memproto.text._lines import CRLF, check_word, read_line, unsigned, words_of
from memproto.text.classic._commands import CLUSTER, CONFIG, END, failure_of

_HEAD: Final = CONFIG + b" " + CLUSTER + b" "
_DATA_END: Final = CRLF + END + CRLF
_SEPARATOR: Final = b"|"
_MAX_PORT: Final = 65535
# The longest name of a host.
_MAX_HOST: Final = 253


def encode_cluster_config(reply: ClusterConfigReply) -> bytes:
    """The data that list the nodes: a version, a line end, the nodes, a line end.

    Older engines have them as the value of the key ``AmazonElastiCache:cluster``.

    Raises :class:`~memproto.LocalProtocolError` for a field that does not fit: a host or an address with a blank, a
    line end, NUL or ``|``, an empty host, a port over 65535.
    """
    if not isinstance(reply, ClusterConfigReply):
        raise misuse("reply", reply, "a ClusterConfigReply")
    check_reply(reply)
    check_number("version", reply.version, 0, U64)
    return b"%d\n%b\n" % (reply.version, b" ".join(map(_encode_node, reply.nodes)))


def _encode_node(node: ClusterNode) -> bytes:
    check_word("host", node.host, _MAX_HOST)
    if node.ip:
        check_word("ip", node.ip)
    for part in (node.host, node.ip):
        if _SEPARATOR in part:
            raise LocalProtocolError(f"host or ip is {part!r}, must hold no |")
    check_number("port", node.port, 0, _MAX_PORT)
    return b"%b|%b|%d" % (node.host, node.ip, node.port)


def decode_cluster_config(data: bytes) -> ClusterConfigReply:
    """The nodes that the data list; see :func:`encode_cluster_config`.

    Raises :class:`~memproto.RemoteProtocolError` if they list none in this form.
    """
    version_line, line_end, nodes = bytes_of("data", data).partition(b"\n")
    version = unsigned(version_line.rstrip(b"\r "), U64)
    if version is None or not line_end:
        raise RemoteProtocolError(f"version of the cluster is {version_line[:80]!r}, must be a number and a line end")
    return ClusterConfigReply(version, tuple(map(_decode_node, words_of(nodes.rstrip(b"\r\n ")))))


def _decode_node(word: bytes) -> ClusterNode:
    parts = word.split(_SEPARATOR)
    port = unsigned(parts[-1], _MAX_PORT)
    if len(parts) != 3 or not parts[0] or port is None:
        raise RemoteProtocolError(f"node is {word[:80]!r}, must be host, ip and port with | between them")
    return ClusterNode(parts[0], parts[1], port)


def cluster_config_parts(reply: ClusterConfigReply) -> tuple[bytes, ...]:
    """The bytes of the reply, in pieces. Raises LocalProtocolError."""
    data = encode_cluster_config(reply)
    return _HEAD + b"0 %d" % len(data) + CRLF, data, _DATA_END


class ClusterConfigReader(TextReader):
    """Reads the reply: a line with the length of the data, the data, END."""

    __slots__ = ("_kept", "_size")

    def __init__(self) -> None:
        # Of the data: their length, ``None`` as long as it has not been read, and how much is kept.
        self._size: int | None = None
        self._kept = 0

    def read_irregular(self, buffer: ReceiveBuffer, exchange: Exchange[object], limits: Limits) -> AnyReply | None:
        if self._size is None:
            line = read_line(buffer, limits)
            failure = None if line is None else failure_of(line, exchange.request)
            if line is None or failure is not None:
                return failure
            self._read_head(line, buffer, limits)
        return self._read_data(buffer, limits)

    def _read_head(self, line: bytes, buffer: ReceiveBuffer, limits: Limits) -> None:
        words = words_of(line.removeprefix(_HEAD))
        size = unsigned(words[1], U32) if line.startswith(_HEAD) and len(words) == 2 else None
        if size is None:
            raise unexpected(line, "ClusterConfig")
        self._size = self._kept = size
        if size > limits.value:
            self._kept = 0
            buffer.discard(size)

    def _read_data(self, buffer: ReceiveBuffer, limits: Limits) -> AnyReply | None:
        end = self._kept + len(_DATA_END)
        if not buffer.gather(end):
            return None
        at = buffer.at
        if buffer.data[at + self._kept : at + end] != _DATA_END:
            raise RemoteProtocolError(f"nodes of the cluster are not followed by CR LF END after {self._size} bytes")
        buffer.at = at + end
        if self._kept != self._size:
            return _over_limit(self._size, limits)
        return decode_cluster_config(buffer.data[at : at + self._kept])


def _over_limit(size: int | None, limits: Limits) -> Failure:
    return too_large(f"nodes of the cluster are {size} bytes, limit is {limits.value}")
