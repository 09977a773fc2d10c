"""Clients of memcached, blocking and for asyncio, for one server or several."""
