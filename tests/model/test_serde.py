"""Serdes: values to the bytes and flags that a client reads, and back."""

from __future__ import annotations

import math
import pickle
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memproto import LocalProtocolError
from memproto.clients.pickles import pickling
from memproto.commands import Commands
from memproto.conventions import CONVENTIONS, JSON_OBJECTS, ConventionError, Objects, serde
from tests.support.mutations import mutated
from tests.support.reached import reached, reaches

PYTHON = ["python-binary-memcached", "pymemcache", "pylibmc"]
PICKLED_NONE = b"\x80\x04N."

WRITTEN: list[tuple[str, object, bytes, int]] = [
    ("raw", b"\x00\xff", b"\x00\xff", 0),
    ("python-binary-memcached", "žlutý", b"\xc5\xbelut\xc3\xbd", 0),
    ("python-binary-memcached", "", b"", 0),
    ("python-binary-memcached", b"\xff", b"\xff", 16),
    ("python-binary-memcached", -(2**70), b"-1180591620717411303424", 2),
    ("pymemcache", "žlutý", b"\xc5\xbelut\xc3\xbd", 16),
    ("pymemcache", b"\xff", b"\xff", 0),
    ("pymemcache", -(2**70), b"-1180591620717411303424", 2),
    ("pylibmc", "žlutý", b"\xc5\xbelut\xc3\xbd", 16),
    ("pylibmc", b"", b"", 0),
    ("pylibmc", 42, b"42", 4),
    ("pylibmc", True, b"1", 2),
    ("dalli", "žlutý", b"\xc5\xbelut\xc3\xbd", 4),
    ("dalli", b"\xff", b"\xff", 0),
]


@pytest.mark.parametrize(("client", "value", "data", "flags"), WRITTEN)
def test_what_a_client_reads(client: str, value: object, data: bytes, flags: int) -> None:
    dump, load = serde(client)
    assert dump(value) == (data, flags)
    assert load(data, flags) == value


@pytest.mark.parametrize(
    ("client", "value", "message"),
    [
        ("raw", "text", "raw has no form for this str"),
        ("raw", 1, "raw has no form for this int"),
        ("python-binary-memcached", True, "bmemcached has no form for this bool"),
        ("python-binary-memcached", None, "bmemcached has no form for this NoneType"),
        ("pymemcache", [1], "pymemcache-compressed has no form for this list"),
        ("pylibmc", 1.5, "pylibmc has no form for this float"),
        ("dalli", 1, "dalli has no form for this int"),
    ],
)
def test_what_has_no_form(client: str, value: object, message: str) -> None:
    with pytest.raises(ConventionError, match=f"^{message}$"):
        serde(client).dump(value)


def test_raw_knows_no_flags() -> None:
    assert serde("raw").load(b"x", 0xDEADBEEF) == b"x"


# --- JSON


@pytest.mark.parametrize(("client", "flags"), [*((name, 1) for name in PYTHON), ("dalli", 1)])
def test_json_goes_where_the_client_has_its_objects(client: str, flags: int) -> None:
    dump, load = serde(client, objects=JSON_OBJECTS)
    for value, data in (
        ({"a": [1, None, "ž"]}, b'{"a": [1, null, "\\u017e"]}'),
        ([], b"[]"),
        (None, b"null"),
        (1.5, b"1.5"),
    ):
        assert dump(value) == (data, flags)
        assert load(data, flags) == value
    # What has a form of its own keeps it.
    assert dump("text") == serde(client).dump("text")
    with pytest.raises(ConventionError, match=r"value is not private \(by the serializer given\): "):
        load(PICKLED_NONE, flags)


def test_json_where_the_convention_has_it() -> None:
    for name, flags in (("php-memcached", 6), ("node-memcached", 2), ("couchbase", 0x02000000)):
        dump, load = serde(CONVENTIONS[name])
        assert dump({"a": [1, "x\r\n"]}) == (b'{"a": [1, "x\\r\\n"]}', flags)
        assert load(b'{"a": [1, "x\\r\\n"]}', flags) == {"a": [1, "x\r\n"]}
        text, own = dump("text")
        assert (text, load(text, own)) == (b"text", "text")


