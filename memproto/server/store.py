"""The engine, and the journal that keeps its items across restarts."""

from __future__ import annotations

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
from memproto.server.log import log
from memproto.server.options import Options

_CHANGES = (Set, Add, Replace, Append, Prepend, Delete, Increment, Decrement, Touch, Flush)
_REFUSED = Failure(Status.OUT_OF_MEMORY, b"the journal cannot be written")


class Store:
    """An engine, with a journal if ``options.persist`` names a file. Raises ``JournalError``.

    While the journal is read ``stop`` is called now and then; when it is true, ``Interrupted`` is raised.
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
                journal_state=JournalState() if self.journal is None else self.journal.engine_state(),
            )
        except BaseException:
            if self.journal is not None:
                self.journal.close()
            raise
        if self.journal is not None:
            self.journal.finish_loading()
            if self.journal.fault is not None:
                log.warning("%s: the write-ahead log is damaged: %s", options.persist, self.journal.fault)
        self._failing = False

    @property
    def pending(self) -> bool:
        """Whether the engine's ``work`` or :meth:`sweep` has something to do."""
        return self.engine.pending or (self.journal is not None and self.journal.pending and not self._failing)

    def sweep(self, most: int) -> None:
        """Delete flushed items from the file, at most ``most``."""
        if self.journal is None or self._failing:
            return
        try:
            self.journal.sweep(most)
        except JournalError as error:
            # It is tried again after the next commit.
            log.error("cannot delete what was flushed from the file: %s", error)
            self._failing = True

    def wall_clock_ahead(self, seconds: float) -> None:
        """Note by how much the wall clock is ahead of the engine's, for the next process that opens the file."""
        if self.journal is not None:
            self.journal.ahead = seconds

    def uncommitted(self) -> bool:
        """Whether there are changes that are not in the journal."""
        journal = self.journal
        return journal is not None and (journal.dirty or self.engine.journal_state != journal.engine_state())

    def commit(self) -> bool:
        """Write all changes to the journal; whether that was possible. If not, the engine gets the items of the file.

        Raises ``JournalError`` if these cannot be read: then the items of the engine may be wrong.
        """
        if self.journal is None or not self.uncommitted():
            return True
        try:
            self.journal.commit(self.engine.journal_state)
        except JournalError as error:
            if not self._failing:
                # Without the trace: the reader of the log runs the server, and did not write it.
                log.error("cannot write, so every change is refused until it can be written again: %s", error)
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
        # No reply with a CAS given since then has been sent.
        self.engine.journal_state = journal.engine_state()

    def refuse(self, request: AnyRequest, now: float) -> AnyReply:
        """The reply while nothing can be written: requests that only read are executed, all others refused."""
        if isinstance(request, InvalidRequest):
            return request.reply
        if isinstance(request, _CHANGES) or (isinstance(request, Get) and _changes(request)):
            return _REFUSED
        return self.engine.execute(request, now)

    def close(self) -> None:
        """Write the last changes, and close the file."""
        if self.journal is not None:
            with suppress(JournalError):  # it has been logged
                self.commit()
            self.journal.close()


def _changes(request: Get) -> bool:
    return request.exptime is not None or (request.meta is not None and request.meta.vivify is not None)
