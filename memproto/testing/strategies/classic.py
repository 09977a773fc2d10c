"""Classic text: requests under every verb, and the replies to them. Words and arguments are read from its table."""

from __future__ import annotations

from hypothesis import strategies as st

from memproto import model
from memproto.testing.strategies.items import EXPTIMES, U32, U64, Bytes, pooled_text_keys, texts, values_or, words
from memproto.testing.strategies.kinds import Kinds, chosen, weighted
from memproto.text import CLASSIC_COMMANDS, META_FLAGS

_ADMIN_VERBS = [verb for verb, command in CLASSIC_COMMANDS.items() if command.request is model.AdminCommand]
#: The words that begin a command, whatever follows.
_WORDS = CLASSIC_COMMANDS.keys() | META_FLAGS.keys() | {b"mn", b"me"}
# Second words of commands that list items -> the line that ends the reply.
_CACHEDUMP = b"cachedump"
_DUMPS = {_CACHEDUMP: b"END", b"metadump": b"END", b"mgdump": b"EN"}
# Groups of statistics that are answered in another form.
_DETAIL_DUMP = b"detail dump"
_WITHOUT_STATISTICS = (b"reset", b"detail on", b"detail off")


# --- requests


def _lines(verb: bytes, request: st.SearchStrategy[model.AnyRequest]) -> st.SearchStrategy[model.ClassicEnvelope]:
    noreply = st.booleans() if CLASSIC_COMMANDS[verb].noreply else st.just(False)
    return st.builds(model.ClassicEnvelope, request, st.just(verb), noreply)


def _groups() -> Bytes:
    known = st.sampled_from([b"", b"items", _DETAIL_DUMP, *_WITHOUT_STATISTICS])
    return known | st.lists(words(20).filter(lambda word: word != _CACHEDUMP), max_size=3).map(b" ".join)


def _administration() -> st.SearchStrategy[model.ClassicEnvelope]:
    rest = st.lists(words(20) | st.sampled_from(sorted(_DUMPS)), max_size=3)
    tuned = st.builds(lambda verb, words: (verb, *words), st.sampled_from(_ADMIN_VERBS), rest)
    dumped = rest.map(lambda words: (b"stats", _CACHEDUMP, *words))
    kept = (tuned | dumped).filter(lambda words: not CLASSIC_COMMANDS[words[0]].noreply or words[-1] != b"noreply")
    return kept.flatmap(lambda words: _lines(words[0], st.just(model.AdminCommand(words))))


def _is_unknown(line: bytes) -> bool:
    words = line.split()
    return line[:1] < b"\x7f" and not (words and (words[0] in _WORDS or b"HTTP/" in words[-1]))


def _unknown_lines() -> st.SearchStrategy[model.ClassicEnvelope]:
    line = texts().map(lambda line: line.lstrip(b" ")).filter(_is_unknown)
    return line.map(lambda line: model.ClassicEnvelope(model.UnknownLine(line), line.split(b" ")[0]))


def _envelopes(keys: Bytes, values: Bytes) -> dict[type[model.AnyRequest], st.SearchStrategy[model.ClassicEnvelope]]:
    # By the name of the argument.
    arguments: dict[str, st.SearchStrategy[object]] = {
        "keys": st.lists(keys, min_size=1, max_size=4).map(tuple),
        "key": keys,
        "length": values,
        "flags": U32,
        "level": U32,
        "exptime": EXPTIMES,
        "delay": st.none() | EXPTIMES,
        "delta": U64,
        # The CAS 0 of a line is -1 in a message.
        "cas": U64.filter(bool) | st.just(-1),
    }
    made: dict[type[model.AnyRequest], st.SearchStrategy[model.ClassicEnvelope]] = {}
    simplest = (model.Version, model.Quit)
    for command in sorted(CLASSIC_COMMANDS.values(), key=lambda command: command.request not in simplest):
        if command.request not in (model.Stats, model.AdminCommand):
            fields = {each.field: arguments[each.name] for each in command.arguments if each.field}
            lines = _lines(command.verb, st.builds(command.request, **fields))
            made[command.request] = made[command.request] | lines if command.request in made else lines
    others = {model.Stats: _lines(b"stats", st.builds(model.Stats, _groups())), model.AdminCommand: _administration()}
    return made | others | {model.UnknownLine: _unknown_lines()}


