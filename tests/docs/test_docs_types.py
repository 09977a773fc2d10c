"""The Python code of the README and the documentation passes mypy --strict, each page as one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_docs import PAGES, ROOT, _blocks


def _program(page: Path) -> str:
    """The blocks of a page, each line where it stands on the page."""
    lines = [""] * page.read_text(encoding="utf-8").count("\n")
    for start, code in _blocks(page):
        block = code.splitlines()
        lines[start : start + len(block)] = block
    return "\n".join(lines) + "\n"


def _checked(folder: Path, programs: dict[str, str]) -> str:
    """What mypy says to these programs, all in one run with the project's own settings and cache."""
    files = []
    for name, program in programs.items():
        files.append(folder / f"{name}.py")
        files[-1].write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", "pyproject.toml"]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stderr == ""
    # An error that mypy remembers has the folder of the run that found it.
    return re.sub(r"^\S*/(?=page)", "", done.stdout, flags=re.MULTILINE)


def _name(page: Path) -> str:
    return "page_" + re.sub(r"\W", "_", page.stem.lower())


def test_the_code_of_all_pages_passes_mypy_strict(tmp_path: Path) -> None:
    programs = {_name(page): _program(page) for page in PAGES if _blocks(page)}
    assert {"page_readme", "page_quickstart", "page_server", "page_client", "page_engine"} <= programs.keys()
    assert _checked(tmp_path, programs) == ""


def test_an_error_on_a_page_is_found_on_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nnumber: int = 'one'\n```\n", encoding="utf-8")
    assert _checked(tmp_path, {"page": _program(page)}).startswith("page.py:4: error: Incompatible types")


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page)], ids=lambda page: page.name)
def test_the_code_of_a_page_ignores_no_type_errors(page: Path) -> None:
    assert not re.search(r"type: *ignore|\bAny\b|\bcast\(", _program(page))
