"""All requests: one type per meaning, the same for every dialect."""

from __future__ import annotations

from typing import TypeAlias

from memproto.model.item_requests import ItemRequest
from memproto.model.server_requests import ServerRequest

AnyRequest: TypeAlias = ItemRequest | ServerRequest
