"""Whether a token costs the same with more of everything: records, connections, workers, metadata.

    python -m benchmarks.scale [--rounds 9] [--requests 1000] [--most 1000000] [--json FILE]

This service alone, with a stand-in for LiveKit that answers at once. Each row is set beside the one that it
grows from, as the ratio of the CPU seconds of the service's whole process tree in the same round; the rounds
are shuffled. CPU of the database is not counted. `--most` is how many keys and assistants MongoDB holds in
the largest row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.compare import KEY, SECRET, Round, livekit, measure, spread
from benchmarks.contestants import ASSISTANT, OWNER, Deployment
from benchmarks.processes import running
from tests.support.mongo import MongoServer
from tests.support.programs import free_port
from webcall.records import hash_api_key

LARGE = {"customer": {"name": "Ada"}, "notes": [f"line {number:04d} " + "x" * 54 for number in range(235)]}
_IN_FILE = 100_000


@dataclass(frozen=True)
class Row:
    """A way to run and to ask the service, and the row that it is compared with."""

    name: str
    beside: str
    settings: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, object] | None = None
    connections: int = 16


def many_keys(count: int) -> Iterator[dict[str, Any]]:
    """Give the records of so many keys that nobody has."""
    for number in range(count):
        yield {"api_key_hash": hash_api_key(f"lvk_{number:043d}"), "user_email": f"{number}@example.com"}


def many_assistants(count: int) -> Iterator[dict[str, Any]]:
    """Give so many small assistants."""
    for number in range(count):
        owner = f"{number}@example.com"
        yield {
            "assistant_id": f"other-{number}",
            "assistant_created_by_email": owner,
            "assistant_prompt": "Hi",
        }


def in_files(folder: Path, deployment: Deployment, count: int) -> dict[str, str]:
    """Write the deployment's records among `count` others; return the settings that name the files."""
    folder.mkdir()
    for name, others in (("keys", many_keys(count)), ("assistants", many_assistants(count))):
        own = json.loads((deployment.folder / f"{name}.json").read_text())
        (folder / f"{name}.json").write_text(json.dumps([*others, *own]))
    return {
        "WEBCALL_API_KEYS_FILE": str(folder / "keys.json"),
        "WEBCALL_ASSISTANTS_FILE": str(folder / "assistants.json"),
    }


def in_mongo(server: MongoServer, deployment: Deployment, count: int) -> dict[str, str]:
    """Put the deployment's records among `count` others; return the settings that name the database."""
    with server.client() as client:
        database = client[f"scale_{count}"]
        for name, field_name, others in (
            ("api_keys", "api_key_hash", many_keys(count)),
            ("assistants", "assistant_id", many_assistants(count)),
        ):
            collection = database[name]
            collection.create_index(field_name, unique=True)
            while batch := [one for _, one in zip(range(10_000), others, strict=False)]:
                collection.insert_many(batch, ordered=False)
        database["api_keys"].insert_one(
            {"api_key_hash": hash_api_key(deployment.api_key), "user_email": OWNER}
        )
        database["assistants"].insert_one(dict(ASSISTANT))
    return {
        "WEBCALL_VALIDATORS": "mongo",
        "WEBCALL_STORES": "mongo",
        "MONGODB_URI": server.uri,
        "MONGODB_DATABASE": f"scale_{count}",
    }


@contextlib.contextmanager
def rows(folder: Path, deployment: Deployment, most: int) -> Iterator[list[Row]]:
    """Give what is compared, with its records in place."""
    base = "file, 16 connections, one worker"
    server = MongoServer(folder)
    server.start()
    try:
        yield [
            Row(base, base),
            Row("one connection", base, connections=1),
            Row("256 connections", base, connections=256),
            Row("two workers", base, {"WEBCALL_WORKERS": "2"}),
            Row("16 KiB of metadata", base, metadata=LARGE),
            Row(f"file, {_IN_FILE:,} records", base, in_files(folder / "many", deployment, _IN_FILE)),
            Row("mongo, 10 records", "mongo, 10 records", in_mongo(server, deployment, 10)),
            Row("mongo, 10,000 records", "mongo, 10 records", in_mongo(server, deployment, 10_000)),
            Row(f"mongo, {most:,} records", "mongo, 10 records", in_mongo(server, deployment, most)),
        ]
    finally:
        server.stop()


def run(rounds: int, requests: int, most: int) -> tuple[list[Row], dict[str, list[Round]]]:
    """Measure each row in each round, in another order each time."""
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        deployment = Deployment.write(folder)
        environment = deployment.environment(stack.enter_context(livekit("stand-in", folder)), KEY, SECRET)
        compared = stack.enter_context(rows(folder, deployment, most))
        started: dict[str, tuple[int, int]] = {}
        for row in compared:
            settings = json.dumps(dict(row.settings), sort_keys=True)
            if settings not in started:
                port = free_port()
                own = {**environment, **row.settings, "WEBCALL_BIND": f"127.0.0.1:{port}"}
                log = folder / f"service-{len(started)}.log"
                pid = stack.enter_context(running([sys.executable, "-m", "gunicorn"], own, port, log))
                started[settings] = (port, pid)
        found: dict[str, list[Round]] = {row.name: [] for row in compared}
        for number in range(rounds + 1):
            for row in random.sample(compared, len(compared)):
                port, pid = started[json.dumps(dict(row.settings), sort_keys=True)]
                taken = measure(port, pid, deployment.request(row.metadata), requests, row.connections)
                # The first round warms up.
                if number:
                    found[row.name].append(taken)
        return compared, found


def main() -> None:
    """Measure, print, and write."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--requests", type=int, default=1000, help="per round and row")
    options.add_argument("--most", type=int, default=1_000_000)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    compared, found = run(given.rounds, given.requests, given.most)
    written = {}
    print(f"{'':36}{'CPU s per 1000':>24}{'of the row beside':>24}{'p50 ms':>24}")
    for row in compared:
        taken, beside = found[row.name], found[row.beside]
        ratio = [
            ours.cpu_s_per_1000 / theirs.cpu_s_per_1000 for ours, theirs in zip(taken, beside, strict=True)
        ]
        cells = (
            spread([one.cpu_s_per_1000 for one in taken]),
            spread(ratio),
            spread([one.p50_ms for one in taken]),
        )
        print(f"{row.name:36}" + "".join(f"{cell:>24}" for cell in cells))
        written[row.name] = {"beside": row.beside, "ratio": statistics.median(ratio), "ratios": ratio}
    if given.json:
        given.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
