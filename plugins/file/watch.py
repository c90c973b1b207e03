"""A file or folder that is followed: its last good contents, and how a change gets in.

A request costs one `stat`. Where that shows a change, a background thread loads the new contents
and swaps the snapshot; for a small source the request waits for it a moment, so that a revoked key
stops at once. Another thread looks once a second, so that a large source is loaded soon after its
change and not only when the next request comes. What cannot be used is logged once, and the last
good contents go on serving.
"""

from __future__ import annotations

import logging
import os
import subprocess  # nosec B404  # the type of the process that indexes
import tempfile
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

from plugins.file.indexing import write_index, write_index_in_child
from plugins.file.parsing import SETTLING_S, Kind
from plugins.file.snapshot import Snapshot, write_snapshot
from plugins.file.state import SMALL_BYTES, Look, State
from plugins.file.survey import Survey, signature, take_survey
from webcall import BackendError, RecordError

# Indexing 256 KiB of YAML takes 0.3 s on a slow machine that does nothing else.
WAIT_FOR_SMALL_S = 1.0
SCAN_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 1.0
CLOSING_S = 5.0

logger = logging.getLogger("plugins.file")


class Source:
    """The records of one path. Loads once on construction; a fault then is kept, not raised."""

    def __init__(self, path: Path, kind: Kind, *, may_be_missing: bool) -> None:
        self.path = path.absolute()
        self.kind = kind
        self._may_be_missing = may_be_missing
        self._state = State()
        self._next_scan = 0.0
        self._closed = False
        self._without_threads()
        _sources.add(self)
        self._reload()
        self._watch_it()

    def _without_threads(self) -> None:
        # Loads are numbered. A request waits for one that begins after its own look at the file.
        self._changed = threading.Condition()
        self._begun = self._ended = self._wanted = 0
        self._thread: threading.Thread | None = None
        self._watch: threading.Thread | None = None
        self._stop = threading.Event()
        self._child: subprocess.Popen[bytes] | None = None

    def snapshot(self) -> Snapshot:
        """Return the newest usable contents; raise `BackendError` while there have never been any."""
        if self._watch is None:
            self._watch_it()
        self._look_for_change(WAIT_FOR_SMALL_S)
        state = self._state
        if state.snapshot is None:
            raise BackendError(state.fault or f"{self.path}: not loaded yet", fix=state.fix)
        return state.snapshot

    def _look_for_change(self, wait_s: float) -> None:
        state = self._state
        top = self._look()
        if top != state.top:
            self._ask_for_load(wait_s if state.is_small(top) else 0)
        elif state.retry_at is not None:
            if time.monotonic() >= state.retry_at:
                self._ask_for_load(0)
        elif state.survey and state.survey.is_folder and time.monotonic() >= self._next_scan:
            self._ask_for_load(0)

    def _watch_it(self) -> None:
        with self._changed:
            if self._watch is None and not self._closed:
                # It must not keep an object alive that nobody uses any more.
                arguments = (weakref.ref(self), self._stop)
                thread = threading.Thread(
                    target=_watch, args=arguments, daemon=True, name=f"watch {self.kind.name}"
                )
                try:
                    thread.start()
                except RuntimeError:  # no thread to be had now; the next look-up tries again
                    return
                self._watch = thread

    def fault(self) -> str | None:
        """Return what is wrong with the newest contents (path, place, field), or None."""
        return self._state.fault

    def refresh(self) -> None:
        """Wait, without bound, until what the path holds now has been loaded."""
        self._ask_for_load(None)

    def close(self) -> None:
        """End the thread and the child process, if any. The snapshot goes on serving."""
        with self._changed:
            self._closed = True
            thread, child, watch = self._thread, self._child, self._watch
            self._changed.notify_all()
        self._stop.set()
        if child is not None:
            child.kill()
        for each in (thread, watch):
            if each is not None:
                each.join(CLOSING_S)

    def _look(self) -> Look:
        try:
            return signature(os.stat(self.path))  # noqa: PTH116  # the one step that every request pays
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return error.errno or -1

    def _ask_for_load(self, wait_s: float | None) -> None:
        with self._changed:
            if self._closed:
                return
            number = self._wanted = self._begun + 1
            if self._thread is None:
                thread = threading.Thread(target=self._work, daemon=True, name=f"file {self.kind.name}")
                try:
                    thread.start()
                except RuntimeError:  # no thread to be had now; the next look tries again
                    return
                self._thread = thread
            if wait_s != 0:
                self._changed.wait_for(lambda: self._ended >= number or self._closed, wait_s)

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closed or self._ended >= self._wanted:
                    self._thread = None
                    return
                number = self._begun = self._begun + 1
            try:
                self._reload()
            finally:
                with self._changed:
                    self._ended = number
                    self._changed.notify_all()

    def _reload(self) -> None:
        top = self._look()
        survey = None
        try:
            if isinstance(top, tuple):
                survey = take_survey(self.path)
                top = survey.top
                self._load(survey)
            else:
                self._load_nothing(top)
        except RecordError as error:
            self._keep_fault(top, survey, str(error), None)
        except Exception as error:  # a thread that dies would take every later change with it
            reason = error.strerror if isinstance(error, OSError) else None
            place = getattr(error, "filename", None) or self.path
            fault = f"{place}: cannot be loaded: {reason or type(error).__name__}"
            self._keep_fault(top, survey, fault, time.monotonic() + RETRY_INTERVAL_S)

    def _load(self, survey: Survey) -> None:
        state = self._state
        known = state.survey
        if known and (known.files, known.is_folder) == (survey.files, survey.is_folder):
            self._next_scan = time.monotonic() + SCAN_INTERVAL_S
            if state.retry_at is None or time.monotonic() < state.retry_at:
                self._state = replace(state, top=survey.top)
                return
        began = time.monotonic()
        # Two writes within one tick of the file system's clock look alike: read once it has passed.
        age_s = (time.time_ns() - survey.newest_ns) / 1e9
        if 0 <= age_s < SETTLING_S:
            time.sleep(SETTLING_S - age_s)
        if not survey.is_folder and survey.size == 0 and state.snapshot:  # an empty snapshot is false
            raise RecordError(f"{self.path}: is empty now; write [] where no records are meant")
        snapshot = self._index(survey)
        self._next_scan = time.monotonic() + max(SCAN_INTERVAL_S, 10 * (time.monotonic() - began))
        if state.fault is not None:
            logger.info("%s: can be used again", self.path)
        self._state = State(snapshot, survey.top, survey, loaded=True)

    def _index(self, survey: Survey) -> Snapshot:
        with tempfile.TemporaryFile(prefix="webcall-") as out:
            if survey.size > SMALL_BYTES:
                write_index_in_child(self.path, self.kind, out, self._set_child)
            else:
                write_index(self.path, self.kind, out)
            return Snapshot(out)

    def _set_child(self, child: subprocess.Popen[bytes]) -> None:
        with self._changed:
            self._child = child
            if self._closed:
                child.kill()

    def _load_nothing(self, top: Look) -> None:
        state = self._state
        if isinstance(top, int):
            raise RecordError(f"{self.path}: cannot be read: {os.strerror(top)}")
        if not self._may_be_missing or state.loaded:
            raise RecordError(f"{self.path}: no such file or folder")
        with tempfile.TemporaryFile(prefix="webcall-") as out:
            write_snapshot([], out)
            self._state = State(Snapshot(out), top)

    def _keep_fault(self, top: Look, survey: Survey | None, fault: str, retry_at: float | None) -> None:
        if self._closed:
            return
        state = self._state
        # The emptiness of a file that was not there yet is no answer once there is one.
        snapshot = state.snapshot if state.loaded else None
        if (state.fault, state.fault_of) != (fault, top):
            serving = "the contents before it go on serving" if snapshot is not None else "nothing to serve"
            logger.error("%s (%s)", fault, serving)
        self._state = replace(
            state, snapshot=snapshot, top=top, survey=survey, fault=fault, fault_of=top, retry_at=retry_at
        )


def _watch(reference: weakref.ref[Source], stop: threading.Event) -> None:
    while not stop.wait(SCAN_INTERVAL_S):
        source = reference()
        if source is None:
            return
        source._look_for_change(0)
        del source


# A child of a fork has the snapshot, but none of the parent's threads, and perhaps a lock held by one.
_sources: weakref.WeakSet[Source] = weakref.WeakSet()


def _after_fork() -> None:
    for source in list(_sources):
        source._without_threads()


os.register_at_fork(after_in_child=_after_fork)
