"""How a changed, broken or vanished file gets in, and what that costs a request."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import time
import warnings

import pytest

from plugins.file import indexing, parsing, snapshot, watch
from plugins.file.keys import DEGRADED
from webcall import BackendError, Refused
from webcall.records import hash_api_key


def replace(path, records):
    """Put a whole new file in the place of the old one."""
    temporary = path.with_name(".next")
    temporary.write_text(json.dumps(records))
    temporary.replace(path)


def eventually(holds, timeout_s=30):
    """Ask until it holds: for changes that a request does not wait for."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def held(monkeypatch):
    """Hold up every load in this process between `begun` and `go_on`."""

    class Held:
        begun, go_on = threading.Semaphore(0), threading.Event()
        at_once = most_at_once = loads = 0

    real = indexing.write_index

    def write_index(*arguments):
        Held.at_once += 1
        Held.loads += 1
        Held.most_at_once = max(Held.most_at_once, Held.at_once)
        Held.begun.release()
        assert Held.go_on.wait(30)
        try:
            real(*arguments)
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


def test_an_unchanged_file_is_not_read(tmp_path, open_keys, a_key, held):
    """A look-up without a change, and a change of the file's times alone to and fro, load nothing more."""
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
    early = threading.Thread(target=keys.validate, args=["k"])
    early.start()
    assert seen.begun.acquire(timeout=30)
    replace(path, [a_key("k", is_active=False)])
    outcome = []

    def late():
        try:
            outcome.append(keys.validate("k"))
        except Refused:
            outcome.append("refused")

    thread = threading.Thread(target=late)
    thread.start()
    seen.go_on.set()
    thread.join(30)
    early.join(30)
    assert outcome == ["refused"]


def test_a_broken_edit_is_logged_once_and_the_last_good_contents_serve(tmp_path, open_keys, a_key, caplog):
    """Each broken state is one line; the keys go on, ping tells, and a mended file is used at once."""
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

    def mended():
        try:
            return keys.validate("k") is not None
        except BackendError:
            return False

    eventually(mended)
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
    for version in range(40):
        replace(path, [*(a_key(f"{version}-{n}") for n in range(version * 5)), a_key("always")])
        keys._source.refresh()
    over.set()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(asked) == 64
    assert keys.validate("39-194") is not None


@pytest.fixture(scope="module")
def hundred_thousand(tmp_path_factory):
    """A JSON file of 100,000 keys, `k0` to `k99999`."""
    path = tmp_path_factory.mktemp("large") / "keys.json"
    write_hundred_thousand(path, "first")
    return path


def write_hundred_thousand(path, name):
    records = (
        {"api_key_hash": hash_api_key(f"k{n}"), "user_email": f"{n:06}@example.com", "user_name": name}
        for n in range(100_000)
    )
    temporary = path.with_name(".next")
    temporary.write_text("[" + ",\n".join(map(json.dumps, records)) + "]")
    temporary.replace(path)


