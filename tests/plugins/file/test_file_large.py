"""Files over the size that is read in this process: parsed in a child, at no cost to requests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from plugins.file import indexing, snapshot, watch
from plugins.file.keys import DEGRADED
from tests.plugins.file.changes import eventually, replace
from webcall import BackendError
from webcall.records import hash_api_key


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
        patch.setattr(indexing, "parse", not_here)
        patch.setattr(watch.Source, "_set_child", set_child)
        keys = open_keys(hundred_thousand)
        assert keys.validate("k0").name == "first"
        write_hundred_thousand(hundred_thousand, "second")
        started.clear()
        looks = 0
        while keys.validate("k99999").name == "first":
            looks += 1
            time.sleep(0.001)
    assert len(children) == 2
    assert looks > 50
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
    # The record's text is the same one in both, so that the second time it is known already.
    assert [len(work["parsed"]) for work in done] == [1, 0]
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

    def fixed():
        try:
            return keys.validate("k")
        except BackendError:
            return False

    eventually(fixed)


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


def test_a_revoked_key_of_a_large_file_stops_without_a_request(hundred_thousand, open_keys, monkeypatch):
    """A large file is loaded soon after its change, and not only when the next look-up sees it."""
    loaded = threading.Event()
    write_hundred_thousand(hundred_thousand, "first")
    keys = open_keys(hundred_thousand)
    assert keys.validate("k7").name == "first"
    real_index = watch.Source._index

    def index(self, survey):
        found = real_index(self, survey)
        loaded.set()
        return found

    monkeypatch.setattr(watch.Source, "_index", index)
    write_hundred_thousand(hundred_thousand, "second")
    assert loaded.wait(60)
    keys._source.refresh()
    assert keys.validate("k7").name == "second"


def test_a_page_costs_the_same_among_many(tmp_path, open_assistants, owner, an_assistant, monkeypatch):
    """Of an owner's thousands, in a file of many more, a page parses itself and what bisecting needs."""
    path = tmp_path / "assistants.json"
    others = [{**an_assistant(f"o{n}"), "assistant_created_by_email": f"{n}@x"} for n in range(5000)]
    replace(path, [*others, *(an_assistant(f"{n:05}", note="x" * 50) for n in reversed(range(5000)))])
    store = open_assistants(path)
    parsed = []
    real_loads = json.loads

    def counted_loads(text):
        parsed.append(len(text))
        return real_loads(text)

    monkeypatch.setattr(snapshot.json, "loads", counted_loads)
    page = store.page_of_assistants(owner, "02499", 10)
    assert [record["assistant_id"] for record in page] == [f"{n:05}" for n in range(2500, 2510)]
    assert len(parsed) <= 10 + 14
