"""The contract of a key validator."""
# ruff: noqa: S101  # asserts are what a suite of tests is made of

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webcall.errors import Conflict, RecordError, Refused
from webcall.interfaces import Caller, KeyValidator, ListsKeys, ManagesKeys
from webcall.records import hash_api_key, key_hash_of
from webcall.testing.common import cannot_list, held, read_only
from webcall.testing.validators import Asked, ValidatorContract, near

KEY = "lvk_Contract-Suite_AbCdEfGhIjKlMnOpQrStUvWxYz01"
OTHER_KEY = "lvk_Another-Contract_ZyXwVuTsRqPoNmLkJiHgFeDcBa9"
PAGE_KEY = "lvp_Contract-Suite_AbCdEfGhIjKlMnOpQrStUvWxYz01"
APP_KEY = "lvp_Another-Contract_ZyXwVuTsRqPoNmLkJiHgFeDcBa9"
PLAIN_KEY = "an old deployment's own kind of key, ünhashed"
OWNER = "ada@example.com"

MakeValidator = Callable[[list[dict[str, Any]]], KeyValidator | None]


def key_record(api_key: str, **fields: Any) -> dict[str, Any]:
    """Return a stored record of a key, hashed, with the optional fields in `fields`."""
    return {
        "api_key_hash": hash_api_key(api_key),
        "api_key_prefix": api_key[:12],
        "user_email": OWNER,
        **fields,
    }


