"""Run all that measure, or with ``--trials`` all trials, each in a process of its own; other options go to each."""

from __future__ import annotations

import subprocess
import sys

#: In the order of the README.
MODULES = ("codec", "text", "feeding", "growth", "server_cpu", "connections", "clients", "persist")
#: What takes minutes and gives counts rather than times.
TRIALS = ("desync", "crash", "abuse", "budget")

_TRIALS = "--trials"


def main() -> int:
    """The command line; the number of those that failed."""
    options = [option for option in sys.argv[1:] if option != _TRIALS]
    failed = 0
    for module in MODULES if options == sys.argv[1:] else TRIALS:
        print(f"## {module}\n", flush=True)
        failed += subprocess.call([sys.executable, "-m", f"benchmarks.{module}", *options]) != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
