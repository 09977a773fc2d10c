"""Recorded lines, cut and matched without the code under test."""

from __future__ import annotations


def requests_in(data: bytes) -> list[bytes]:
    """Cut a stream of well-formed requests behind each of them."""
    found = []
    while data:
        size = data.index(b"\n") + 1
        words = data[:size].split()
        if words[:1] and words[0] in (b"set", b"add", b"replace", b"append", b"prepend", b"cas"):
            size += int(words[4]) + 2
        elif words[:1] == [b"ms"]:
            size += int(words[2]) + 2
        found.append(data[:size])
        data = data[size:]
    return found


def recorded_reply(told: bytes, to: bytes) -> bytes:
    """What answers this request at the head of a recorded stream; empty if it got silence."""
    line = told[: told.find(b"\n") + 1]
    code = line.split()
    words = to[: to.index(b"\n")].split()
    if not words:
        return line
    if (words[-1] == b"noreply" and words[0] not in (b"version", b"stats")) or words == [b"quit"] or not line:
        return b""
    if words[0] in (b"mg", b"ms", b"md", b"ma", b"mn", b"me"):
        return b"" if b"q" in words and not _answers_quiet(code, words) else _with_value(told, line, code)
    size = 0
    if line.startswith((b"VALUE ", b"STAT ")):
        while not told[size:].startswith(b"END\r\n"):
            head = told[size : told.index(b"\n", size) + 1]
            size += len(head)
            if head.startswith(b"VALUE "):
                size += int(head.split()[3]) + 2
        return told[: size + 5]
    return line


def _with_value(told: bytes, line: bytes, code: list[bytes]) -> bytes:
    return told[: len(line) + int(code[1]) + 2] if code[0] == b"VA" else line


def _answers_quiet(code: list[bytes], words: list[bytes]) -> bool:
    """Whether this line is for the quiet request, whose opaque or key it then has if they were asked for."""
    if code[0].endswith(b"ERROR"):
        return True
    hits: tuple[bytes, ...] = (b"HD", b"VA") if words[0] == b"mg" else (b"NS", b"EX", b"NF")
    if words[0] == b"ma" and b"N0" in words:
        # A defect of memcached 1.6.18: it tells the success of a quiet ma that creates.
        hits = (*hits, b"VA")
    opaques = [word for word in words if word.startswith(b"O")]
    return code[0] in hits and set(opaques) <= set(code) and (b"k" not in words[2:] or b"k" + words[1] in code)
