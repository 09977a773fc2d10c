"""One message of each kind with right fields, and for each field the values whose type is wrong.

What is right is written here by hand, for each annotation that occurs, apart from how the library derives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from memproto import (
    Add,
    AdminCommand,
    AdminReply,
    AnyReply,
    AnyRequest,
    Append,
    Authenticated,
    Challenge,
    ClusterConfig,
    ClusterConfigReply,
    ClusterNode,
    Counter,
    Decrement,
    Delete,
    Deleted,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Item,
    ItemMeta,
    Mechanisms,
    MetaDebug,
    MetaDebugReply,
    MetaOptions,
    Noop,
    Ok,
    Packet,
    Prepend,
    Quit,
    RawReply,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    StatsReply,
    Stored,
    Touch,
    Touched,
    Unknown,
    UnknownLine,
    Values,
    Verbosity,
    Version,
    VersionReply,
)
from memproto._fields import field_names

Message: TypeAlias = AnyRequest | AnyReply | Item | ItemMeta | MetaOptions | Packet

ITEM = Item(b"k", b"v")
PACKET = Packet(0x80, 0x50)

REQUESTS: tuple[AnyRequest, ...] = (
    Get((b"k",)),
    Set(b"k", b"v"),
    Add(b"k", b"v"),
    Replace(b"k", b"v"),
    Append(b"k", b"v"),
    Prepend(b"k", b"v"),
    Delete(b"k"),
    Increment(b"k"),
    Decrement(b"k"),
    Touch(b"k"),
    Flush(),
    Stats(),
    Version(),
    Verbosity(1),
    Noop(),
    Quit(),
    SaslList(),
    SaslAuth(b"PLAIN"),
    SaslStep(b"PLAIN"),
    Unknown(PACKET),
    UnknownLine(b"what"),
    AdminCommand((b"slabs", b"automove", b"0")),
    MetaDebug(b"k"),
    ClusterConfig(),
    InvalidRequest(Failure(1), "reason"),
)
NODE = ClusterNode(b"host", b"ip", 1)
REPLIES: tuple[AnyReply, ...] = (
    Values((ITEM,)),
    Stored(),
    Deleted(),
    Counter(1),
    Touched(),
    Ok(),
    VersionReply(b"1"),
    StatsReply(((b"name", b"value"),)),
    Mechanisms(),
    Authenticated(),
    Challenge(),
    RawReply(),
    AdminReply(),
    MetaDebugReply(((b"name", b"value"),)),
    ClusterConfigReply(1, (NODE,)),
    Failure(1),
)

_CANDIDATES: tuple[object, ...] = (
    "text",
    b"bytes",
    bytearray(b"bytes"),
    7,
    1.5,
    True,
    None,
    [b"bytes"],
    (),
    (7,),
    ("text",),
    (b"bytes", "text"),
    {b"bytes": b"bytes"},
    (b"bytes",),
    ((b"bytes", b"bytes"),),
    ((b"bytes", "text"),),
    ((b"bytes",),),
    ITEM,
    (ITEM,),
    ItemMeta(),
    MetaOptions(),
    PACKET,
    Failure(1),
    Noop(),
    object(),
)
_PLAIN = {"bytes": bytes, "int": int, "bool": bool, "str": str, "Packet": Packet, "Failure": Failure}
_OPTIONAL = {
    "int": int,
    "bool": bool,
    "bytes": bytes,
    "MetaOptions": MetaOptions,
    "ItemMeta": ItemMeta,
    "Request[object]": Noop,
}


def _is_right(annotation: str, value: object) -> bool:
    if annotation in _PLAIN:
        return isinstance(value, _PLAIN[annotation])
    if annotation.endswith(" | None"):
        return value is None or isinstance(value, _OPTIONAL[annotation.removesuffix(" | None")])
    right: dict[str, tuple[object, ...]] = {
        "tuple[bytes, ...]": ((), (b"bytes",)),
        "tuple[Item, ...]": ((), (ITEM,)),
        "tuple[ClusterNode, ...]": ((), (NODE,)),
        "tuple[tuple[bytes, bytes], ...]": ((), ((b"bytes", b"bytes"),)),
    }
    return any(type(value) is tuple and value == each for each in right[annotation])


class Wrong(NamedTuple):
    """A message one of whose fields has a value of a wrong type."""

    message: Message
    field: str
    value: object

    def __str__(self) -> str:
        return f"{type(self.message).__name__}.{self.field}={self.value!r}"[:60]


def wrong_fields(message: Message) -> Iterator[Wrong]:
    """The message once for each field and each value that is wrong there."""
    for name in field_names(type(message)):
        annotation = type(message).__init__.__annotations__[name]
        for value in _CANDIDATES:
            if not _is_right(annotation, value):
                yield Wrong(message.replace(**{name: value}), name, value)


def wrong_requests() -> list[Wrong]:
    """Every request with one wrong field, those inside it included."""
    options, packets = wrong_fields(MetaOptions()), wrong_fields(PACKET)
    return [
        *(wrong for request in REQUESTS for wrong in wrong_fields(request)),
        *(
            Wrong(Get((b"k",), meta=each.message), f"meta.{each.field}", each.value)
            for each in options
            if isinstance(each.message, MetaOptions)
        ),
        *(
            Wrong(Unknown(each.message), f"packet.{each.field}", each.value)
            for each in packets
            if isinstance(each.message, Packet)
        ),
    ]


def wrong_replies() -> list[Wrong]:
    """Every reply with one wrong field, those inside it included."""
    items, metas = tuple(wrong_fields(ITEM)), wrong_fields(ItemMeta())
    return [
        *(wrong for reply in REPLIES for wrong in wrong_fields(reply)),
        *(
            Wrong(Values((*before, each.message)), f"items[{len(before)}].{each.field}", each.value)
            for before in ((), (ITEM,))
            for each in items
            if isinstance(each.message, Item)
        ),
        *(
            Wrong(Values((ITEM.replace(meta=each.message),)), f"items[0].meta.{each.field}", each.value)
            for each in metas
            if isinstance(each.message, ItemMeta)
        ),
    ]
