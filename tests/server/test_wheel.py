"""What CI does with the wheel in an empty environment, ``nox -s dist``, done here with the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.test_tls import CERTIFICATE, KEY
from tests.support.peers import DEADLINE, ROOT


@pytest.mark.untraced
def test_installed_command_serves_both_clients_with_journal_tls_and_authentication(tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "use_wheel.py"), CERTIFICATE, KEY],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        timeout=2 * DEADLINE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("journal, TLS, authentication, both clients, pytest\n")
