"""Opcodes of one's own: three of Couchbase's, declared for a server and for clients of it.

    python -m examples.couchbase --port 11210

HELLO agrees on features, SELECT_BUCKET chooses the cache of a connection, GET_META tells about an item. The shape of
each is checked, and they arrive as ``Unknown``. A client: ``ClientConnection(opcodes=OPCODES).send(request(HELLO))``.
"""

from __future__ import annotations

import argparse
import signal
import socket
import socketserver
import sys
import threading
import time
from contextlib import suppress

from construct import Int16ub, Int32ub, Int64ub, Struct

import memproto as mp
from memproto.engine import Engine

MUST, MAY = mp.Presence.MUST, mp.Presence.MAY
FEATURE = mp.Layout(Struct("feature" / Int16ub))
META = mp.Layout(Struct("deleted" / Int32ub, "flags" / Int32ub, "expiration" / Int32ub, "sequence" / Int64ub))
HELLO = mp.OpcodeSpec(0x1F, "HELLO", mp.Body(key=MAY, value=MAY), mp.Body(value=MAY))
SELECT_BUCKET = mp.OpcodeSpec(0x89, "SELECT_BUCKET", mp.Body(key=MUST), mp.Body())
GET_META = mp.OpcodeSpec(0xA0, "GET_META", mp.Body(key=MUST), mp.Body((META,)))
OPCODES = (HELLO, SELECT_BUCKET, GET_META)
SUPPORTED = {0x0003, 0x0008}  # TCP_NODELAY, SELECT_BUCKET
STARTED = time.time() - time.monotonic()  # Unix time that does not jump when the system's clock is set


def request(spec: mp.OpcodeSpec, key: bytes = b"", value: bytes = b"") -> mp.Unknown:
    """A request of an opcode of ours, for a client connection to send."""
    return mp.Unknown(mp.Packet(mp.Magic.REQUEST, spec.opcode, key=key, value=value))


class Handler(socketserver.BaseRequestHandler):
    """One connection, and the bucket that it has selected."""

    server: Buckets

    def handle(self) -> None:
        """Serve until the client has left, is silent for too long, or breaks the protocol."""
        connection = mp.ServerConnection(opcodes=OPCODES)
        self.engine = self.server.buckets[b"default"]
        with suppress(OSError), self.request.makefile("wb", 65536) as out:
            self.request.settimeout(600)
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while connection.state is mp.ServerState.OPEN and threading.active_count() < 1000:
                data = self.request.recv(65536)
                connection.receive_data(data) if data else connection.receive_eof()
                try:
                    while isinstance(event := connection.next_event(), mp.Envelope):
                        with self.server.lock:
                            reply = self.execute(event.request, STARTED + time.monotonic())
                        # In parts, and blocking: so a client that does not read makes us hold no more than a block.
                        out.writelines(connection.send_parts(reply, to=event))
                except mp.RemoteProtocolError as error:
                    out.write(error.reply_hint)
                out.flush()

    def execute(self, request: mp.AnyRequest, now: float) -> mp.AnyReply:
        """Give the reply to a request of ours, or of memcached."""
        if not isinstance(request, mp.Unknown) or all(request.packet.opcode != spec.opcode for spec in OPCODES):
            return self.engine.execute(request, now)
        key, value = request.packet.key, request.packet.value
        if request.packet.opcode == HELLO.opcode:
            asked = [value[at : at + FEATURE.size] for at in range(0, len(value) - 1, FEATURE.size)]
            return mp.RawReply(value=b"".join(each for each in asked if FEATURE.unpack(each)["feature"] in SUPPORTED))
        if request.packet.opcode == SELECT_BUCKET.opcode and key in self.server.buckets:
            self.engine = self.server.buckets[key]
            return mp.RawReply()
        if request.packet.opcode == GET_META.opcode:
            match self.engine.execute(mp.Get((key,), meta=mp.MetaOptions(details=True)), now):
                case mp.Values((mp.Item(flags=flags, cas=cas, meta=mp.ItemMeta(ttl=ttl)),)):
                    expiration = 0 if ttl < 0 else int(now) + ttl
                    extras = META.pack(deleted=0, flags=flags, expiration=expiration, sequence=cas)
                    return mp.RawReply(extras=extras, cas=cas)
        return mp.Failure(mp.Status.KEY_NOT_FOUND)  # of the bucket, or of the item


class Buckets(socketserver.ThreadingTCPServer):
    """The buckets by their names, and the lock that threads share them with."""

    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
    buckets, lock = {b"default": Engine(), b"users": Engine()}, threading.Lock()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="examples.couchbase")
    parser.add_argument("--port", default=11210, type=int, help="0 is a free one")
    with Buckets(("127.0.0.1", parser.parse_args().port), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever(0.1)
