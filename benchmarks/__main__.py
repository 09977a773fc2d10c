"""Run all benchmarks, each in a process of its own; ``--fast`` goes to each."""

from __future__ import annotations

import subprocess
import sys

#: In the order of the README.
MODULES = ("codec", "text", "feeding", "server_cpu", "connections", "clients")


def main() -> int:
    """The command line; the number of benchmarks that failed."""
    failed = 0
    for module in MODULES:
        print(f"## {module}\n", flush=True)
        failed += subprocess.call([sys.executable, "-m", f"benchmarks.{module}", *sys.argv[1:]]) != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
