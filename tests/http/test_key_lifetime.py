"""A key's life, by command, as every worker of a running service sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.deployment import OWNER, MakeApp, Service, bearer, store_records
from tests.support.http import JSON, at_once, send

NO_LIVEKIT = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}


@pytest.mark.parametrize("backend", ["file", "mongo"])
def test_every_worker_sees_it_at_once(
    backend: str,
    make_app: MakeApp,
    make_service: Callable[[Mapping[str, str]], Service],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """A key that was just made or rotated works in each worker; one that was just revoked, in none."""
    environment = NO_LIVEKIT | store_records(backend, tmp_path, request)
    limits = {"WEBCALL_LIMIT_FAILED_AUTH": "off", "WEBCALL_LIMIT_PER_KEY": "off"}
    service = make_service(environment | limits | {"WEBCALL_WORKERS": "3"})
    runner = make_app(environment).test_cli_runner()

    def run(*arguments: str) -> str:
        result = runner.invoke(args=["webcall", "keys", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def statuses(key: str) -> Counter[int]:
        # An empty body is looked at behind the key only.
        return Counter(at_once(24, lambda _: send(service.port, {}, bearer(key) | JSON).status))

    key = run("create", "--owner", OWNER)
    assert statuses(key) == {422: 24}
    new = run("rotate", key[:12], "--overlap", "1h", "--yes")
    assert statuses(key) == {422: 24}
    assert statuses(new) == {422: 24}
    run("revoke", key[:12], "--yes")
    assert statuses(key) == {401: 24}
    newest = run("rotate", new[:12], "--yes")
    assert statuses(new) == {401: 24}
    assert statuses(newest) == {422: 24}
