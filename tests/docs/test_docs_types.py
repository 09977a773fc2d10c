"""The Python code of the README and the documentation passes mypy --strict, each page as one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT, WITH_CODE, program, write_programs

pytestmark = pytest.mark.once


def _errors_of_mypy(files: list[Path]) -> str:
    """What mypy says to these programs, all in one run with the project's own settings and cache."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", "pyproject.toml"]
    done = subprocess.run(
        [*command, *map(str, files)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stderr == ""
    # An error that mypy remembers has the folder of the run that found it.
    return re.sub(r"^\S*/(?=page)", "", done.stdout, flags=re.MULTILINE)


def test_the_code_of_all_pages_passes_mypy_strict(tmp_path: Path) -> None:
    files = write_programs(tmp_path, WITH_CODE)
    assert {"page_readme", "page_quickstart", "page_server", "page_client", "page_engine"} <= {f.stem for f in files}
    assert _errors_of_mypy(files) == ""


def test_an_error_on_a_page_is_found_on_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nnumber: int = 'one'\n```\n", encoding="utf-8")
    assert _errors_of_mypy(write_programs(tmp_path, [page])).startswith("page_page.py:4: error: Incompatible types")


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_the_code_of_a_page_ignores_no_type_errors(page: Path) -> None:
    assert not re.search(r"type: *ignore|\bAny\b|\bcast\(", program(page))