def test_a_large_file_costs_a_request_nothing(hundred_thousand, tmp_path, open_keys, a_key, monkeypatch):
    """Parsing happens in another process, look-ups go on meanwhile, and each does as little as among ten."""
    main = os.getpid()

    def not_here(*arguments, **options):
        assert os.getpid() != main, "a large file was parsed in the serving process"
        raise AssertionError

    children, started = [], threading.Event()
    real_set_child = watch.Source._set_child

    def set_child(self, child):
        children.append(child)
        real_set_child(self, child)
        started.set()

    with monkeypatch.context() as patch:
        patch.setattr(watch, "write_index", not_here)
        patch.setattr(parsing, "parse", not_here)
        patch.setattr(watch.Source, "_set_child", set_child)
        keys = open_keys(hundred_thousand)
        assert keys.validate("k0").name == "first"
        write_hundred_thousand(hundred_thousand, "second")
        started.clear()
        slowest, looks = 0.0, 0
        while (began := time.perf_counter()) and keys.validate("k99999").name == "first":
            slowest = max(slowest, time.perf_counter() - began)
            looks += 1
            time.sleep(0.001)
    assert len(children) == 2
    assert looks > 50
    assert slowest < 0.15  # a json.loads of the file here would have held the lock for longer
    assert [child.returncode for child in children] == [0, 0]

    small = open_keys(tmp_path / "ten.json", may_be_missing=True)
    replace(tmp_path / "ten.json", [
        {"api_key_hash": hash_api_key(f"k{n}"), "user_email": f"{n:06}@example.com", "user_name": "second"}
        for n in range(10)
    ])  # fmt: skip
    small.validate("k1")
    work = {}
    real_loads, real_getitem = json.loads, snapshot.Snapshot.__getitem__

    def counted_loads(text):
        work["parsed"].append(len(text))
        return real_loads(text)

    def counted_getitem(self, position):
        work["steps"] += 1
        return real_getitem(self, position)

    monkeypatch.setattr(snapshot.json, "loads", counted_loads)
    monkeypatch.setattr(snapshot.Snapshot, "__getitem__", counted_getitem)
    done = []
    for store in (keys, small):
        work = {"parsed": [], "steps": 0}
        assert store.validate("k7").email == "000007@example.com"
        assert store.validate("unknown") is None
        done.append(work)
    assert done[0]["parsed"] == done[1]["parsed"]
    assert len(done[0]["parsed"]) == 1
    assert done[0]["steps"] <= 2 * (17 + 1)


def large(records, pad=400):
    """Return records that make a file a large one."""
    return [*records, *({"api_key": f"pad{n}", "user_email": "o", "note": "x" * 1000} for n in range(pad))]


def test_a_large_files_faults_come_back_from_the_child(tmp_path, open_keys, a_key, caplog):
    """A broken large file is told with its place, and the contents before it go on serving."""
    path = tmp_path / "keys.json"
    replace(path, large([a_key("k")]))
    keys = open_keys(path)
    assert keys.validate("k") is not None
    replace(path, [*large([]), {"api_key": "s3cret"}])
    eventually(lambda: keys.validate("k") and keys.ping() == DEGRADED)
    assert "record 401: user_email: " in caplog.text
    assert "s3cret" not in caplog.text
    replace(path, large([a_key("l")]))
    eventually(lambda: keys.validate("l"))
    assert keys.ping() is None


def test_a_child_that_dies_is_replaced(tmp_path, open_keys, a_key, monkeypatch, caplog):
    """An indexing process that is killed is an outage with a reason, and is tried again."""
    monkeypatch.setattr(watch, "RETRY_INTERVAL_S", 0)
    path = tmp_path / "keys.json"
    replace(path, large([a_key("k")]))
    with monkeypatch.context() as patch:
        patch.setattr(watch.Source, "_set_child", lambda self, child: child.kill())
        keys = open_keys(path)
    assert "indexing process ended with status -9" in caplog.text

    def mended():
        try:
            return keys.validate("k")
        except BackendError:
            return False

    eventually(mended)


def test_close_ends_the_thread_and_the_child(tmp_path, open_keys, a_key, monkeypatch, caplog):
    """After close nothing of a reload runs any more, nothing is logged, and the contents still serve."""
    path = tmp_path / "keys.json"
    replace(path, large([a_key("k")]))
    keys = open_keys(path)
    children, started = [], threading.Event()
    real = subprocess.Popen.communicate

    def communicate(self, *arguments, **options):
        os.kill(self.pid, signal.SIGSTOP)  # it would be over too soon otherwise
        children.append(self)
        started.set()
        return real(self, *arguments, **options)

    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    replace(path, large([a_key("l")]))
    assert keys.validate("k") is not None
    assert started.wait(30)
    thread = keys._source._thread
    keys.close()
    assert not thread.is_alive()
    assert children[0].returncode == -signal.SIGKILL
    assert keys.validate("k") is not None
    assert caplog.records == []


def test_a_forked_worker_follows_the_file_on_its_own(tmp_path, open_keys, a_key, held, monkeypatch):
    """A child of a fork in the midst of a reload has the contents, and notices changes with its own thread."""
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
