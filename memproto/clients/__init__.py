"""Clients of memcached: blocking and asyncio, for one server or several.

    with Client("127.0.0.1", 11211, timeout=1.0) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    async with AsyncClient("127.0.0.1", 11211, timeout=1.0) as client:
        await client.get(b"greeting")

    with Cluster(["10.0.0.1:11211", "10.0.0.2:11211"]) as cluster:
        cluster.get(b"greeting")

Values are bytes; with ``values="json"``, the name of another client or a serde they are other objects. No reply ever
reaches a call that it does not answer: not after a timeout, a cancelled task, an exception of a signal handler or a
fork.
"""

from memproto.clients.async_client import AsyncClient
from memproto.clients.async_cluster import AsyncCluster
from memproto.clients.client import Client
from memproto.clients.cluster import Cluster
from memproto.clients.options import AsyncSettings, Settings
from memproto.clients.reports import CallReport
from memproto.clients.ring import Node, Ring
from memproto.clients.routing import UNKNOWN, KeyList, Unknown
from memproto.commands import AuthenticationError, Lease, ReplyTooLargeError, ServerError

__all__ = [
    "UNKNOWN",
    "AsyncClient",
    "AsyncCluster",
    "AsyncSettings",
    "AuthenticationError",
    "CallReport",
    "Client",
    "Cluster",
    "KeyList",
    "Lease",
    "Node",
    "ReplyTooLargeError",
    "Ring",
    "ServerError",
    "Settings",
    "Unknown",
]
