"""Clients of memcached: blocking and asyncio, for one server or several.

    with Client("127.0.0.1", 11211, timeout=1.0) as client:
        client.set(b"greeting", b"hello")
        client.get(b"greeting")

    async with AsyncClient("127.0.0.1", 11211, timeout=1.0) as client:
        await client.get(b"greeting")

    with Cluster(["10.0.0.1:11211", "10.0.0.2:11211"]) as cluster:
        cluster.get(b"greeting")

The classes whose names end in ``Of`` take :class:`memproto.commands.Commands` with a serde of your choice and so have
other values than bytes. No reply ever reaches a call that it does not answer: not after a timeout, a cancelled task, an
exception of a signal handler or a fork.
"""

from memproto.clients.async_client import AsyncClient, AsyncClientOf
from memproto.clients.async_cluster import AsyncCluster, AsyncClusterOf
from memproto.clients.client import Client, ClientOf
from memproto.clients.cluster import Cluster, ClusterOf
from memproto.clients.ring import Node, Ring
from memproto.clients.routing import UNKNOWN, KeyList, Unknown
from memproto.commands import AuthenticationError, ReplyTooLargeError, ServerError

__all__ = [
    "UNKNOWN",
    "AsyncClient",
    "AsyncClientOf",
    "AsyncCluster",
    "AsyncClusterOf",
    "AuthenticationError",
    "Client",
    "ClientOf",
    "Cluster",
    "ClusterOf",
    "KeyList",
    "Node",
    "ReplyTooLargeError",
    "Ring",
    "ServerError",
    "Unknown",
]
