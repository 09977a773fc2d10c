"""What a client refuses to send, as a literal table: each kind of request, each dialect, each field, each bad value."""

from __future__ import annotations

import pytest

from memproto import (
    Add,
    AdminCommand,
    AnyRequest,
    Append,
    ClientConnection,
    ClientState,
    Decrement,
    Delete,
    Dialect,
    Flush,
    Get,
    Increment,
    LocalProtocolError,
    MetaDebug,
    MetaOptions,
    Noop,
    Prepend,
    Quit,
    Replace,
    SaslAuth,
    SaslList,
    SaslStep,
    Set,
    Stats,
    Touch,
    UnknownLine,
    Verbosity,
    Version,
)

BINARY, CLASSIC, META = Dialect.BINARY, Dialect.CLASSIC, Dialect.META

# What is refused, and what is taken.
BadAndGood = tuple[tuple[object, ...], tuple[object, ...]]

# --- values, by name

SPACE, CR, LF, NUL = b"a b", b"a\rb", b"a\nb", b"a\0b"
INJECTED = b"a 1\r\nflush_all\r\n"
EMPTY, LONGEST, TOO_LONG, STR = b"", b"k" * 250, b"k" * 251, "k"
# In base64 these are 248 and 252 bytes.
LONGEST_BASE64, TOO_LONG_BASE64 = b"\xff" * 186, b"\xff" * 187
BREAKS = (SPACE, CR, LF, NUL, INJECTED)

U32, U64, I32 = 2**32 - 1, 2**64 - 1, 2**31 - 1

# What is refused in the place of a key, and what is taken: binary takes any bytes, classic one word, meta base64.
KEYS: dict[Dialect, BadAndGood] = {
    BINARY: ((EMPTY, TOO_LONG, STR, None), (b"k", LONGEST, *BREAKS, b"\xff" * 250)),
    CLASSIC: ((EMPTY, TOO_LONG, STR, None, *BREAKS), (b"k", LONGEST, b"\xff" * 250)),
    META: ((EMPTY, TOO_LONG, STR, None, TOO_LONG_BASE64), (b"k", LONGEST, *BREAKS, LONGEST_BASE64)),
}
EXPTIMES: dict[Dialect, BadAndGood] = {
    BINARY: ((-1, U32 + 1, "1", 1.5, b"1"), (0, 1, U32 - 1)),
    CLASSIC: ((-I32 - 2, I32 + 1, "1", 1.5, b"1"), (0, -1, I32, -I32 - 1)),
    META: ((-I32 - 2, I32 + 1, "1", 1.5, b"1"), (0, -1, I32, -I32 - 1)),
}
FLAGS: BadAndGood = ((-1, U32 + 1, "1", 1.5, None), (0, 1, U32))
VALUES: BadAndGood = (("v", None, 5, bytearray(b"v")), (b"", b"\r\nquit\r\n"))
NUMBERS64: BadAndGood = ((-1, U64 + 1, "1", 1.5, None), (0, 1, U64))
# A CAS of -1 is the 0 that text compares with.
CAS_BINARY: BadAndGood = ((-1, U64 + 1, "1", 1.5, None), (0, 1, U64))
CAS_TEXT: BadAndGood = ((-2, U64 + 1, "1", 1.5, None), (-1, 0, 1, U64))
NO_CAS: BadAndGood = ((-2, -1, 1, U64, U64 + 1, "1", 1.5, None), (0,))

Row = tuple[AnyRequest, str, Dialect, tuple[object, ...], tuple[object, ...]]


def _rows(request: AnyRequest, field: str, by_dialect: dict[Dialect, BadAndGood]) -> list[Row]:
    return [(request, field, dialect, *values) for dialect, values in by_dialect.items()]


def _everywhere(
    values: tuple[tuple[object, ...], tuple[object, ...]],
) -> dict[Dialect, BadAndGood]:
    return dict.fromkeys(Dialect, values)


