"""The reference server: memproto and its engine behind asyncio. ``python -m examples.server --help``."""
