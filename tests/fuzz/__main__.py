"""The command line of the fuzzer. It ends with a traceback, and a command that repeats it, at the first fault.

If atheris is installed, it changes the inputs, guided by the branches that they reach, and keeps those that reach a new
one in a folder. If not, or with ``--random``, they are changed at random; then the seed repeats a run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
from pathlib import Path
from random import Random

from tests.fuzz.inputs import LONGEST, changed, run, seeds


def checked(given: bytes) -> None:
    """Run an input, and say how to repeat it if it finds a fault."""
    try:
        run(given)
    except BaseException:
        print(f"repeat it: python -m tests.fuzz --input {given.hex()}", file=sys.stderr)
        raise


def at_random(seconds: float, rounds: int | None, seed: int) -> int:
    """Run changed inputs for this time, or so many of them; how many there were."""
    random, known = Random(seed), seeds()
    end, done = time.monotonic() + seconds, 0
    while done < rounds if rounds is not None else time.monotonic() < end:
        checked(changed(random.choice(known), random.choice(known), random))
        done += 1
    return done


def guided(seconds: float, rounds: int | None, seed: int, folder: Path) -> None:
    """Run inputs that atheris makes; it ends the process."""
    atheris = importlib.import_module("atheris")
    folder.mkdir(parents=True, exist_ok=True)
    for number, given in enumerate(seeds()):
        (folder / f"seed{number}").write_bytes(given)
    atheris.instrument_all()
    options = [f"-max_total_time={int(seconds)}", f"-max_len={LONGEST + 2}", f"-seed={seed}", "-timeout=60"]
    options += [] if rounds is None else [f"-runs={rounds}"]
    atheris.Setup([sys.argv[0], *options, str(folder)], checked)
    atheris.Fuzz()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=60.0, help="how long to run (default: %(default)s)")
    add("--rounds", type=int, help="how many inputs to run, in the place of a time")
    add("--seed", type=int, default=1, help="what the random changes follow from (default: %(default)s)")
    add("--random", action="store_true", help="change inputs at random, also if atheris is installed")
    add("--corpus", type=Path, default=Path(".fuzz"), help="the folder of atheris (default: %(default)s)")
    add("--input", help="run this one input, in hex")
    options = parser.parse_args(arguments)
    if options.input is not None:
        checked(bytes.fromhex(options.input))
    elif not options.random and importlib.util.find_spec("atheris") is not None:
        guided(options.seconds, options.rounds, options.seed, options.corpus)
    else:
        print(f"{at_random(options.seconds, options.rounds, options.seed)} inputs, no fault")


if __name__ == "__main__":
    main()