STORES: tuple[AnyRequest, ...] = (Set(b"k", b"v"), Add(b"k", b"v"), Replace(b"k", b"v"))
CONCATENATIONS: tuple[AnyRequest, ...] = (Append(b"k", b"v"), Prepend(b"k", b"v"))
COUNTS: tuple[AnyRequest, ...] = (Increment(b"k"), Decrement(b"k"))

WITH_KEY: tuple[AnyRequest, ...] = (*STORES, *CONCATENATIONS, *COUNTS, Delete(b"k"), Touch(b"k", 1))

TABLE: list[Row] = [
    # Keys.
    *(row for request in WITH_KEY for row in _rows(request, "key", KEYS)),
    *_rows(MetaDebug(b"k"), "key", {META: KEYS[META], BINARY: ((b"k",), ()), CLASSIC: ((b"k",), ())}),
    *_rows(
        Get((b"k",)),
        "keys",
        {
            dialect: (
                (
                    (), None, b"k", "k", [b"k"],
                    *((key,) for key in refused), *((b"a", key) for key in refused), *((key, b"a") for key in refused),
                ),
                tuple((key,) for key in taken) + tuple((b"a", key, b"b") for key in taken),
            )
            for dialect, (refused, taken) in KEYS.items()
        },
    ),
    # Values.
    *(row for request in (*STORES, *CONCATENATIONS) for row in _rows(request, "value", _everywhere(VALUES))),
    # Numbers.
    *(row for request in STORES for row in _rows(request, "flags", _everywhere(FLAGS))),
    *(row for request in (*STORES, Touch(b"k", 1)) for row in _rows(request, "exptime", EXPTIMES)),
    *(row for request in (Get((b"k",)), Get((b"a", b"b")), Flush()) for row in _rows(request, "exptime", EXPTIMES)),
    *(
        row
        for request in COUNTS
        for row in _rows(
            request,
            "exptime",
            {
                BINARY: ((-1, U32, U32 + 1, "1", 1.5), (0, U32 - 1)),
                CLASSIC: ((-1, 0, 1, I32, "1"), (None,)),
                META: ((-I32 - 2, I32 + 1, "1", 1.5), (None, 0, -1, I32)),
            },
        )
    ),
    *_rows(Set(b"k", b"v"), "cas", {BINARY: CAS_BINARY, CLASSIC: CAS_TEXT, META: CAS_TEXT}),
    *_rows(Replace(b"k", b"v"), "cas", {BINARY: CAS_BINARY, CLASSIC: NO_CAS, META: CAS_TEXT}),
    *_rows(Add(b"k", b"v"), "cas", {BINARY: CAS_BINARY, CLASSIC: NO_CAS, META: CAS_TEXT}),
    *_rows(Delete(b"k"), "cas", {BINARY: CAS_BINARY, CLASSIC: NO_CAS, META: CAS_TEXT}),
    *(
        row
        for request in (*CONCATENATIONS, *COUNTS)
        for row in _rows(request, "cas", {BINARY: CAS_BINARY, CLASSIC: NO_CAS, META: CAS_BINARY})
    ),
    *(row for request in COUNTS for row in _rows(request, "delta", _everywhere(NUMBERS64))),
    *(
        row
        for request in COUNTS
        for row in _rows(request, "initial", {BINARY: NUMBERS64, META: NUMBERS64, CLASSIC: (("1", 1.5, None), (0, 7))})
    ),
    *_rows(Verbosity(1), "level", _everywhere(FLAGS)),
    # The rest.
    *_rows(
        Stats(),
        "group",
        {
            BINARY: ((TOO_LONG, STR, None), (EMPTY, b"items", LONGEST, CR, b"items x")),
            **dict.fromkeys(
                (CLASSIC, META),
                ((TOO_LONG, STR, None, CR, LF, NUL, INJECTED, b" a", b"a ", b"a  b", b"items x", b"cachedump 1 1"),
                 (EMPTY, b"items", b"detail on")),
            ),
        },
    ),
    *(
        row
        for dialect in (CLASSIC, META)
        for row in _rows(
            AdminCommand((b"slabs", b"automove", b"0")),
            "words",
            {
                dialect: (
                    ((), (b"get", b"k"), (b"slabs", *BREAKS), (b"slabs", EMPTY), (b"slabs", TOO_LONG), (b"slabs", STR),
                     (b"stats",), (b"cache_memlimit", b"1", b"noreply"), [b"slabs"], b"slabs", None),
                    ((b"slabs", b"automove", b"1"), (b"stats", b"cachedump", b"1", b"0"), (b"shutdown",)),
                )
            },
        )
    ),
    *(
        row
        for dialect in (CLASSIC, META)
        for row in _rows(
            UnknownLine(b"what"),
            "line",
            {
                dialect: (
                    (CR, LF, NUL, INJECTED, STR, None, b"get k", b" set k 0 0 1", b"mn", b"\x80", b"x HTTP/1.1",
                     b"x" * 2049),
                    (b"what is this", b"x" * 2048, EMPTY),
                )
            },
        )
    ),
    *_rows(
        SaslAuth(b"PLAIN", b"\0u\0p"),
        "data",
        {
            BINARY: ((STR, None), (EMPTY, b"\0u\0p", INJECTED)),
            **dict.fromkeys(
                (CLASSIC, META),
                ((STR, None, EMPTY, b"u\0p", b"a\0u\0p", b"\0u\0p\0", b"\0\0p", b"\0" + SPACE + b"\0p", b"\0u\r\0p",
                  b"\0u\n\0p", b"\0u\0p\r\nquit", b"\0u\0p\n", b"\0" + TOO_LONG + b"\0p", b"\0u\0" + b"p" * 1025),
                 (b"\0u\0p", b"\0u\0", b"\0u\0p p", b"\0u\0" + b"p" * 1024)),
            ),
        },
    ),
    *_rows(SaslAuth(b"PLAIN", b"\0u\0p"), "mechanism", {
        BINARY: ((EMPTY, b"m" * 33, STR, None), (b"PLAIN", b"m" * 32)),
        CLASSIC: ((EMPTY, b"CRAM-MD5", STR), (b"PLAIN",)),
        META: ((EMPTY, b"CRAM-MD5", STR), (b"PLAIN",)),
    }),
    # What only meta can say.
    *(
        row
        for request, names in (
            (Get((b"k",)), ("vivify", "recache")),
            (Set(b"k", b"v"), ("vivify",)),
            (Append(b"k", b"v"), ("vivify",)),
            (Increment(b"k"), ("exptime",)),
        )
        for name in names
        for row in _rows(
            request,
            f"meta.{name}",
            {META: ((-I32 - 2, I32 + 1, "1", 1.5), (0, I32)), BINARY: ((0, 5), ()), CLASSIC: ((0, 5), ())},
        )
    ),
    *(
        row
        for request, name in (
            (Get((b"k",)), "unless_cas"),
            (Get((b"k",)), "new_cas"),
            (Set(b"k", b"v"), "new_cas"),
            (Add(b"k", b"v"), "new_cas"),
            (Replace(b"k", b"v"), "new_cas"),
            (Append(b"k", b"v"), "new_cas"),
            (Prepend(b"k", b"v"), "new_cas"),
            (Increment(b"k"), "new_cas"),
            (Decrement(b"k"), "new_cas"),
        )
        for row in _rows(
            request, f"meta.{name}", {META: NUMBERS64, BINARY: ((1, U64, -1), (0,)), CLASSIC: ((1, U64, -1), (0,))}
        )
    ),
    *(
        (request, f"meta.{name}", dialect, (True,), ())
        for request in (Set(b"k", b"v"), Get((b"k",)), Delete(b"k"), Increment(b"k"), Append(b"k", b"v"))
        for name in ("invalidate", "details", "drop_value")
        for dialect in (BINARY, CLASSIC)
    ),
    (Set(b"k", b"v"), "meta.drop_value", META, (True,), (False,)),
    (Get((b"k",)), "meta.invalidate", META, (True,), (False,)),
    (Delete(b"k"), "meta.details", META, (True,), (False,)),
    (Delete(b"k"), "meta.exptime", META, (5,), (None,)),
    (Increment(b"k"), "meta.ttl_first", META, (True,), (False,)),
]  # fmt: skip