@pytest.mark.parametrize("value", [(1,), {1: 2}, {"a": (1,)}, {"a": b"x"}, [math.nan], object(), [[object]]])
def test_what_json_would_change_is_refused(value: object) -> None:
    with pytest.raises(ConventionError, match="has no form for this"):
        serde("pymemcache", objects=JSON_OBJECTS).dump(value)


@pytest.mark.parametrize("client", PYTHON)
def test_numbers_have_a_limit(client: str) -> None:
    for objects in (None, JSON_OBJECTS):
        with pytest.raises(ConventionError, match="has no form for this int: "):
            serde(client, objects=objects).dump(10**5000)
    with pytest.raises(ConventionError, match="has no form for this list"):
        serde(client, objects=JSON_OBJECTS).dump([10**5000])


def test_json_without_a_bottom() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ConventionError, match="has no form for this list: Circular reference"):
        serde("pylibmc", objects=JSON_OBJECTS).dump(endless)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ConventionError, match="has no form for this list"):
        serde("pylibmc", objects=JSON_OBJECTS).dump(deep)


def test_a_serializer_of_your_own() -> None:
    backwards = Objects(lambda value: repr(value).encode()[::-1], lambda data: data[::-1])
    dump, load = serde("pylibmc", objects=backwards)
    assert dump(1.5) == (b"5.1", 1)
    assert load(b"5.1", 1) == b"1.5"
    assert dump(1) == (b"1", 4)


# --- compression


@pytest.mark.parametrize(("client", "flags"), [*zip(PYTHON, (24, 8, 8), strict=True), ("dalli", 2)])
def test_long_values_are_compressed_as_the_client_does_it(client: str, flags: int) -> None:
    dump, load = serde(client, compress_over=100)
    value = b"x" * 101
    data, written = dump(value)
    assert written == flags
    assert zlib.decompress(data) == value
    assert load(data, written) == value
    # Neither short ones nor those that become no smaller.
    assert dump(value[:100])[0] == value[:100]
    noise = bytes(range(128))
    assert dump(noise)[0] == noise


def test_compression_of_text_numbers_and_objects() -> None:
    for client in PYTHON:
        dump, load = serde(client, compress_over=10, objects=JSON_OBJECTS)
        for value in ("x" * 100, int("7" * 100), ["x" * 100]):
            data, flags = dump(value)
            assert flags & 8
            assert load(data, flags) == value


def test_java_has_gzip() -> None:
    dump, load = serde(CONVENTIONS["spymemcached"], compress_over=10)
    data, flags = dump("x" * 100)
    assert (data[:2], flags) == (b"\x1f\x8b", 2)
    assert load(data, flags) == "x" * 100


def test_expansion_has_a_limit() -> None:
    bomb = zlib.compress(bytes(1_000_001))
    with pytest.raises(ConventionError, match="compressed value expands to more than 1000000 bytes"):
        serde("pymemcache", limit=1_000_000).load(bomb, 8)
    with pytest.raises(ConventionError, match="compressed value expands to more than 1000000 bytes"):
        pickling("pymemcache", limit=1_000_000).load(bomb, 9)
    with pytest.raises(ConventionError, match="compressed value expands to more than 16777216 bytes"):
        serde("pylibmc").load(zlib.compress(bytes(16 * 1024 * 1024 + 1)), 8)


def test_impossible_options() -> None:
    with pytest.raises(
        LocalProtocolError, match=r"^client is 'redis', must be one of raw, python-binary-memcached, py"
    ):
        serde("redis")
    with pytest.raises(LocalProtocolError, match=r"^limit is -1, the least is 0$"):
        serde("raw", limit=-1)
    with pytest.raises(LocalProtocolError, match=r"^compress_over is -1, the least is 0$"):
        serde("pylibmc", compress_over=-1)
    with pytest.raises(LocalProtocolError, match=r"^raw has no flags for objects or compression$"):
        serde("raw", objects=JSON_OBJECTS)
    with pytest.raises(LocalProtocolError, match=r"^raw has no flags for objects or compression$"):
        serde("raw", compress_over=1)
    with pytest.raises(LocalProtocolError, match=r"^memjs has no flags for compression that is known here$"):
        serde(CONVENTIONS["memjs"], compress_over=1)
    with pytest.raises(LocalProtocolError, match=r"^memjs has no flags for objects of a serializer$"):
        serde(CONVENTIONS["memjs"], objects=JSON_OBJECTS)


