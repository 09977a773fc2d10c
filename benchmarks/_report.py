"""Tables of results: Markdown for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: A cell: a text, a number, or nothing to tell.
Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table. Rows are as long as ``columns``."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> str:
        """The table as Markdown, numbers to the right."""
        right = [not isinstance(self.rows[0][at], str) if self.rows else False for at in range(len(self.columns))]
        lines = [
            _line(self.columns),
            _line(["---:" if each else "---" for each in right]),
            *(_line([shown(cell) for cell in row]) for row in self.rows),
        ]
        return f"**{self.title}**\n\n" + "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def shown(cell: Cell) -> str:
    """A cell as text, a float with three significant digits."""
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else cell
    if not math.isfinite(cell):
        return "-"
    digits = 2 - math.floor(math.log10(abs(cell))) if cell else 2
    return f"{cell:,.{min(max(digits, 0), 4)}f}"


def ratio(one: float | None, other: float | None) -> float | None:
    """How many times ``other`` goes into ``one``, if both are known."""
    return None if one is None or not other else one / other


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of log y over log x, by least squares: 1 is linear growth, 2 is quadratic."""
    logs = [(math.log(x), math.log(y)) for x, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def surroundings() -> str:
    """What the numbers depend on, in a line."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} processors"
    )


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A command line with the option that all benchmarks have."""
    options = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--json", metavar="FILE", type=Path, help="write the numbers to this file too")
    return options


def report(name: str, tables: Sequence[Table], json_file: Path | None) -> None:
    """Print the tables, and write them to the file if there is one."""
    print(f"{name}: {surroundings()}\n")
    for table in tables:
        print(table.markdown())
    sys.stdout.flush()
    if json_file is not None:
        document = {"benchmark": name, "surroundings": surroundings(), "tables": [asdict(table) for table in tables]}
        json_file.write_text(json.dumps(document, indent=2) + "\n")