class KeyValidatorContract(ValidatorContract):
    """Subclass it under a name that begins with `Test` and define the fixture `make_validator`."""

    @pytest.fixture
    def make_validator(self) -> MakeValidator:
        """Return a function from stored records to the validator, or to None if it cannot hold them."""
        pytest.fail(f"{type(self).__name__} must define the fixture make_validator")

    @pytest.fixture
    def asked(self, make_validator: MakeValidator) -> Asked:
        """Return a validator with two keys' hashes and, where it can hold one, a plain key."""
        records = [key_record(KEY), key_record(OTHER_KEY, user_email="eve@example.com")]
        plain = {"api_key": PLAIN_KEY, "user_email": OWNER}
        return Asked(held(make_validator([*records, plain]) or make_validator(records)), [KEY, OTHER_KEY])

    @pytest.fixture
    def good(self) -> str:
        """Return a key."""
        return KEY

    def test_known_key_gives_every_field_of_its_owner(self, make_validator: MakeValidator) -> None:
        """A known key is answered with the caller that its record describes, field by field."""
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        record = key_record(
            KEY,
            user_name="Ada",
            org_name="Engines",
            created_at="2026-01-01T00:00:00Z",
            is_active=True,
            expires_at=ends.isoformat(),
            allowed_assistants=["a", "b"],
            allowed_origins=["https://one.example", "https://two.example"],
            allowed_metadata=["customer"],
            rate_limit="5/minute",
            max_concurrent_calls=3,
            a_field_of_somebody_else={"nested": [1]},
        )
        validator = held(make_validator([key_record(OTHER_KEY, user_email="eve@example.com"), record]))
        assert validator.validate(KEY) == Caller(
            email=OWNER,
            name="Ada",
            org="Engines",
            key_id=KEY[:12],
            allowed_assistants=frozenset({"a", "b"}),
            allowed_origins=("https://one.example", "https://two.example"),
            rate_limit="5/minute",
            max_concurrent_calls=3,
            allowed_metadata=frozenset({"customer"}),
            expires_at=ends,
        )

    def test_missing_fields_mean_active_and_unrestricted(self, make_validator: MakeValidator) -> None:
        """A record of a hash and an owner alone is an active key without restrictions."""
        record = {"api_key_hash": hash_api_key(KEY), "user_email": OWNER}
        caller = held(make_validator([record])).validate(KEY)
        assert caller == Caller(email=OWNER, key_id=hash_api_key(KEY)[:12])

    def test_empty_restriction_allows_nothing(self, make_validator: MakeValidator) -> None:
        """Empty lists of what is allowed stay empty and never come to mean unrestricted."""
        fields: dict[str, Any] = {"allowed_assistants": [], "allowed_origins": [], "allowed_metadata": []}
        caller = held(make_validator([key_record(KEY, **fields)])).validate(KEY)
        assert caller is not None
        assert (caller.allowed_assistants, caller.allowed_origins) == (frozenset(), ())
        assert caller.allowed_metadata == frozenset()

    def test_plain_key_of_an_old_record_is_known(self, make_validator: MakeValidator) -> None:
        """A record that holds its key in plain is found by that key, and not by the key's hash."""
        validator = held(make_validator([{"api_key": PLAIN_KEY, "user_email": OWNER}]))
        assert validator.validate(PLAIN_KEY) == Caller(email=OWNER, key_id=PLAIN_KEY[:12])
        assert validator.validate(hash_api_key(PLAIN_KEY)) is None

    def test_only_the_key_itself_is_known(self, make_validator: MakeValidator) -> None:
        """What is close to a key, or is stored of it, is not the key."""
        records = [key_record(KEY), {"api_key": PLAIN_KEY, "user_email": OWNER}]
        validator = held(make_validator(records))
        for key in (KEY, PLAIN_KEY):
            others = near(key)
            assert [validator.validate(one) for one in others] == [None] * len(others)
            assert validator.validate(key) is not None

    @pytest.mark.parametrize(
        "fields",
        [{"is_active": False}, {"expires_at": "2020-01-31T12:00:00Z"}, {"expires_at": "2020-01-31"}],
        ids=["revoked", "expired", "expired-by-date"],
    )
    def test_revoked_or_expired_key_is_refused(
        self, make_validator: MakeValidator, fields: dict[str, Any]
    ) -> None:
        """A revoked or expired key is refused, so that no backend behind is asked."""
        validator = held(make_validator([key_record(KEY, **fields), key_record(OTHER_KEY)]))
        with pytest.raises(Refused):
            validator.validate(KEY)
        assert validator.validate(OTHER_KEY) is not None

    def test_publishable_key_is_told_apart(self, make_validator: MakeValidator) -> None:
        """A key that may stand in a web page or an app is known as such, with all that narrows it."""
        page: dict[str, Any] = {"allowed_assistants": ["a"], "allowed_origins": ["https://*.one.example"]}
        records = [key_record(PAGE_KEY, **page), key_record(APP_KEY, native=True, allowed_metadata=[])]
        validator = held(make_validator([*records, key_record(KEY, native=False)]))
        assert [validator.validate(key) for key in (PAGE_KEY, APP_KEY, KEY)] == [
            Caller(
                email=OWNER,
                key_id=PAGE_KEY[:12],
                allowed_assistants=frozenset({"a"}),
                allowed_origins=("https://*.one.example",),
                publishable=True,
            ),
            Caller(
                email=OWNER,
                key_id=APP_KEY[:12],
                allowed_metadata=frozenset(),
                publishable=True,
                native=True,
            ),
            Caller(email=OWNER, key_id=KEY[:12]),
        ]

    def test_listing_is_whole(self, make_validator: MakeValidator) -> None:
        """A listing holds every key, revoked and expired ones too, with fields unknown to the service."""
        fields = {"is_active": False, "expires_at": "2020-01-31T12:00:00Z", "extra": {"nested": [1]}}
        validator = held(make_validator([key_record(KEY, **fields), key_record(OTHER_KEY)]))
        listed = _by_hash(validator if isinstance(validator, ListsKeys) else cannot_list())
        assert set(listed) == {hash_api_key(KEY), hash_api_key(OTHER_KEY)}
        assert listed[hash_api_key(KEY)]["extra"] == {"nested": [1]}

    def test_added_key_is_known_and_listed_without_its_text(self, make_validator: MakeValidator) -> None:
        """A key that was added is known at once, and is listed whole, by its hash alone."""
        validator = held(make_validator([key_record(OTHER_KEY)]))
        keys = managing(validator)
        keys.add_key(key_record(KEY, user_name="Ada", a_field_of_somebody_else={"nested": [1]}))
        caller = validator.validate(KEY)
        assert caller is not None
        assert caller.name == "Ada"
        listed = {key_hash_of(record): record for record in keys.list_keys()}
        assert set(listed) == {hash_api_key(KEY), hash_api_key(OTHER_KEY)}
        assert listed[hash_api_key(KEY)]["a_field_of_somebody_else"] == {"nested": [1]}
        assert KEY not in str(listed)

    def test_hash_is_added_once(self, make_validator: MakeValidator) -> None:
        """A key whose hash is stored cannot be added again, and keeps its owner."""
        validator = held(make_validator([key_record(KEY)]))
        with pytest.raises(Conflict):
            managing(validator).add_key(key_record(KEY, user_email="eve@example.com"))
        caller = validator.validate(KEY)
        assert caller is not None
        assert caller.email == OWNER

    def test_plain_key_is_never_written(self, make_validator: MakeValidator) -> None:
        """A record that is added with its key in plain is stored without it, or not at all."""
        keys = managing(held(make_validator([key_record(OTHER_KEY)])))
        try:
            keys.add_key({**key_record(KEY), "api_key": KEY})
        except RecordError:
            pass
        assert KEY not in str(list(keys.list_keys()))

    def test_update_revokes_at_once_and_keeps_the_rest(self, make_validator: MakeValidator) -> None:
        """A field that is set counts from the next look-up on; one set to None is gone; others stay."""
        validator = held(
            make_validator([key_record(KEY, rate_limit="5/minute", extra=[1]), key_record(OTHER_KEY)])
        )
        keys = managing(validator)
        assert keys.update_key(hash_api_key(KEY), {"is_active": False, "rate_limit": None})
        with pytest.raises(Refused):
            validator.validate(KEY)
        record = _by_hash(keys)[hash_api_key(KEY)]
        assert "rate_limit" not in record
        assert record["extra"] == [1]
        assert validator.validate(OTHER_KEY) is not None
        assert not keys.update_key(hash_api_key("unknown"), {"is_active": False})

    def test_key_works_until_the_end_that_an_update_gives_it(self, make_validator: MakeValidator) -> None:
        """As in a rotation: an end to come leaves the key as it was, and a past one ends it."""
        validator = held(make_validator([key_record(KEY, allowed_origins=["https://one.example"])]))
        keys, before, now = managing(validator), validator.validate(KEY), datetime.now(UTC)
        changes = {"expires_at": now + timedelta(hours=24), "replaced_by": OTHER_KEY[:12]}
        assert keys.update_key(hash_api_key(KEY), changes)
        during = validator.validate(KEY)
        assert before is not None
        assert during is not None
        assert replace(during, expires_at=None) == before
        assert _by_hash(keys)[hash_api_key(KEY)]["replaced_by"] == OTHER_KEY[:12]
        assert keys.update_key(hash_api_key(KEY), {"expires_at": now - timedelta(seconds=1)})
        with pytest.raises(Refused):
            validator.validate(KEY)

    def test_plain_key_turns_into_a_hash(self, make_validator: MakeValidator) -> None:
        """An old record is updated by the hash of its plain key, which can so be replaced by the hash."""
        old = {"api_key": PLAIN_KEY, "user_email": OWNER, "extra": 1}
        validator = held(make_validator([old, key_record(OTHER_KEY)]))
        keys = managing(validator)
        key_hash = hash_api_key(PLAIN_KEY)
        assert key_hash in _by_hash(keys)
        changes = {"api_key": None, "api_key_hash": key_hash, "api_key_prefix": PLAIN_KEY[:12]}
        assert keys.update_key(key_hash, changes)
        record = _by_hash(keys)[key_hash]
        assert "api_key" not in record
        assert record["extra"] == 1
        assert validator.validate(PLAIN_KEY) == Caller(email=OWNER, key_id=PLAIN_KEY[:12])


def _by_hash(keys: ListsKeys) -> Mapping[str | None, Mapping[str, Any]]:
    return {key_hash_of(record): record for record in keys.list_keys()}


def managing(validator: KeyValidator) -> ManagesKeys:
    """Return the validator as one that can write; skip the test if it cannot."""
    return validator if isinstance(validator, ManagesKeys) else read_only()
