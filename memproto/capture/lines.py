"""A record as one line: time, connection, latency, dialect and command, key, sizes, result. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from memproto.capture.follower import Record
from memproto.capture.summary import Summary, shown

__all__ = ["format_line", "format_time", "shown_value"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86400


def format_time(time: float | None) -> str:
    """Return a time in UTC; the time of day alone if there is no date, and ``-`` if there is no time."""
    if time is None:
        return "-"
    moment = _EPOCH + timedelta(seconds=time)
    text = moment.strftime("%H:%M:%S.%f")
    return text if time < _DAY else f"{moment:%Y-%m-%d} {text}"


def format_line(record: Record, summary: Summary, value: str = "") -> str:
    """Return the line of a record; ``value`` is what its values say, if that is wanted."""
    ends = f"{record.ends.client} > {record.ends.server}" if record.ends else ""
    if record.ends is not None and record.ends.transport != "tcp":
        ends += f" {record.ends.transport}"
    latency = "-" if record.latency is None else f"{record.latency * 1000:.3f}ms"
    keys = shown(summary.keys[0]) if summary.keys else "-"
    if len(summary.keys) > 1:
        keys += f" and {len(summary.keys) - 1} more"
    columns = [
        format_time(record.time),
        f"{ends:35}" if ends else "",
        f"{latency:>9}",
        f"{summary.dialect:7} {summary.command:9}" if summary.command else f"{summary.dialect or '-':17}",
        f"{keys:20}",
        f">{record.sent} <{record.received}".ljust(11),
        summary.result + (f"  {value}" if value else ""),
    ]
    return "  ".join(column for column in columns if column)


def shown_value(value: object) -> str:
    """Return what a value means, as text of one line."""
    return shown(repr(value).encode())
