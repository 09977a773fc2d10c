"""The desync trial: clients against a server that delays, splits, duplicates, drops and cuts answers, without any I/O.

A *schedule* is all that happens to one client object: its calls, what becomes of each answer, and where a call is
interrupted. It follows from a number alone. Every result is judged by what the server really did.

- ``faults``: what can become of an answer, and the plan that draws it.
- ``oracle``: the calls, and the judge of their results.
- ``service``: the server, which keeps to the plan.
- ``pure``: schedules for a ``ClientConnection`` alone.
- ``sockets``, ``clients``, ``trial``: schedules for blocking clients, on sockets that are none.
- ``loop``, ``asynchronous``: the same for asyncio, on a loop whose clock stands still unless everybody waits.
- ``careless``: clients that the trial has to find wanting.
- ``lines``: an interruption at any line or instruction of a call, as a signal handler makes it that raises something.
"""
