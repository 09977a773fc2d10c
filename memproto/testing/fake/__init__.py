"""A fake memcached for tests: a real server in this process, with a clock and faults that the test controls.

The rules, the faults, the clock and the conversation with one client know no socket and no thread. The server on a
thread of its own, the sockets in memory and the pipe stand on these.
"""
