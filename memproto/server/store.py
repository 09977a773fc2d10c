"""The engine, and the journal that lets its items outlive the process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from memproto import (
    Add,
    AnyReply,
    AnyRequest,
    Append,
    Decrement,
    Delete,
    Failure,
    Flush,
    Get,
    Increment,
    InvalidRequest,
    Prepend,
    Replace,
    Set,
    Status,
    Touch,
)
from memproto.engine import Engine, JournalState
from memproto.server.journal import JournalError, SqliteJournal
from memproto.server.options import Options

log: logging.Logger = logging.getLogger("memproto.server")

_CHANGES = (Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Touch, Flush)
_REFUSED = Failure(Status.OUT_OF_MEMORY, b"the journal cannot be written")


class Store:
    """An engine, with a journal if ``options.persist`` names a file. Raises ``JournalError``.

    While the journal is read ``stop`` is asked now and then whether to give up, which raises ``Interrupted``.
    """

    def __init__(self, options: Options, stop: Callable[[], bool] = lambda: False) -> None:
        self.journal: SqliteJournal | None = None
        if options.persist is not None:
            self.journal = SqliteJournal(options.persist, full_sync=options.sync == "full", stop=stop)
        try:
            self.engine: Engine = Engine(
                memory_limit=options.memory,
                item_size_max=options.item_size_max,
                evict=options.evict,
                cas=options.cas,
                flush=options.flush,
                journal=self.journal,
                journal_state=JournalState() if self.journal is None else self.journal.marks(),
            )
        except BaseException:
            if self.journal is not None:
                self.journal.close()
            raise
        if self.journal is not None:
            self.journal.loaded()
            if self.journal.fault is not None:
                log.warning("%s: the write-ahead log is damaged: %s", options.persist, self.journal.fault)
        self._failing = False

    @property
    def pending(self) -> bool:
        """Whether there is something left for the engine's ``work``, or for :meth:`sweep`."""
        return self.engine.pending or (self.journal is not None and self.journal.pending and not self._failing)

    def sweep(self, most: int) -> None:
        """Delete at most so many items that were flushed from the file."""
        if self.journal is None or self._failing:
            return
        try:
            self.journal.sweep(most)
        except JournalError as error:
            # It is tried again when a commit was possible.
            log.error("cannot delete what was flushed from the file: %s", error)  # noqa: TRY400
            self._failing = True

    def wall_clock_ahead(self, seconds: float) -> None:
        """Note by how much the wall clock is ahead of the engine's, for the process that opens the file next."""
        if self.journal is not None:
            self.journal.ahead = seconds

    def unsettled(self) -> bool:
        """Whether there is a change that is not in the file."""
        journal = self.journal
        return journal is not None and (journal.dirty or self.engine.journal_state != journal.marks())

    def settle(self) -> bool:
        """Write what has changed since the last time; if that fails, the engine holds what the file has again.

        Raises ``JournalError`` if what the file has cannot be read: then nobody knows what is true.
        """
        if self.journal is None or not self.unsettled():
            return True
        try:
            self.journal.commit(self.engine.journal_state)
        except JournalError as error:
            if not self._failing:
                # Without the trace: this is for those who run the server.
                log.error("cannot write, so every change is refused until it can be written again: %s", error)  # noqa: TRY400
            self._failing = True
            self._undo(self.journal)
            return False
        if self._failing:
            log.error("the journal can be written again")
        self._failing = False
        return True

    def _undo(self, journal: SqliteJournal) -> None:
        undo = journal.undo()
        if undo.everything:
            self.engine.reload()
        for key, saved in undo.items.items():
            self.engine.restore(key, saved)
        # No answer that tells a number given out since has left.
        self.engine.journal_state = journal.marks()

    def refuse(self, request: AnyRequest, now: float) -> AnyReply:
        """The reply while nothing can be written: what only reads is carried out, as the file has it."""
        if isinstance(request, InvalidRequest):
            return request.reply
        if isinstance(request, _CHANGES) or (isinstance(request, Get) and _changes(request)):
            return _REFUSED
        return self.engine.execute(request, now)

    def close(self) -> None:
        """Write what is left, and close the file."""
        if self.journal is not None:
            with suppress(JournalError):  # it has been told
                self.settle()
            self.journal.close()


def _changes(request: Get) -> bool:
    return request.exptime is not None or (request.meta is not None and request.meta.vivify is not None)
