"""The commands over tables, from `flask webcall sql init` to a caller's list of assistants."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import NO_LIVEKIT, loaded, run_on
from tests.support.deployment import MakeApp, Service, bearer
from webcall.errors import ConfigError

ADA = "ada@example.com"


def test_a_deployment_from_nothing(url: str, make_app: MakeApp) -> None:
    """Tables are made, a key and assistants stored; the key finds its assistants until it is revoked."""
    chosen = {"WEBCALL_VALIDATORS": "sql", "WEBCALL_STORES": "sql", "DATABASE_URL": url}
    app = make_app(NO_LIVEKIT | chosen)
    run, client = run_on(app), app.test_client()
    # Nothing is there yet: an outage with a fix, and not an unknown key.
    assert client.get("/web_call/assistants", headers=bearer("lvk_unknown")).status_code == 500
    findings = loaded(run("check", "--json", status=1))
    assert any("flask webcall sql init" in finding["message"] for finding in findings)
    assert "webcall_assistants" in run("sql", "init").stdout
    assert "webcall_assistants" not in run("sql", "init").stdout
    assert client.get("/web_call/assistants", headers=bearer("lvk_unknown")).status_code == 401

    key = run("keys", "create", "--owner", ADA, "--name", "Ada").stdout.strip()
    given = [
        {"assistant_id": name, "assistant_created_by_email": owner, "assistant_mode": "pipeline", "mine": [1]}
        for name, owner in (("b", ADA), ("a", ADA), ("c", "eve@example.com"))
    ]
    run("assistants", "put", "-", answer=json.dumps(given))
    shelf = client.get("/web_call/assistants", headers=bearer(key)).get_json()["data"]
    assert [one["assistant_id"] for one in shelf["assistants"]] == ["a", "b"]
    assert json.loads(run("assistants", "show", "b").stdout)["mine"] == [1]
    run("assistants", "delete", "b", "--yes")
    assert [row["assistant_id"] for row in loaded(run("assistants", "list", "--json"))] == ["a", "c"]

    [row] = loaded(run("keys", "list", "--json"))
    assert (row["id"], row["state"]) == (key[:12], "active")
    run("keys", "revoke", key[:12], "--yes")
    assert client.get("/web_call/assistants", headers=bearer(key)).status_code == 401


def test_workers_and_commands_share_a_file(
    tmp_path: Path, make_app: MakeApp, make_service: Callable[[Mapping[str, str]], Service]
) -> None:
    """A key that a command makes or revokes in an SQLite file counts at once in every worker process."""
    chosen = {"WEBCALL_VALIDATORS": "sql", "WEBCALL_STORES": "sql", "WEBCALL_LIMIT_FAILED_AUTH": "off"}
    environment = NO_LIVEKIT | chosen | {"DATABASE_URL": f"sqlite:///{tmp_path / 'kept.db'}"}
    run = run_on(make_app(environment))
    run("sql", "init")
    service = make_service(environment | {"WEBCALL_WORKERS": "2", "WEBCALL_LIMIT_PER_KEY": "off"})

    def statuses(key: str) -> set[int]:
        def ask(_: int) -> int:
            asked = urllib.request.Request(f"{service.url}/web_call/assistants", headers=bearer(key))
            try:
                with urllib.request.urlopen(asked, timeout=20) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                error.close()
                return error.code

        # Enough at once that both workers answer.
        with ThreadPoolExecutor(16) as pool:
            return set(pool.map(ask, range(64)))

    assert statuses("lvk_unknown") == {401}
    key = run("keys", "create", "--owner", ADA).stdout.strip()
    assert statuses(key) == {200}
    run("keys", "revoke", key[:12], "--yes")
    assert statuses(key) == {401}


def test_a_missing_driver_is_one_line(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the extra the service starts, unless `sql` is in use: then the line names the extra."""
    chosen = {"DATABASE_URL": f"sqlite:///{tmp_path / 'kept.db'}"}
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    make_app(NO_LIVEKIT | chosen | {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env"})
    with pytest.raises(ConfigError, match=r"^backends\.sql: needs the extra: pip install '\.\[sql\]' in"):
        make_app(NO_LIVEKIT | chosen | {"WEBCALL_VALIDATORS": "sql", "WEBCALL_STORES": "env"})
