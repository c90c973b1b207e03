"""How a changed, broken or vanished file gets in, and what that costs a request."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import threading
import warnings

import pytest

from plugins.file import indexing, survey, watch
from plugins.file.keys import DEGRADED
from tests.plugins.file.changes import eventually, replace
from webcall import BackendError, Refused

TICK_NS = 10_000_000  # the coarsest clock of a common kernel (100 Hz)


@pytest.fixture
def held(monkeypatch):
    """Hold up every load in this process when it has read the file, from `begun` to `go_on`."""

    class Held:
        begun, go_on = threading.Semaphore(0), threading.Event()
        at_once = most_at_once = loads = 0

    real = indexing.write_index

    def write_index(*arguments):
        Held.at_once += 1
        Held.loads += 1
        Held.most_at_once = max(Held.most_at_once, Held.at_once)
        try:
            real(*arguments)
            Held.begun.release()
            assert Held.go_on.wait(30)
        finally:
            Held.at_once -= 1

    def hold():
        monkeypatch.setattr(watch, "write_index", write_index)
        return Held

    yield hold
    Held.go_on.set()


def test_a_revoked_key_stops_at_once(tmp_path, open_keys, a_key):
    """The first request after a small file was replaced, or edited in place, obeys the new contents."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k")]))
    keys = open_keys(path)
    for _ in range(5):
        replace(path, [a_key("k", is_active=False)])
        with pytest.raises(Refused):
            keys.validate("k")
        path.write_text(json.dumps([a_key("k")]))
        assert keys.validate("k") is not None


def test_edits_within_one_tick_of_the_clock_are_told_apart(tmp_path, open_keys, a_key, monkeypatch):
    """Edits in place of the same size, faster than the file system's clock ticks, all count."""

    def coarse(found):
        modified, changed, *rest = survey.signature(found)
        return modified // TICK_NS * TICK_NS, changed // TICK_NS * TICK_NS, *rest

    real = survey.take_survey

    def take_survey(path):
        top = coarse(path.stat())
        return dataclasses.replace(real(path), top=top, files={"": top})

    monkeypatch.setattr(watch, "signature", coarse)
    monkeypatch.setattr(watch, "take_survey", take_survey)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k", user_name="00")]))
    keys = open_keys(path)
    for number in range(10, 40):
        path.write_text(json.dumps([a_key("k", user_name=str(number))]))
        assert keys.validate("k").name == str(number)


def test_an_unchanged_file_is_not_read(tmp_path, open_keys, a_key, held):
    """Look-ups without a change load nothing."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k")]))
    keys = open_keys(path)
    seen = held()
    for _ in range(100):
        keys.validate("k")
        keys.validate("unknown")
    assert seen.loads == 0


def test_the_wait_for_a_reload_is_bounded_and_reloads_are_one_at_a_time(
    tmp_path, open_keys, a_key, held, monkeypatch
):
    """A slow reload costs a request no more than the bound, and many requests start no second one."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k")]))
    keys = open_keys(path)
    monkeypatch.setattr(watch, "WAIT_FOR_SMALL_S", 0.02)
    seen = held()
    for version in range(5):
        replace(path, [a_key("k", user_name=f"v{version}")])
        assert keys.validate("k").name is None
    seen.go_on.set()
    monkeypatch.setattr(watch, "WAIT_FOR_SMALL_S", 30)
    assert keys.validate("k").name == "v4"
    assert seen.most_at_once == 1
    assert seen.loads <= 3


