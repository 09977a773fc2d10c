"""The two state machines, one for each side of a connection. ``memproto`` exports their names."""
