"""Generated commands of both text dialects, over so few keys that they meet each other.

A CAS is written ``@KEY+N@``: the number that the item has at that moment, and N; 77 and N if there is no such item.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from hypothesis import strategies as st

KEYS = (b"one", b"two", b"six")
#: What counts as a number, what does not, and what is on the edge. Blanks and signs are left out: memcached reads on
#: behind them in what was stored there before.
TEXTS = (
    *(b"", b"0", b"5", b"10", b"99", b"100", b"12345", b"9223372036854775807", b"18446744073709551615"),
    *(b"18446744073709551616", b"0005", b"5\r\n", b"abc", b"12abc", b"get one\r\n", b"\x00\xff", b"mn"),
)
#: Negative is at once, 2592001 is long past; no two of them are so near each other that a clock could tell.
EXPTIMES = (b"0", b"0", b"100", b"2592000", b"2592001", b"-1", b"4294967296", b"+100")

_CAS = re.compile(rb"@(\w+)([+-]\d+)@")

keys = st.sampled_from(KEYS)
values = st.sampled_from(TEXTS)
exptimes = st.sampled_from(EXPTIMES)
flags = st.sampled_from((b"0", b"7", b"4294967295"))
numbers = st.sampled_from((b"0", b"1", b"5", b"95", b"9223372036854775808", b"18446744073709551615"))
noreply = st.sampled_from((b"", b"", b"", b" noreply"))


def filled(command: bytes, cas_of: Callable[[bytes], int]) -> bytes:
    """The command with its CAS numbers."""
    return _CAS.sub(lambda found: b"%d" % max(cas_of(found[1]) + int(found[2]), 0), command)


def cas_of(key: bytes) -> st.SearchStrategy[bytes]:
    """A CAS for this key: mostly the right one, or an older, or a newer."""
    return st.sampled_from((b"+0", b"+0", b"-1", b"+1", b"+1000")).map(lambda offset: b"@" + key + offset + b"@")


# --- classic


@st.composite
def classic_store(draw: st.DrawFn) -> bytes:
    verb = draw(st.sampled_from((b"set", b"add", b"replace", b"append", b"prepend", b"cas")))
    key, value = draw(keys), draw(values)
    words = [verb, key, draw(flags), draw(exptimes), b"%d" % len(value)]
    if verb == b"cas":
        words.append(draw(cas_of(key)))
    return b" ".join(words) + draw(noreply) + b"\r\n" + value + b"\r\n"


@st.composite
def classic_line(draw: st.DrawFn) -> bytes:
    key = draw(keys)
    several = b" ".join(draw(st.lists(keys | st.just(b"absent"), min_size=1, max_size=4)))
    line = draw(
        st.sampled_from(
            (
                *(b"get " + several, b"gets " + several, b"gets  " + several + b" "),
                *(verb + b" " + draw(exptimes) + b" " + several for verb in (b"gat", b"gats")),
                *(verb + b" " + key + b" " + draw(numbers) + draw(noreply) for verb in (b"incr", b"incr", b"decr")),
                b"touch " + key + b" " + draw(exptimes) + draw(noreply),
                b"delete " + key + draw(st.sampled_from((b"", b" 0"))) + draw(noreply),
                b"flush_all" + draw(st.sampled_from((b"", b" 0", b" 1000", b" 2592001", b" -1"))) + draw(noreply),
                b"verbosity 0" + draw(noreply),
                b"version",
            )
        )
    )
    return line + draw(st.sampled_from((b"\r\n", b"\r\n", b"\n")))


# --- meta

_MG = (b"c", b"f", b"h", b"k", b"q", b"s", b"u", b"v", b"v", b"N", b"R", b"T", b"O", b"t", b"P", b"Labc")
_MS = (b"c", b"k", b"q", b"C", b"C", b"I", b"F", b"M", b"M", b"T", b"O", b"s", b"P1")
_MD = (b"k", b"q", b"C", b"I", b"I", b"T", b"O", b"v")
_MA = (b"c", b"k", b"t", b"v", b"v", b"q", b"C", b"N", b"J", b"D", b"M", b"T", b"O")


@st.composite
def meta_flags(draw: st.DrawFn, letters: tuple[bytes, ...], key: bytes, modes: tuple[bytes, ...]) -> list[bytes]:
    tokens = {
        b"N": st.sampled_from((b"0", b"30", b"100")),
        b"R": st.sampled_from((b"0", b"60", b"500", b"-1")),
        b"T": st.sampled_from((b"0", b"100", b"1000", b"-1", b"2592001")),
        b"O": st.sampled_from((b"", b"abc", b"x" * 31)),
        b"C": cas_of(key),
        b"F": flags,
        b"M": st.sampled_from(modes),
        b"J": numbers,
        b"D": numbers,
    }
    chosen = draw(st.lists(st.sampled_from(letters), unique=True, max_size=7))
    words = [letter + draw(tokens[letter]) if letter in tokens else letter for letter in chosen]
    if b"T-1" in words or b"T2592001" in words:
        # What memcached tells as the time left of what has just expired is no number of seconds.
        words = [word for word in words if word != b"t"]
    # Before a time is set, memcached tells as the time left of what it has just made that of an item without one, and
    # judges an early recache by the old time: so those who read a time stand behind those who set it.
    words.sort(key=lambda word: b"NT".find(word[:1]) < 0)
    if any(word.startswith(b"N") for word in words):
        # Of a counter made by a quiet ma memcached 1.6.18 tells, its successors do not.
        words = [word for word in words if word != b"q"] if letters is _MA else words
    if letters is _MA and any(word.startswith(b"T") for word in words):
        # memcached loses the time if the number grows longer: it is set on the item that was replaced.
        words = [*(word for word in words if not word.startswith(b"D")), b"D0"]
    return words


@st.composite
def meta_command(draw: st.DrawFn) -> bytes:
    command, letters = draw(st.sampled_from(((b"mg", _MG), (b"ms", _MS), (b"md", _MD), (b"ma", _MA))))
    key = draw(keys)
    words = [command, key]
    modes = (b"S", b"E", b"A", b"P", b"R") if command == b"ms" else (b"I", b"+", b"D", b"-")
    value = draw(values)
    flags = draw(meta_flags(letters, key, modes))
    if draw(st.integers(0, 4)) == 0:
        words[1] = base64.b64encode(key)
        flags.insert(draw(st.integers(0, len(flags))), b"b")
    if command == b"ms":
        words.append(b"%d" % len(value))
    line = b" ".join((*words, *flags)) + b"\r\n"
    return line + value + b"\r\n" if command == b"ms" else line


# --- wrong lines

LONG = b"k" * 251

#: Lines that are refused, or that look as if they should be.
WRONG = (
    *(b"", b" ", b"foo", b"foo bar baz", b"GET one", b"getone", b"foo noreply", b" version", b"version x y"),
    *(b"get", b"gets", b"gat", b"gats", b"gat 100", b"gat x one", b"gats x one", b"get " + LONG),
    *(b"gat 0 " + LONG, b"get\tone", b"get one\t"),
    *(b"set", b"set one", b"set one 0", b"set one 0 0", b"set one 0 0 3 noreply x", b"cas one 0 0 3"),
    *(b"set one 0 0 -1", b"set one 0 0 x", b"set one 0 0 2147483647", b"set one 0 0 -1 noreply", b"add one 0 0 +"),
    *(b"incr", b"incr one", b"incr one x", b"incr one -1", b"incr one 18446744073709551616", b"incr one 1 2 3"),
    *(b"decr one", b"incr " + LONG + b" 1", b"incr one x noreply", b"incr one 1 foo", b"incr one +5", b"decr one 1.5"),
    *(b"touch", b"touch one", b"touch one x", b"touch one x noreply", b"touch " + LONG + b" 0", b"touch one 0 1 2"),
    *(b"delete", b"delete one 1", b"delete one x", b"delete one 0 x", b"delete one x noreply", b"delete " + LONG),
    *(b"delete one 0 noreply x", b"flush_all x", b"flush_all x noreply", b"flush_all 1000 x", b"flush_all 0 x y"),
    *(b"flush_all noreply x", b"verbosity", b"verbosity x", b"verbosity noreply", b"verbosity x noreply"),
    *(b"verbosity 0 1", b"verbosity 0 1 2", b"stats nosuch", b"stats detail", b"stats detail x"),
    *(b"stats cachedump", b"stats cachedump 1", b"stats cachedump x 1", b"stats cachedump 300 0", b"shutdown"),
    *(b"shutdown graceful", b"shutdown x", b"cache_memlimit", b"cache_memlimit x", b"cache_memlimit 1"),
    *(b"cache_memlimit 1 noreply", b"cache_memlimit x noreply", b"cache_memlimit 64 x"),
    *(b"cache_memlimit 1000000001", b"cache_memlimit 1000000001 noreply"),
    *(b"slabs", b"slabs x", b"slabs reassign", b"slabs automove"),
    *(b"lru", b"lru x", b"lru mode", b"lru mode x", b"lru tune", b"lru temp_ttl", b"lru_crawler", b"lru_crawler x"),
    *(b"lru_crawler crawl", b"lru_crawler sleep", b"lru_crawler tocrawl", b"debugtime"),
    *(b"mg", b"ms", b"md", b"ma", b"me", b"mg " + LONG, b"md " + LONG, b"ma " + LONG, b"me " + LONG, b"ms one"),
    *(b"ms one S2", b"ms one x", b"ms one -1", b"ms one 2147483646", b"ms " + LONG, b"ms one 2x"),
    *(b"mg one v v", b"md one q q", b"ma one v v", b"mg one !", b"mg one z", b"md one z", b"ma one z", b"mg one M"),
    *(b"mg one Tx", b"mg one T", b"mg one Nx", b"mg one Rx", b"md one Cx", b"ma one Cx", b"ma one Jx", b"ma one Dx"),
    *(b"ma one D", b"ma one D-1", b"ma one D18446744073709551616", b"ma one MX", b"ma one M", b"ma one MI2"),
    *(b"mg one C1 v", b"md one C-1", b"md one O" + b"x" * 32),
    *(b"mg AP8 b", b"mg !!!! b k", b"mg b25l b k v", b"md AP8 b", b"ma AP8 b", b"mg AP8= b k", b"ma AP8= b N0 k"),
    *(
        b"mg one a b c d e f g h i j k l m n o p q r s t",
        b"mn x y",
        b"me absent",
        b"me one b",
        b"mgone",
        b"m",
        b"MG one",
    ),
    *(b"mg one T4294967296 t", b"mg one k v\t", b"mg absent O k", b"mg absent k O1 q", b"md absent k O1 q"),
)
#: And those with data, which both take from the stream.
WRONG_STORES = (
    *(
        b"set one 0 0 1 foo\r\nx\r\n",
        b"set one 0 0 3\r\nabcd\r\n",
        b"set one 0 0 1\r\nx\ry\r\n",
        b"add one 0 0 0\r\nx\r\n",
    ),
    *(b"set one 0 0 1 noreply\r\nxyz\r\n", b"set one 0 0 2000000\r\n" + bytes(2_000_000) + b"\r\n"),
    *(b"append one 0 0 2000000\r\n" + bytes(2_000_000) + b"\r\n", b"set one 0 0 2000000 noreply\r\n" + bytes(2000002)),
    *(b"ms one 1\r\nxyz\r\n", b"ms one 1 q\r\nxyz\r\n", b"ms one 1 Tx\r\nx\r\n", b"ms one 1 T\r\nx\r\n"),
    *(b"ms one 1 MX\r\nx\r\n", b"ms one 1 Ms\r\nx\r\n", b"ms one 1 MSET\r\nx\r\n", b"ms one 1 M\r\nx\r\n"),
    *(b"ms one 1 Fx\r\nx\r\n", b"ms one 1 F-1\r\nx\r\n", b"ms one 1 Cx\r\nx\r\n", b"ms one 1 C-1\r\nx\r\n"),
    *(
        b"ms one 1 q q\r\nx\r\n",
        b"ms one 1 z\r\nx\r\n",
        b"ms one 1 O" + b"x" * 32 + b"\r\nx\r\n",
        b"ms AP8 1 b\r\nx\r\n",
    ),
    *(
        b"ms AP8= 1 b k c\r\nx\r\n",
        b"ms one 2000000\r\n" + bytes(2_000_002),
        b"ms one 2000000 ME\r\n" + bytes(2_000_002),
    ),
    *(b"ms one 1 O1 k c C99\r\nx\r\n", b"ms one 1 S1\r\nx\r\n"),
)


#: What no cache has to do with, or what tunes memory; every one of them leaves both as they are.
ADMINISTRATIVE = (
    *(b"slabs", b"slabs x", b"slabs x y", b"slabs reassign", b"slabs reassign 1", b"slabs reassign 1 1"),
    *(b"slabs reassign x y", b"slabs reassign 200 2", b"slabs reassign 1 2 3", b"slabs automove"),
    *(b"slabs automove 0", b"slabs automove 1", b"slabs automove 3", b"slabs automove x", b"slabs automove ratio 0.8"),
    *(b"slabs automove ratio x", b"slabs automove ratio", b"lru", b"lru x", b"lru mode", b"lru mode flat"),
    *(b"lru mode segmented", b"lru mode x", b"lru tune", b"lru tune 10 25", b"lru tune 10 25 0.1 2.0"),
    *(b"lru tune x 25 0.1 2.0", b"lru temp_ttl", b"lru temp_ttl 61", b"lru temp_ttl -1", b"lru temp_ttl x"),
    *(b"lru_crawler", b"lru_crawler x", b"lru_crawler x 1", b"lru_crawler crawl", b"lru_crawler sleep"),
    *(b"lru_crawler sleep 5", b"lru_crawler sleep x", b"lru_crawler sleep 1000001", b"lru_crawler tocrawl"),
    *(b"lru_crawler tocrawl 5", b"lru_crawler tocrawl x", b"lru_crawler crawl 1", b"lru_crawler crawl all"),
    *(b"lru_crawler crawl x", b"lru_crawler crawl 300", b"cache_memlimit", b"cache_memlimit 64", b"cache_memlimit 7"),
    *(b"cache_memlimit 64 noreply", b"cache_memlimit 64 x", b"cache_memlimit 64 x y", b"cache_memlimit -1"),
    *(b"cache_memlimit x", b"shutdown", b"shutdown graceful", b"stats cachedump", b"stats cachedump 1"),
    *(b"stats cachedump 0 0", b"stats cachedump 63 0", b"stats cachedump 64 0", b"stats cachedump x 0"),
    *(b"stats cachedump 2 x", b"stats cachedump -1 0", b"stats sizes", b"stats reset", b"stats detail on"),
    *(b"stats detail off", b"stats detail dump", b"stats detail x", b"stats detail", b"stats nosuch"),
)


def ended(line: bytes) -> bytes:
    """A store already has its end."""
    return line if b"\n" in line or line.endswith(b"\0") else line + b"\r\n"


wrong = st.sampled_from(WRONG + tuple(each for each in WRONG_STORES if len(each) < 1000)).map(ended)
commands = st.one_of(classic_store(), classic_line(), meta_command(), meta_command(), classic_store(), wrong)
