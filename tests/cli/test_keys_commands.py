"""`flask webcall keys …`, over each backend that can be written to."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from tests.cli.conftest import NO_LIVEKIT, Run, loaded, run_on, table
from tests.support.deployment import (
    API_KEYS,
    APP_KEY,
    KEY,
    LISTED_KEY,
    OWNER,
    PAGE,
    PAGE_KEY,
    PLAIN_KEY,
    REVOKED_KEY,
    SUBDOMAINS,
    MakeApp,
    bearer,
    store_records,
)
from webcall.core.keys import list_keys
from webcall.errors import BackendError
from webcall.records import hash_api_key

Works = Callable[[str], bool]


def entries(app: Flask) -> dict[str, Any]:
    """Return the stored keys by hash."""
    return {entry.hash: entry for entry in list_keys(app.extensions["webcall"].validators())}


def test_a_created_key_works_at_once_until_it_is_revoked(run: Run, works: Works, stored_app: Flask) -> None:
    """The key stands alone on stdout, works at once, is stored as a hash, and stops when revoked."""
    options = ("--name", "Ada L.", "--org", "Engines", "--assistant", "helper", "--assistant", "other")
    result = run("keys", "create", "--owner", OWNER, *options, "--expires", "90d")
    key = result.stdout.removesuffix("\n")
    assert key.startswith("lvk_")
    assert len(key) == 47
    assert "shown this once" in result.stderr
    assert key not in result.stderr
    assert works(key)

    entry = entries(stored_app)[hash_api_key(key)]
    assert key not in repr(entry)
    assert {
        "user_name": "Ada L.",
        "org_name": "Engines",
        "allowed_assistants": ["helper", "other"],
    }.items() <= (entry.record.items())
    [row] = [row for row in loaded(run("keys", "list", "--json")) if row["id"] == key[:12]]
    assert row["state"] == "active"
    left = datetime.fromisoformat(row["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)

    run("keys", "revoke", key[:12], "--yes")
    assert not works(key)
    assert works(KEY)


def test_an_owner_without_an_address_is_warned_of(run: Run, stored_app: Flask) -> None:
    """A key of an owner that is no email address is made, with a warning; others without one."""
    result = run("keys", "create", "--owner", "nope")
    assert "warning: the owner is no email address" in result.stderr
    assert entries(stored_app)[hash_api_key(result.stdout.strip())].record["user_email"] == "nope"
    assert "warning" not in run("keys", "create", "--owner", OWNER).stderr


def test_a_key_stops_when_it_expires(run: Run, works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key made with --expires is refused from that moment on."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # gives a plain datetime
            return datetime.now(tz) + timedelta(minutes=31)

    key = run("keys", "create", "--owner", OWNER, "--expires", "30m").stdout.strip()
    assert works(key)
    monkeypatch.setattr("webcall.records.datetime", Later)
    assert not works(key)


def test_rotation_replaces_a_key(run: Run, works: Works, stored_app: Flask) -> None:
    """The new key has the old one's owner and limits and works at once; the old one stops."""
    old = run("keys", "create", "--owner", OWNER, "--assistant", "other", "--expires", "2w").stdout.strip()
    result = run("keys", "rotate", old[:12], "--yes")
    new = result.stdout.strip()
    assert new.startswith("lvk_")
    assert old not in result.output
    assert works(new)
    assert not works(old)
    stored = entries(stored_app)
    before, after = (dict(stored[hash_api_key(key)].record) for key in (old, new))
    for name in ("user_email", "allowed_assistants", "expires_at"):
        assert before[name] == after[name]
    assert f"The old one, {old[:12]}, has stopped." in result.stderr
    # A key that has stopped is not brought back under another name.
    assert "is revoked" in run("keys", "rotate", old[:12], "--yes", status=1).stderr


def test_both_keys_work_while_they_overlap(
    run: Run, works: Works, stored_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --overlap the old key works on until the moment that is named, and the new one beyond it."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=25)

    old = run("keys", "create", "--owner", OWNER).stdout.strip()
    told = run("keys", "rotate", old[:12], "--overlap", "24h", answer="y\n")
    assert "The old one stops after 1 day" in told.stderr
    new = told.stdout.strip()
    assert works(old)
    assert works(new)
    row = next(row for row in loaded(run("keys", "list", "--json")) if row["id"] == old[:12])
    assert row["replaced_by"] == new[:12]
    # Not every server that speaks MongoDB's protocol keeps a changed time's zone.
    end = datetime.fromisoformat(row["expires_at"]).replace(tzinfo=UTC)
    assert f"The old one, {old[:12]}, works until {end:%Y-%m-%dT%H:%M:%SZ}." in told.stderr
    left = end - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)
    assert f"was replaced by {new[:12]}" in run("keys", "rotate", old[:12], "--yes", status=1).stderr
    monkeypatch.setattr("webcall.records.datetime", Later)
    assert not works(old)
    assert works(new)