# --- pickles


def test_the_library_never_unpickles() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("unpickled",))

    bomb = pickle.dumps(Bomb())
    for client in [*PYTHON, "dalli"]:
        for objects in (None, JSON_OBJECTS):
            for flags in (1, 9, 3):
                with pytest.raises(ConventionError):
                    serde(client, objects=objects).load(zlib.compress(bomb) if flags & 8 else bomb, flags)


@pytest.mark.parametrize("client", PYTHON)
def test_pickles_are_for_who_asks(client: str) -> None:
    dump, load = pickling(client, protocol=4)
    assert dump(None) == (PICKLED_NONE, 1)
    assert load(PICKLED_NONE, 1) is None
    assert load(b"I01\n.", 1) is True
    for value in (1.5, (1, {2}), {1: b"x"}, math.inf):
        assert load(*dump(value)) == value
    # No pickles where the client has a form.
    assert dump("text") == serde(client).dump("text")
    assert dump(2**70) == serde(client).dump(2**70)
    data, flags = pickling(client, compress_over=50).dump(["x" * 100])
    assert (flags, load(data, flags)) == (9, ["x" * 100])
    with pytest.raises(ConventionError, match="it is no pickle"):
        load(b"x", 1)
    with pytest.raises(ConventionError, match="has no form for this function: it is not pickled"):
        dump(lambda: None)


@pytest.mark.parametrize("client", ["raw", "dalli", "redis"])
def test_only_pythons_clients_pickle(client: str) -> None:
    with pytest.raises(ValueError, match="must be python-binary-memcached, pymemcache or pylibmc"):
        pickling(client)


# --- in use

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


surrogates = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3)


@pytest.mark.parametrize("client", [*PYTHON, "dalli"])
@pytest.mark.parametrize("kind", ["any", "surrogates"])
@reaches(loaded={"any": 0.7}, refused={"surrogates": 0.7})
@given(data=st.data(), over=st.none() | st.integers(0, 20))
def test_what_is_dumped_is_loaded(kind: str, client: str, data: st.DataObject, over: int | None) -> None:
    dump, load = serde(client, objects=JSON_OBJECTS, compress_over=over)
    value = data.draw(surrogates if kind == "surrogates" else values | st.binary())
    try:
        dumped, flags = dump(value)
    except ConventionError:
        reached("refused")
        assert isinstance(value, str)
        assert any("\ud800" <= each <= "\udfff" for each in value)
        return
    reached("loaded")
    loaded = load(dumped, flags)
    assert loaded == value
    assert type(loaded) is type(value) or (client, type(value)) == ("pylibmc", bool)


@pytest.mark.parametrize("client", [*PYTHON, "dalli", "raw"])
@pytest.mark.parametrize("source", ["rubbish", "spoilt"])
@reaches(value=0.05)
@given(data=st.data(), over=st.none() | st.integers(0, 20))
def test_any_bytes_are_a_value_or_one_exception(
    source: str, client: str, data: st.DataObject, over: int | None
) -> None:
    ours = serde(client, objects=None if client == "raw" else JSON_OBJECTS, limit=1000)
    if source == "spoilt" and client != "raw":
        good = data.draw(st.sampled_from(["text" * 20, 12, True, b"bytes", [1, {"two": None}]]))
        said, flags = serde(client, objects=JSON_OBJECTS, compress_over=over).dump(good)
        said = data.draw(st.just(said) | mutated(said))
    else:
        said, flags = data.draw(st.binary(max_size=100)), data.draw(st.integers(0, 63))
    try:
        value = ours.load(said, flags)
    except ConventionError:
        return
    reached("value")
    assert isinstance(value, type(None) | bool | int | float | str | bytes | list | dict)


def test_calls_take_a_serde() -> None:
    call = Commands(serde("pylibmc")).set(b"key", 42)
    assert call.requests[0].flags == 4  # type: ignore[attr-defined]
    assert call.requests[0].value == b"42"  # type: ignore[attr-defined]