def _with(request: AnyRequest, field: str, value: object) -> AnyRequest:
    if field.startswith("meta."):
        return request.replace(meta=MetaOptions(**{field[5:]: value}))  # type: ignore[arg-type]
    return request.replace(**{field: value})


@pytest.mark.parametrize(
    ("request_", "field", "dialect", "refused", "taken"),
    TABLE,
    ids=[f"{dialect.value}-{type(request).__name__}.{field}" for request, field, dialect, _, _ in TABLE],
)
def test_what_is_refused_is_not_sent_and_what_is_within_the_rules_is(
    request_: AnyRequest, field: str, dialect: Dialect, refused: tuple[object, ...], taken: tuple[object, ...]
) -> None:
    client = ClientConnection(dialect=dialect)
    for value in refused:
        request = _with(request_, field, value)
        with pytest.raises(LocalProtocolError):
            client.send(request)
        with pytest.raises(LocalProtocolError):
            client.send_all([Noop(), request])
        assert (client.outstanding, client.state) == (0, ClientState.OPEN)
    for value in taken:
        assert ClientConnection(dialect=dialect).send(_with(request_, field, value)).data


@pytest.mark.parametrize(
    ("dialect", "request_"),
    [
        *((BINARY, request) for request in (UnknownLine(b"what"), AdminCommand((b"slabs",)), MetaDebug(b"k"))),
        *((dialect, request) for dialect in (CLASSIC, META) for request in (SaslList(), SaslStep(b"PLAIN"))),
        (CLASSIC, MetaDebug(b"k")),
    ],
)
def test_a_kind_that_a_dialect_does_not_have_is_refused(dialect: Dialect, request_: AnyRequest) -> None:
    client = ClientConnection(dialect=dialect)
    with pytest.raises(LocalProtocolError):
        client.send(request_)
    assert client.outstanding == 0


