"""A fake memcached for tests: a real server in this process, with a clock and faults that the test controls.

- What a test uses: ``memcached`` (start, stop, everything that a test asks of a fake), ``cluster``, ``items``.
- What a test says: ``rules`` (which request meets with a fault), ``faults`` (what then happens to the reply),
  ``clock`` (the time of items and delays), ``discovery`` (the nodes of a cluster).
- What a fake does, without a socket and a thread: ``state`` (engine, rules, clock and requests, which all connections
  share), ``conversation`` (answers the requests of one connection, and sends or delays each reply).
- How clients reach it: ``loop`` (the thread), ``listener``, ``link`` (one client), ``tls``, ``udp``; in memory
  ``sockets`` and ``pipe``.
"""