def classic_envelopes(
    *, keys: Bytes | None = None, values: Bytes | None = None, kinds: Kinds | None = None
) -> st.SearchStrategy[model.ClassicEnvelope]:
    """Every request of classic text under every verb, with and without ``noreply``; also lines that nobody knows.

    ``keys``, ``values`` and ``kinds`` are as in :func:`requests`; keys must be able to stand in a line.
    """
    made = _envelopes(pooled_text_keys(keys), values_or(values))
    return weighted(chosen(kinds, made)).flatmap(made.__getitem__)


# --- replies


def _is_no_failure(line: bytes) -> bool:
    return not line.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR"))


def _administered(words: tuple[bytes, ...]) -> st.SearchStrategy[model.AdminReply]:
    end = _DUMPS.get(b"".join(words[1:2]))
    if end is None:
        return texts().filter(_is_no_failure).map(lambda line: model.AdminReply((line,)))
    # A word in capitals may end it.
    inner = st.lists(texts().filter(lambda line: not line.split(b" ")[0].isupper()), max_size=4)
    busy = st.just(model.AdminReply((b"BUSY currently processing",)))
    return inner.map(lambda lines: model.AdminReply((*lines, end))) | busy


def _statistics(group: bytes) -> st.SearchStrategy[model.StatsReply]:
    if group in _WITHOUT_STATISTICS:
        return st.just(model.StatsReply())
    if group == _DETAIL_DUMP:
        lines = st.lists(words().map(lambda word: b"PREFIX " + word + b" get 1\r\n"), max_size=3).map(b"".join)
        return lines.map(lambda dump: model.StatsReply(((b"detailed", dump + b"END\r\n"),)))
    return st.lists(st.tuples(words(), texts()), max_size=4).map(lambda pairs: model.StatsReply(tuple(pairs)))


@st.composite
def _found(draw: st.DrawFn, envelope: model.ClassicEnvelope, keys: tuple[bytes, ...], values: Bytes) -> model.Values:
    with_cas = envelope.verb in (b"gets", b"gats")
    hits = [key for key in keys if draw(st.booleans())]
    return model.Values(tuple(model.Item(key, draw(values), draw(U32), draw(U64) if with_cas else 0) for key in hits))


def _clusters() -> st.SearchStrategy[model.ClusterConfigReply]:
    name = words().filter(lambda word: b"|" not in word)
    node = st.builds(model.ClusterNode, name, st.just(b"") | name, st.integers(0, 65535))
    return st.builds(model.ClusterConfigReply, U64, st.lists(node, max_size=4).map(tuple))


def classic_successes(envelope: model.ClassicEnvelope, values: Bytes) -> st.SearchStrategy[model.AnyReply]:
    """The replies that say a success or a miss."""
    request = envelope.request
    match request:
        case model.Get(keys):
            return _found(envelope, keys, values)
        case model.Increment() | model.Decrement():
            return st.builds(model.Counter, U64)
        case model.Version():
            return st.builds(model.VersionReply, texts())
        case model.Stats(group):
            return _statistics(group)
        case model.AdminCommand(words):
            return _administered(words)
        case model.ClusterConfig():
            return _clusters()
        case model.UnknownLine():
            lines = texts().filter(_is_no_failure)
            return lines.map(lambda line: model.RawReply(value=line + b"\r\n"))
        case _:
            # No other reply has a field in classic text.
            return st.builds(request.reply_types()[0])