def test_a_request_waits_for_a_load_that_began_after_its_change(tmp_path, open_keys, a_key, held):
    """A reload that read the file before the revocation does not count as having seen it."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k")]))
    keys = open_keys(path)
    seen = held()
    replace(path, [a_key("k", user_name="second")])
    outcome = {}

    def ask(who):
        try:
            outcome[who] = keys.validate("k")
        except Refused:
            outcome[who] = "refused"

    early, late = (threading.Thread(target=ask, args=[who]) for who in ("early", "late"))
    early.start()
    assert seen.begun.acquire(timeout=30)
    replace(path, [a_key("k", is_active=False)])
    late.start()
    eventually(lambda: keys._source._wanted == 2)
    seen.go_on.set()
    early.join(30)
    late.join(30)
    assert outcome["late"] == "refused"


def test_a_broken_edit_is_logged_once_and_the_last_good_contents_serve(tmp_path, open_keys, a_key, caplog):
    """Each broken state is one line; the keys go on, ping tells, and a fixed file is used at once."""
    caplog.set_level(logging.INFO, "plugins.file")
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k")]))
    keys = open_keys(path)
    for number, broken in enumerate(("[", "[{}]", ""), 1):
        path.write_text(broken)
        for _ in range(5):
            assert keys.validate("k") is not None
            assert keys.ping() == DEGRADED
        assert len(caplog.records) == number
        assert str(path) in caplog.records[-1].getMessage()
    path.unlink()
    assert keys.validate("k") is not None
    assert keys.ping() == DEGRADED
    assert len(caplog.records) == 4
    path.write_text(json.dumps([a_key("l")]))
    assert keys.validate("k") is None
    assert keys.validate("l") is not None
    assert keys.ping() is None
    assert caplog.records[-1].levelno == logging.INFO


@pytest.mark.parametrize("default", [True, False])
def test_an_outage_ends_when_the_file_is_mended(tmp_path, open_keys, a_key, default):
    """A file that was never usable is an outage until it is, without a restart, wherever it stands."""
    path = tmp_path / "keys.json"
    keys = open_keys(path, may_be_missing=default)
    if default:
        assert keys.validate("k") is None
    else:
        with pytest.raises(BackendError):
            keys.validate("k")
    path.write_text("{")
    for ask in (lambda: keys.validate("k"), keys.ping):
        with pytest.raises(BackendError, match="not JSON"):
            ask()
    path.write_text(json.dumps([a_key("k")]))
    assert keys.validate("k") is not None


def test_a_path_that_cannot_be_looked_at_is_an_outage(tmp_path, open_keys, a_key):
    """A refusal of the file system itself is told with its reason, and ends when it does."""
    path = tmp_path / "keys.json"
    path.symlink_to(path)
    keys = open_keys(path, may_be_missing=True)
    with pytest.raises(BackendError, match="cannot be read: Too many levels"):
        keys.validate("k")
    replace(path, [a_key("k")])
    assert keys.validate("k") is not None


def test_a_fault_of_the_machine_is_tried_again(tmp_path, open_keys, a_key, monkeypatch, caplog):
    """Where reading fails for the moment, the unchanged file is loaded later, with one line in the log."""
    monkeypatch.setattr(watch, "RETRY_INTERVAL_S", 0)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([a_key("k")]))

    def fails(*arguments):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(watch, "write_index", fails)
        keys = open_keys(path)
        for _ in range(3):
            with pytest.raises(BackendError, match="Too many open files"):
                keys.validate("k")
            keys._source.refresh()
    assert len(caplog.records) == 1

    def fixed():
        try:
            return keys.validate("k") is not None
        except BackendError:
            return False

    eventually(fixed)
    assert keys.ping() is None


def test_a_folders_changes_are_found(tmp_path, open_assistants, owner, an_assistant, monkeypatch):
    """A new file counts at once, an edit within one after the next scan, a file that went is gone."""
    (tmp_path / "a.json").write_text(json.dumps(an_assistant("a", n=1)))
    monkeypatch.setattr(watch, "SCAN_INTERVAL_S", 0)
    store = open_assistants(tmp_path)
    (tmp_path / "b.json").write_text(json.dumps(an_assistant("b")))
    assert store.get("b", owner) is not None
    with (tmp_path / "a.json").open("w") as file:
        file.write(json.dumps(an_assistant("a", n=2)))
    eventually(lambda: store.get("a", owner).record["n"] == 2)
    (tmp_path / "b.json").unlink()
    assert store.get("b", owner) is None
    (tmp_path / "c.json").write_text("{")
    assert store.get("a", owner) is not None
    assert store.ping() == DEGRADED


def test_a_folder_is_not_scanned_for_every_request(
    tmp_path, open_assistants, owner, an_assistant, monkeypatch
):
    """Between two scans a look-up costs the folder's own `stat` and nothing else."""
    (tmp_path / "a.json").write_text(json.dumps(an_assistant("a")))
    monkeypatch.setattr(watch, "SCAN_INTERVAL_S", 3600)
    store = open_assistants(tmp_path)

    def no_scan(path):
        raise AssertionError("scanned")

    monkeypatch.setattr(watch, "take_survey", no_scan)
    for _ in range(100):
        assert store.get("a", owner) is not None
    assert store._source._thread is None
    assert store.ping() is None


def test_readers_see_whole_files_while_they_are_replaced(tmp_path, open_keys, a_key):
    """64 threads always find the key that is in every version, and never meet an exception."""
    path = tmp_path / "keys.json"
    replace(path, [a_key("always")])
    keys = open_keys(path)
    over = threading.Event()
    wrong, asked = [], []

    def read():
        count = 0
        try:
            while not over.is_set() or not count:
                count += 1
                if keys.validate("always") is None:
                    wrong.append("unknown")
        except Exception as error:
            wrong.append(repr(error))
        asked.append(count)

    threads = [threading.Thread(target=read) for _ in range(64)]
    for thread in threads:
        thread.start()
    for version in range(15):
        replace(path, [*(a_key(f"{version}-{n}") for n in range(version * 5)), a_key("always")])
        keys._source.refresh()
    over.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(asked) == 64
    assert keys.validate("14-69") is not None


def test_a_forked_worker_follows_the_file_on_its_own(tmp_path, open_keys, a_key, held, monkeypatch):
    """A child of a fork in the midst of a reload serves, and notices the change with its own thread."""
    path = tmp_path / "keys.json"
    replace(path, [a_key("k")])
    keys = open_keys(path)
    with monkeypatch.context() as patch:
        patch.setattr(watch, "WAIT_FOR_SMALL_S", 0.01)
        seen = held()
        replace(path, [a_key("l")])
        assert keys.validate("k") is not None
        assert seen.begun.acquire(timeout=30)
        keys._source._changed.acquire()  # the lock is held by a thread that the child will not have
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns of just this danger
            child = os.fork()
        if child == 0:
            signal.alarm(20)
            watch.write_index = indexing.write_index
            watch.WAIT_FOR_SMALL_S = 10
            os._exit(0 if keys.validate("l") is not None and keys.validate("k") is None else 1)
        keys._source._changed.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    seen.go_on.set()
    assert keys.validate("l") is not None
