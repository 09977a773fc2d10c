"""Which suites there are, and how each is run against given servers without a change."""

from __future__ import annotations

from typing import NamedTuple


class Suite(NamedTuple):
    """The tests of one project.

    ``command`` stands after ``python`` and is run in the unpacked sdist, or in the folder that has the package.
    In it, in ``environment`` and in ``files``, ``@11211@`` is the port of the server for which the tests have 11211.
    """

    #: As pip takes it.
    requirement: str
    command: tuple[str, ...]
    #: Addresses that the tests have: a port, or the path of a Unix socket.
    servers: tuple[str, ...] = ("11211",)
    #: The port at which clients have to authenticate, as "user" with "password".
    secured: str = ""
    #: What else the tests import.
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = {}  # noqa: RUF012 - nobody changes it
    #: Files to write into a folder that the tests can import from.
    files: dict[str, str] = {}  # noqa: RUF012
    #: Whether the tests are in the installed package, so that no sdist is needed.
    installed: bool = False
    #: Which tests are not run, and why.
    left_out: str = ""


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

SUITES = {
    "pymemcache": Suite(
        "pymemcache==4.0.0",
        (*PYTEST, "pymemcache/test", "--server", "127.0.0.1", "--port", "@11211@", "-m", "not benchmark"),
        needs=("Faker", "gevent", "zstd"),
        installed=True,
        left_out="TLS, for which the package lacks the server's key; benchmarks",
    ),
    "python-binary-memcached": Suite(
        "python-binary-memcached==0.33.0",
        (*PYTEST, "test", *(f"--ignore=test/test_{name}.py" for name in ("tls", "ipv6", "sasl_integration"))),
        servers=("11211", "5000", "/tmp/memcached.sock"),
        needs=("trustme",),
        environment={"MEMCACHED_HOST": "127.0.0.1"},
        left_out="TLS and IPv6, which start memcached at fixed ports; SASL, whose fixture is not in the sdist",
    ),
    "django": Suite(
        "Django>=5.2,<5.3",
        (
            *("tests/runtests.py", "--settings=suite_settings", "--parallel=1", "-v", "2"),
            *("cache.tests.PyMemcacheCacheTests", "cache.tests.PyLibMCCacheTests"),
        ),
        servers=("11211", "11212"),
        needs=("pymemcache==4.0.0", "pylibmc"),
        files={"suite_settings.py": _DJANGO_SETTINGS},
        left_out="other caches",
    ),
    "dogpile.cache": Suite(
        "dogpile.cache==1.5.0",
        (*PYTEST, "tests/cache/test_memcached_backend.py", "-o", "filterwarnings=", "-m", "not time_intensive"),
        needs=("pymemcache==4.0.0", "python-binary-memcached==0.33.0", "python-memcached", "pylibmc", "Mako"),
        environment={"DOGPILE_MEMCACHED_PORT": "@11211@"},
        left_out="other backends; TLS, which needs a server with their own certificate; what takes minutes",
    ),
    "limits": Suite(
        "limits==5.8.0",
        (*PYTEST, "tests", "-m", "memcached", "--ignore=tests/benchmarks", "-o", "filterwarnings="),
        servers=("22122", "22123", "/tmp/limits.memcached.sock", "22124"),
        secured="22124",
        needs=(
            *("pymemcache==4.0.0", "memcachio", "redis<8", "valkey", "pymongo", "hiro", "flaky"),
            *("pytest-asyncio", "pytest-lazy-fixtures", "pytest-mock"),
        ),
        left_out="other storages",
    ),
}
