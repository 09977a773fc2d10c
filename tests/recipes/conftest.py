"""The fixtures of our plugin, also where memproto is on the path only and pytest does not find the plugin itself."""

from _memproto_pytest import _shared_memcached, memcached, memcached_factory

__all__ = ["_shared_memcached", "memcached", "memcached_factory"]
