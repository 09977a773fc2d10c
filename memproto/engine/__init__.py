"""The rules of a cache and nothing else: expiry, CAS, arithmetic, eviction, statistics.

It knows messages, not dialects; it does no I/O and reads no clock. ``Engine.execute(request, now)`` gives the
reply, the same for the same requests and times. What should outlive the process goes through a :class:`Journal`.
"""

from memproto.engine._dump import Dump
from memproto.engine._engine import Engine
from memproto.engine._expiry import expires_at
from memproto.engine._items import ITEM_OVERHEAD, Entry, stored_size
from memproto.engine._journal import Journal, JournalState, StoredItem
from memproto.limits import MONTH

__all__ = [
    "ITEM_OVERHEAD",
    "MONTH",
    "Dump",
    "Engine",
    "Entry",
    "Journal",
    "JournalState",
    "StoredItem",
    "expires_at",
    "stored_size",
]
