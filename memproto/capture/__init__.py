"""Captured traffic: the packets of a capture file or hex dump, and the bytes of each conversation in order.

The modules that read files are :mod:`memproto.capture.files` and :mod:`memproto.capture.sources`. All others are pure:
bytes in, data out, and the time is an argument. The names here are for ``memproto decode``; they are not public.
"""
