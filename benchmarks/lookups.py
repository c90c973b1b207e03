"""How long a look-up takes in each backend, with and without the cache.

`python -m benchmarks.lookups [RECORDS] [JSON]` (100,000 by default) prints a table, writes it into
docs/backends.md between its two marks, and the figures into the file JSON if one is named. PostgreSQL,
MongoDB and the others run on this machine, one question after the other, so that no figure has a network
in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from scripts.settings_table import with_table
from tests.support.company import SECRET, ExampleServer
from tests.support.mongo import MongoServer
from tests.support.oidc import ScriptedProvider
from tests.support.postgres import running
from webcall.core.cache import Cache, CachedValidator
from webcall.interfaces import Backend, CacheSettings
from webcall.plugin_manager import load_plugins
from webcall.records import hash_api_key

PAGE = Path(__file__).resolve().parent.parent / "docs" / "backends.md"
BEGIN, END = "<!-- look-ups: made by python -m benchmarks.lookups -->", "<!-- /look-ups -->"
PLUGINS = ["plugins.env", "plugins.file", "plugins.mongo", "plugins.sql", "plugins.jwt", "plugins.http"]
QUESTIONS = 3000
OWNER = "ada@example.com"

Ask = Callable[[str], Any]


def key(number: int) -> str:
    """Return the key of a number."""
    return f"lvk_{number:043d}"


def records(count: int) -> list[dict[str, Any]]:
    """Return as many records of keys."""
    return [{"api_key_hash": hash_api_key(key(number)), "user_email": OWNER} for number in range(count)]


def percentiles(ask: Ask, questions: list[str]) -> tuple[float, float]:
    """Return the 50th and 99th percentile of a question's time, in microseconds."""
    times = []
    for question in questions:
        began = time.perf_counter()
        found = ask(question)
        times.append((time.perf_counter() - began) * 1e6)
        assert found is not None
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


@contextlib.contextmanager
def backends(count: int, folder: Path) -> Iterator[Iterator[tuple[str, Any, list[str]]]]:
    """Give each backend by name, with its records in it, and keys that it knows in any order."""
    offered, faults = load_plugins(PLUGINS)
    assert not faults, faults
    found = records(count)
    asked = [key(random.Random(number).randrange(count)) for number in range(QUESTIONS)]

    def make(name: str, **settings: Any) -> Any:
        backend: Backend = offered.validators[name]
        schema = backend.settings_schema
        return backend.factory(schema().load(settings) if schema else {})

    def filled(name: str, **settings: Any) -> Any:
        made = make(name, **settings)
        if hasattr(made, "prepare"):
            made.prepare()
        return made

    with contextlib.ExitStack() as stack:

        def each() -> Iterator[tuple[str, Any, list[str]]]:
            os.environ["WEBCALL_API_KEYS"] = json.dumps(found)
            environment = make("env")
            environment.validate(asked[0])
            # Other programs could not be started with so much in it.
            del os.environ["WEBCALL_API_KEYS"]
            yield "`env`", environment, asked
            (folder / "keys.json").write_text(json.dumps(found))
            yield (
                "`file`",
                make("file", api_keys=str(folder / "keys.json"), assistants=str(folder / "none.json")),
                asked,
            )
            sqlite = filled("sql", url=f"sqlite:///{folder / 'kept.db'}")
            _fill(sqlite, found)
            yield "`sql`, SQLite", sqlite, asked
            postgres = filled("sql", url=stack.enter_context(running()).url(), timeout_s=30)
            _fill(postgres, found)
            yield "`sql`, PostgreSQL", postgres, asked
            server = MongoServer(folder)
            server.start()
            stack.callback(server.stop)
            mongo = filled("mongo", uri=server.uri, timeout_s=30)
            with server.client() as client:
                client["webcall"]["api_keys"].insert_many([dict(record) for record in found])
            yield "`mongo`", mongo, asked
            company = ExampleServer(folder, {"keys": {one["api_key_hash"]: one for one in found}})
            company.start()
            stack.callback(company.stop)
            yield "`http`, the example server", make("http", url=company.url, secret=SECRET), asked
            provider = ScriptedProvider()
            stack.callback(provider.close)
            yield "`jwt`, RS256", *_logins(provider, make)

        yield each()


def _fill(side: Any, found: list[dict[str, Any]]) -> None:
    with side._connection.writing() as session:
        rows = [{"api_key_hash": record["api_key_hash"], "record": record} for record in found]
        for first in range(0, len(rows), 5000):
            session.execute(side.TABLE.insert(), rows[first : first + 5000])


def _logins(provider: ScriptedProvider, make: Callable[..., Any]) -> tuple[Any, list[str]]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    provider.keys = [{**public, "kid": "1", "use": "sig"}]
    claims = {"iss": provider.issuer, "aud": "webcall", "email": OWNER, "exp": int(time.time()) + 3600}
    tokens = [
        jwt.encode({**claims, "sub": str(number)}, private, "RS256", {"kid": "1"}) for number in range(300)
    ]
    logins = make("jwt", issuer=provider.issuer, audience="webcall")
    return logins, tokens * (QUESTIONS // len(tokens))


def measure(count: int) -> list[tuple[str, tuple[float, float], tuple[float, float]]]:
    """Return each backend's name, and its percentiles without and with a cache that knows the answer."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, backends(count, Path(folder)) as each:
        for name, backend, asked in each:
            backend.validate(asked[0])
            bare = percentiles(backend.validate, asked)
            cached = CachedValidator(backend, Cache(CacheSettings(cache_s=3600, cache_size=QUESTIONS)))
            for question in set(asked):
                cached.validate(question)
            rows.append((name, bare, percentiles(cached.validate, asked)))
            print(name, *(f"{figure:.0f}" for figure in (*bare, *rows[-1][2])), flush=True)
            if hasattr(backend, "close"):
                backend.close()
    return rows


def table(count: int, rows: list[tuple[str, tuple[float, float], tuple[float, float]]]) -> str:
    """Return the figures as the page shows them."""
    lines = [
        f"At {count:,} keys, {QUESTIONS:,} questions in any order, one after the other, in microseconds:",
        "",
        "| Backend | p50 | p99 | kept: p50 | kept: p99 |",
        "|---|---|---|---|---|",
    ]
    for name, bare, kept in rows:
        figures = " | ".join(f"{figure:,.0f}" for figure in (*bare, *kept))
        lines.append(f"| {name} | {figures} |")
    server = "MongoDB's own" if shutil.which("mongod") else "nx-27017, which speaks MongoDB's protocol"
    return "\n".join([*lines, "", f"The server of `mongo` was {server}."])


def as_json(count: int, rows: list[tuple[str, tuple[float, float], tuple[float, float]]]) -> str:
    """Return the figures for a program, in microseconds."""
    names = ("p50_us", "p99_us", "kept_p50_us", "kept_p99_us")
    figures = [
        {"backend": name.replace("`", ""), **dict(zip(names, (*bare, *kept), strict=True))}
        for name, bare, kept in rows
    ]
    return json.dumps({"records": count, "questions": QUESTIONS, "backends": figures}, indent=2)


def main() -> int:
    """Measure, print, and write the page."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rows = measure(count)
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(as_json(count, rows), "utf-8")
    made = table(count, rows)
    print(made)
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), made, BEGIN, END), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
