"""The pages of the documentation and their Python code; ``python -m tests.support.pages FOLDER`` writes it to files."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    """The Python blocks of a page with the line each begins on."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in _BLOCK.finditer(text)]


#: The pages that have Python code.
WITH_CODE = [page for page in PAGES if blocks(page)]


def program(page: Path) -> str:
    """The blocks of a page as one program, each line where it stands on the page."""
    lines = [""] * page.read_text(encoding="utf-8").count("\n")
    for start, code in blocks(page):
        block = code.splitlines()
        lines[start : start + len(block)] = block
    return "\n".join(lines) + "\n"


def write_programs(folder: Path, pages: list[Path]) -> list[Path]:
    """Write the programs of these pages into a folder; their files."""
    files = []
    for page in pages:
        name = "page_" + re.sub(r"\W", "_", page.stem.lower())
        files.append(folder / f"{name}.py")
        files[-1].write_text(program(page), encoding="utf-8")
    return files


if __name__ == "__main__":
    write_programs(Path(sys.argv[1]), WITH_CODE)
