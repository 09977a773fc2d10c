"""Which suites there are, and how each is run against given servers without a change."""

from __future__ import annotations

from typing import NamedTuple


class Server(NamedTuple):
    """A server that tests talk to."""

    #: What the tests have: a port, or the path of a Unix socket.
    address: str
    host: str = "127.0.0.1"
    #: Clients have to authenticate: ``NAME:PASSWORD``.
    user: str = ""
    #: Whether they do so by SASL. Debian's memcached keeps such users in a database of Cyrus SASL, and is not started.
    sasl: bool = False
    #: The files of certificate and key, in the folder of the tests.
    tls: tuple[str, str] | None = None


class Suite(NamedTuple):
    """The tests of one project.

    ``command`` stands after ``python`` and is run in the unpacked sdist, or in the folder that has the package.
    In it, in ``environment`` and in ``files``, ``@11211@`` is the port of the server for which the tests have 11211.
    A memcached that the tests start themselves is one of ours, too.
    """

    #: As pip takes it.
    requirement: str
    command: tuple[str, ...]
    servers: tuple[Server, ...] = (Server("11211"),)
    #: What else the tests import.
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    #: Files to write into a folder that the tests can import from.
    files: dict[str, str] = {}  # noqa: RUF012
    #: Whether the tests are in the installed package, so that no sdist is needed.
    installed: bool = False
    #: The repository, if the sdist has no tests: the user has to give a checkout of it.
    repository: str = ""
    #: Which tests are not run, and why.
    left_out: str = ""
    #: Which tests fail with memcached too, or by chance, and why.
    fails: str = ""


#: No options of the project's own pytest, none of which is about what is tested.
PYTEST = ("-m", "pytest", "-q", "-p", "borrowed", "-p", "no:cacheprovider", "-o", "addopts=")

_DJANGO_SETTINGS = """
DATABASES = {name: {"ENGINE": "django.db.backends.sqlite3"} for name in ("default", "other")}
SECRET_KEY = "for the tests of Django"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "pymemcache": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": "127.0.0.1:@11211@",
    },
    "pylibmc": {
        "BACKEND": "django.core.cache.backends.memcached.PyLibMCCache", "LOCATION": "127.0.0.1:@11212@",
    },
}
"""

#: The sdist lacks it. Only the fixtures of servers for SASL and IPv6 are asked for.
_BMEMCACHED_CONFTEST = """
import pytest

IPV6_PORT = @6000@

@pytest.fixture
def memcached_ipv6():
    return IPV6_PORT

@pytest.fixture
def memcached_sasl():
    return @5002@, "user", "password"
"""

SUITES = {
    "pymemcache": Suite(
        "pymemcache==4.0.0",
        (*PYTEST, "pymemcache/test", "--server", "127.0.0.1", "--port", "@11211@", "-m", "not benchmark"),
        needs=("Faker", "gevent", "zstd"),
        installed=True,
        left_out="benchmarks. The only test of TLS is marked to be skipped",
    ),
    "python-binary-memcached": Suite(
        "python-binary-memcached==0.33.0",
        (*PYTEST, "-p", "conftest", "test"),
        servers=(
            *(Server("11211"), Server("5000"), Server("/tmp/memcached.sock"), Server("6000", "::1")),
            Server("5002", user="user:password", sasl=True),
        ),
        needs=("trustme",),
        environment={"MEMCACHED_HOST": "127.0.0.1"},
        files={"conftest.py": _BMEMCACHED_CONFTEST},
        fails="SASL with memcached, which is not started for it",
    ),
    "django": Suite(
        "Django>=5.2,<5.3",
        (
            *("tests/runtests.py", "--settings=suite_settings", "--parallel=1", "-v", "2"),
            *("cache.tests.PyMemcacheCacheTests", "cache.tests.PyLibMCCacheTests"),
        ),
        servers=(Server("11211"), Server("11212")),
        needs=("pymemcache==4.0.0", "pylibmc"),
        files={"suite_settings.py": _DJANGO_SETTINGS},
        left_out="other caches",
    ),
    "dogpile.cache": Suite(
        "dogpile.cache==1.5.0",
        (*PYTEST, "tests/cache/test_memcached_backend.py", "-o", "filterwarnings=", "-m", "not time_intensive"),
        servers=(Server("11211"), Server("11212", tls=("tests/tls/server_chain.pem", "tests/tls/server.key"))),
        needs=("pymemcache==4.0.0", "python-binary-memcached==0.33.0", "python-memcached", "pylibmc", "Mako"),
        environment={"DOGPILE_MEMCACHED_PORT": "@11211@", "DOGPILE_TLS_MEMCACHED_PORT": "@11212@"},
        left_out="other backends; what takes minutes",
    ),
    "limits": Suite(
        "limits==5.8.0",
        (*PYTEST, "tests", "-m", "memcached", "--ignore=tests/benchmarks", "-o", "filterwarnings="),
        servers=(
            *(Server("22122"), Server("22123"), Server("/tmp/limits.memcached.sock")),
            Server("22124", user="user:password"),
        ),
        needs=(
            *("pymemcache==4.0.0", "memcachio", "redis<8", "valkey", "pymongo", "hiro", "flaky"),
            *("pytest-asyncio", "pytest-lazy-fixtures", "pytest-mock"),
        ),
        left_out="other storages",
        fails="tests of sliding windows, by chance, with memcached too: a window of real seconds ends too early",
    ),
    "aiomcache": Suite(
        "aiomcache==0.8.2",
        (*PYTEST, "tests", "-o", "asyncio_mode=auto", "-o", "filterwarnings="),
        needs=("pytest-asyncio", "python-memcached"),
        # Docker is imported only.
        files={"docker.py": "Client = object"},
        repository="https://github.com/aio-libs/aiomcache, tag v0.8.2",
    ),
    "emcache": Suite(
        "emcache==1.3.3",
        (*PYTEST, "tests/acceptance", "-o", "asyncio_mode=auto"),
        servers=(
            *(Server("11211"), Server("11212"), Server("/tmp/emcache.test1.sock"), Server("/tmp/emcache.test2.sock")),
            Server("11213", tls=("tests/acceptance/data/localhost.crt", "tests/acceptance/data/localhost.key")),
            Server("11214", user="a:a"),
        ),
        needs=("pytest<8.3", "pytest-asyncio<0.24"),
        repository="https://github.com/emcache/emcache, tag 1.3.3",
        left_out="the parser and other units, which need no server",
    ),
}