def test_the_table_has_each_kind_with_a_field_in_each_dialect() -> None:
    named = {(type(request), dialect) for request, _, dialect, _, _ in TABLE}
    kinds = {
        Get,
        Set,
        Add,
        Replace,
        Append,
        Prepend,
        Delete,
        Increment,
        Decrement,
        Touch,
        Flush,
        Stats,
        Verbosity,
        SaslAuth,
    }
    assert {(kind, dialect) for kind in kinds for dialect in Dialect} <= named
    # These have none.
    for request in (Version(), Noop(), Quit()):
        for dialect in Dialect:
            assert ClientConnection(dialect=dialect).send(request).data


# --- what goes out, literally


@pytest.mark.parametrize(
    ("dialect", "request_", "data"),
    [
        (META, Get((b"k",), exptime=5), b"mg k T5 v f c k O0\r\n"),
        (META, Get((b"a", b"b"), exptime=5), b"mg a T5 v f c k O0\r\nmg b T5 v f c k O0\r\n"),
        (META, Get((b"k",), exptime=0), b"mg k T0 v f c k O0\r\n"),
        (CLASSIC, Get((b"k",), exptime=5), b"gats 5 k\r\n"),
        (CLASSIC, Get((b"k",)), b"gets k\r\n"),
        (META, Set(b"k", b"v", cas=7, meta=MetaOptions(new_cas=9)), b"ms k 1 C7 E9 c O0\r\nv\r\n"),
    ],
)
def test_request_is_sent_as_these_bytes(dialect: Dialect, request_: AnyRequest, data: bytes) -> None:
    assert ClientConnection(dialect=dialect).send(request_).data == data