def test_assistants_that_a_new_keys_owner_does_not_have(run: Run) -> None:
    """A key for an assistant that is not there, or is somebody else's, is made, and told of."""
    given = [part for name in ("helper", "broken", "foreign", "mistyped") for part in ("--assistant", name)]
    told = run("keys", "create", "--owner", OWNER, *given)
    assert told.stdout.startswith("lvk_")
    warned = [line for line in told.stderr.splitlines() if line.startswith("warning")]
    assert warned == [
        f"warning: {OWNER} has no assistant {name} yet: calls to it are refused till then"
        for name in ("foreign", "mistyped")
    ]


def test_a_key_that_nobody_saw_is_revoked(
    run: Run, works: Works, stored_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a new key cannot be printed, it is good for nothing, and the one before it works on."""
    old = run("keys", "create", "--owner", OWNER).stdout.strip()
    before = set(entries(stored_app))
    echo = click.echo

    def fail(message: str, *, err: bool = False) -> None:
        if not err:
            raise OSError(errno.EPIPE, "canary")
        echo(message, err=err)

    with monkeypatch.context() as patched:
        patched.setattr(click, "echo", fail)
        told = run("keys", "create", "--owner", OWNER, status=1).stderr
        assert "could not be printed, and was revoked" in told
        told = run("keys", "rotate", old[:12], "--yes", status=1).stderr
        assert "could not be printed; nobody has it, and the old one is as it was" in told
    made = [entry.state for key_hash, entry in entries(stored_app).items() if key_hash not in before]
    assert made == ["revoked", "revoked"]
    assert works(old)
    assert works(run("keys", "rotate", old[:12], "--yes").stdout.strip())


def test_a_rotation_that_fails_says_so_of_the_key_that_it_showed(
    run: Run, works: Works, stored_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the old key cannot be stopped, it works on, and the new one is named as one not to use."""
    old = run("keys", "create", "--owner", OWNER).stdout.strip()
    [(_, validator)] = stored_app.extensions["webcall"].validators()
    update = validator.update_key

    def fail(key_hash: str, changes: Any) -> bool:
        if "replaced_by" in changes:
            raise BackendError("canary")
        return bool(update(key_hash, changes))

    monkeypatch.setattr(validator, "update_key", fail)
    told = run("keys", "rotate", old[:12], "--yes", status=1)
    new = told.stdout.strip()
    assert f"Do not use the new key, {new[:12]}" in told.stderr
    assert (works(old), works(new)) == (True, False)


def test_an_id_that_is_stored_cannot_steer_the_terminal(run: Run, stored_app: Flask) -> None:
    """Line breaks and escape sequences of a stored id are shown as text in questions, answers and errors."""
    [(_, validator)] = stored_app.extensions["webcall"].validators()
    for key_hash in ("a" * 64, "b" * 64):
        record = {"api_key_hash": key_hash, "api_key_prefix": "lvk\n\x1b[2J", "user_email": OWNER}
        validator.add_key(record)
    shown = r"lvk\n\x1b[2J"
    assert shown in run("keys", "revoke", "a" * 8, answer="n\n", status=1).stderr
    assert shown in run("keys", "rotate", "a" * 8, answer="n\n", status=1).stderr
    assert shown in run("keys", "rotate", "a" * 8, "--yes").stderr
    assert shown in run("keys", "revoke", "b" * 8, "--yes").stdout
    assert r"lvk \x1b[2J" in run("keys", "rotate", "b" * 8, "--yes", status=1).stderr


def test_a_key_for_a_page(run: Run, stored_app: Flask) -> None:
    """Every restriction on the command line is stored, and what is made stands in a page at once."""
    options = ("--publishable", "--assistant", "helper", "--origin", f"{PAGE}:443", "--origin", SUBDOMAINS)
    limits = ("--metadata", "customer", "--metadata", "plan", "--rate", "60/minute", "--max-concurrent", "5")
    key = run("keys", "create", "--owner", OWNER, *options, *limits).stdout.strip()
    assert key.startswith("lvp_")
    assert len(key) == 47
    entry = entries(stored_app)[hash_api_key(key)]
    assert {
        "allowed_assistants": ["helper"],
        "allowed_origins": [PAGE, SUBDOMAINS],
        "allowed_metadata": ["customer", "plan"],
        "rate_limit": "60/minute",
        "max_concurrent_calls": 5,
    }.items() <= entry.record.items()
    app = run("keys", "create", "--owner", OWNER, "--publishable", "--native", "--assistant", "helper")
    client = stored_app.test_client()
    for api_key, origin, status in (
        (key, PAGE, 422),
        (key, "https://a.shop.example", 422),
        (key, "https://elsewhere.example", 403),
        (key, None, 403),
        (app.stdout.strip(), None, 422),
        (app.stdout.strip(), PAGE, 403),
    ):
        headers = bearer(api_key) | ({"Origin": origin} if origin else {})
        # An empty body is looked at behind the key and the origin only.
        assert client.post("/web_call/get_token", json={}, headers=headers).status_code == status


@pytest.mark.parametrize("command", ["revoke", "rotate"])
@pytest.mark.parametrize("answer", ["n\n", ""])
def test_a_no_changes_nothing(run: Run, works: Works, stored_app: Flask, command: str, answer: str) -> None:
    """Without a yes, or without anybody to ask, the key stays and nothing is printed on stdout."""
    before = entries(stored_app)
    result = run("keys", command, KEY[:12], answer=answer, status=1)
    assert result.stdout == ""
    assert entries(stored_app) == before
    assert works(KEY)


def test_a_yes_revokes(run: Run, works: Works) -> None:
    """The question names the key's id and owner, and a yes is enough."""
    result = run("keys", "revoke", KEY[:12], answer="y\n")
    assert f"Revoke the key {KEY[:12]} of {OWNER}?" in result.stderr
    assert not works(KEY)


def test_a_revocation_tells_of_kept_answers(
    make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Where a running service keeps answers, the command says for how long they may still count."""
    environment = NO_LIVEKIT | store_records("file", tmp_path, request)
    paths = {"api_keys": environment["WEBCALL_API_KEYS_FILE"]}
    kept = {"cache_s": 30, "stale_if_error_s": 60}
    run = run_on(make_app(environment, backends={"file": paths | kept}))
    told = run("keys", "revoke", KEY[:12], "--yes").stderr
    assert "may work for up to 30 s more" in told
    assert "for up to 90 s" in told
    assert (
        "may work"
        not in run_on(make_app(environment))("keys", "revoke", hash_api_key(LISTED_KEY)[:8], "--yes").stderr
    )


def test_the_list_shows_ids_and_states(run: Run, backend: str) -> None:
    """Every key is listed with its state, an old plain one too; no key and no hash is printed."""
    rows = loaded(run("keys", "list", "--json"))
    states = {row["id"]: row["state"] for row in rows}
    assert states[KEY[:12]] == "active"
    assert states[PLAIN_KEY[:12]] == "active"
    assert states[hash_api_key(REVOKED_KEY)[:12]] == "revoked"
    assert sorted(states.values()) == ["active"] * (len(API_KEYS) - 2) + ["expired", "revoked"]
    assert {row["backend"] for row in rows} == {backend}
    assert not [row for row in rows if {"api_key", "api_key_hash", "_id"} & row.keys()]
    cells = table(run("keys", "list"))
    assert len(cells) == len(API_KEYS)
    assert [KEY[:12], OWNER, "Ada", "-", "-", "active", "-", "-", backend] in cells
    restrictions = f"origins {PAGE}, {SUBDOMAINS}; metadata customer"
    page = f"{PAGE_KEY[:12]} {OWNER} - - - active helper {restrictions} {backend}"
    assert page.split() in cells
    assert f"{APP_KEY[:12]} {OWNER} - - - active helper native {backend}".split() in cells


def test_a_key_is_found_by_its_hash(run: Run, works: Works) -> None:
    """A key without a stored prefix goes by its hash, of which eight digits are enough."""
    assert works(LISTED_KEY)
    run("keys", "revoke", hash_api_key(LISTED_KEY)[:8], "--yes")
    assert not works(LISTED_KEY)


@pytest.mark.parametrize("given", [KEY, PLAIN_KEY, "lvk_" + "u" * 43])
def test_a_whole_key_is_refused(run: Run, works: Works, given: str) -> None:
    """A key in place of an id is refused, and not printed."""
    result = run("keys", "revoke", given, "--yes", status=1)
    assert "keys do not belong in a command" in result.stderr
    assert given not in result.output
    assert works(KEY)
    assert works(PLAIN_KEY)


def test_an_unknown_id_is_said_to_be_so(run: Run) -> None:
    """An id that no key has is one line with status 1, and the id is not repeated."""
    result = run("keys", "revoke", "no-such-secret", "--yes", status=1)
    assert result.stderr == "Error: no key has this id; `flask webcall keys list` shows them\n"


def test_plain_keys_become_hashes_and_go_on_working(
    run: Run, works: Works, backend: str, stored_app: Flask
) -> None:
    """hash-plain removes the plain key, keeps it working, and has nothing to do the second time."""
    assert works(PLAIN_KEY)
    assert run("keys", "hash-plain").stdout == f"{backend}: 1 plain keys hashed\n"
    assert works(PLAIN_KEY)
    stored = entries(stored_app)
    assert not [entry for entry in stored.values() if "api_key" in entry.record]
    assert stored[hash_api_key(PLAIN_KEY)].record["api_key_prefix"] == PLAIN_KEY[:12]
    assert run("keys", "hash-plain").stdout == f"{backend}: 0 plain keys hashed\n"
    assert entries(stored_app) == stored
    run("keys", "revoke", PLAIN_KEY[:12], "--yes")
    assert not works(PLAIN_KEY)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--owner", " "), "the owner is empty"),
        (("--owner", OWNER, "--assistant", " helper"), "white space"),
        (
            ("--owner", OWNER, "--backend", "fil"),
            "the backend 'fil' is not in auth.validators; {backend} can be",
        ),
        (("--owner", OWNER, "--publishable"), "add --assistant ID"),
        (("--owner", OWNER, "--origin", "shop.example.com"), "write https://shop.example.com"),
        (("--owner", OWNER, "--rate", "60"), "not a rate such as 60/minute"),
        (("--owner", OWNER, "--max-concurrent", "0"), "give one such as 5"),
        (("--owner", OWNER, "--expires", "0d"), "not a time to come"),
        (("--owner", OWNER, "--expires", "2020-01-01"), "not a time to come"),
        (("--owner", OWNER, "--expires", "soon"), "not a time such as 90d"),
        (("--owner", OWNER, "--expires", "999999w"), "not a time such as 90d"),
    ],
)
def test_a_key_that_could_never_work_is_not_made(
    run: Run, stored_app: Flask, backend: str, options: tuple[str, ...], told: str
) -> None:
    """Bad options are refused with the fix, and nothing is stored."""
    before = entries(stored_app)
    result = run("keys", "create", *options, status=2 if "--expires" in options else 1)
    assert told.format(backend=backend) in result.stderr
    assert result.stdout == ""
    assert entries(stored_app) == before


def test_read_only_keys_name_who_can_write(env_app: Flask, make_app: MakeApp, tmp_path: Path) -> None:
    """On keys from the environment, commands that write say so, and name a backend that can."""
    run = run_on(env_app)
    assert len(loaded(run("keys", "list", "--json"))) == len(API_KEYS)
    for command in (("create", "--owner", OWNER), ("hash-plain",)):
        assert "add file, sql or mongo there" in run("keys", *command, status=1).stderr
    assert "'env' is read-only" in run("keys", "revoke", KEY[:12], status=1).stderr

    run = run_on(
        make_app({"WEBCALL_VALIDATORS": "env,file", "WEBCALL_API_KEYS_FILE": str(tmp_path / "k.json")})
    )
    told = run("keys", "create", "--owner", OWNER, "--backend", "env", status=1).stderr
    assert told.endswith("Error: the backend 'env' cannot be written to; file can be\n")
    made = run("keys", "create", "--owner", OWNER)
    assert "by the backend 'file'" in made.stderr
    assert made.stdout[:12] in {row["id"] for row in loaded(run("keys", "list", "--json"))}
    told = run("keys", "rotate", KEY[:12], status=1).stderr
    assert "read-only: change the key where it is set; of those in use, file can be written to" in told
