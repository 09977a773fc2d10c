"""``python -m tests.peers.suites [NAME...]``: run suites with memcached and with the fake, and compare.

The exit code is 1 if a test passes with memcached and not with the fake. ``--needs`` prints what is to be installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.peers.suites.runner import BACKENDS, Outcomes, run, source_of
from tests.peers.suites.table import SUITES, Suite


def worse(memcached: Outcomes, fake: Outcomes) -> list[str]:
    """The tests that pass with memcached and not with the fake."""
    return sorted(name for name, outcome in memcached.items() if outcome == "passed" and fake.get(name) != "passed")


def compare(suite: Suite, source: Path) -> bool:
    """Run a suite, whose files are in ``source``, with both and print the counts; whether the fake does as well."""
    results = {backend: run(suite, source, backend) for backend in BACKENDS}
    once = found = worse(results["memcached"], results["fake"])
    if found:
        # Some tests wait for real seconds to pass; what fails twice does not fail by chance.
        found = worse(results["memcached"], results["fake"] | run(suite, source, "fake"))
    for backend, outcomes in results.items():
        counts = (f"{count} {outcome}" for outcome, count in sorted(Counter(outcomes.values()).items()))
        print(f"{suite.requirement:34} {backend:10} {', '.join(counts)}", flush=True)
    print(f"  left out: {suite.left_out or 'nothing'}")
    if suite.fails:
        print(f"  may fail: {suite.fails}")
    for test in once:
        print(f"  {'passes with memcached only' if test in found else 'passed the second time'}: {test}", flush=True)
    return not found


def main() -> int:
    """Run what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers.suites", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(SUITES)}; all without one")
    parser.add_argument("--needs", action="store_true", help="print the requirements of these suites")
    parser.add_argument("--source", type=Path, metavar="FOLDER", help="a checkout, if the sdist has no tests")
    arguments = parser.parse_args()
    names = arguments.names or [name for name, suite in SUITES.items() if not suite.repository]
    if unknown := set(names) - set(SUITES):
        parser.error(f"no suite {', '.join(sorted(unknown))}")
    if arguments.needs:
        print("\n".join(sorted({need for name in names for need in (SUITES[name].requirement, *SUITES[name].needs)})))
        return 0
    for name in names:
        if SUITES[name].repository and (arguments.source is None or len(names) > 1):
            parser.error(f"{name} alone needs --source with a checkout of {SUITES[name].repository}")
    results = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            source = arguments.source or source_of(SUITES[name], Path(folder))
            results.append(compare(SUITES[name], source))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
