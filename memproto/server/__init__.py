"""The reference server: memproto and its engine behind asyncio. ``python -m memproto.server --help``."""
