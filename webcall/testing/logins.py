"""The contract of a validator of people's own logins: tokens that it proves and does not store."""
# ruff: noqa: S101  # asserts are what a suite of tests is made of

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from webcall.errors import Refused
from webcall.interfaces import Caller, KeyValidator, ListsKeys
from webcall.testing.validators import Asked, ValidatorContract, near


@dataclass(frozen=True)
class Logins:
    """A validator, and what is to be asked of it.

    `known` are logins of two or more people with the callers that they are, `renewed` is a later login
    of the first one's person, and `refused` are such as the validator has to say no to, by a name for
    each: expired ones, forged ones.
    """

    validator: KeyValidator
    known: Mapping[str, Caller]
    renewed: str
    refused: Mapping[str, str]


class LoginValidatorContract(ValidatorContract):
    """Subclass it under a name that begins with `Test` and define the fixture `logins`."""

    @pytest.fixture
    def logins(self) -> Logins:
        """Return a validator and what it has to know and to refuse."""
        pytest.fail(f"{type(self).__name__} must define the fixture logins")

    @pytest.fixture
    def asked(self, logins: Logins) -> Asked:
        """Return the validator with the logins that it knows."""
        return Asked(logins.validator, list(logins.known))

    @pytest.fixture
    def good(self, logins: Logins) -> str:
        """Return a login."""
        return next(iter(logins.known))

    def test_login_gives_every_field_of_its_person(self, logins: Logins) -> None:
        """A good login is answered with the caller that it is, field by field."""
        for login, caller in logins.known.items():
            assert logins.validator.validate(login) == caller

    def test_only_the_login_itself_is_known(self, logins: Logins) -> None:
        """What is close to a login is unknown or refused."""
        for login in logins.known:
            for other in near(login):
                try:
                    assert logins.validator.validate(other) is None
                except Refused:
                    pass
            assert logins.validator.validate(login) is not None

    def test_login_that_may_not_be_used_is_refused(self, logins: Logins) -> None:
        """An expired or forged login is refused, so that no backend behind is asked, and stays refused."""
        assert logins.refused
        for login in [*logins.refused.values()] * 2:
            with pytest.raises(Refused) as caught:
                logins.validator.validate(login)
            assert login not in str(caught.value)

    def test_person_stays_the_same_with_a_new_login(self, logins: Logins) -> None:
        """A person is known by a subject: the same in their next login, and nobody else's."""
        callers = [logins.validator.validate(login) for login in (*logins.known, logins.renewed)]
        subjects = [caller.subject for caller in callers if caller is not None]
        assert len(subjects) == len(callers)
        assert all(subjects)
        assert subjects[-1] == subjects[0]
        assert len(set(subjects)) == len(logins.known)

    def test_login_says_when_it_ends(self, logins: Logins) -> None:
        """A login's end is known, with its time zone, so that nothing kept of it outlives it."""
        for login in logins.known:
            caller = logins.validator.validate(login)
            assert caller is not None
            assert caller.expires_at is not None
            assert caller.expires_at > datetime.now(UTC)

    def test_login_is_no_publishable_key(self, logins: Logins) -> None:
        """A login is its person's own and stands in no page; what the caller is called shows none of it."""
        for login in logins.known:
            caller = logins.validator.validate(login)
            assert caller is not None
            assert not caller.publishable
            assert caller.key_id
            assert caller.key_id not in login
            assert login not in repr(caller)

    def test_logins_are_not_listed(self, logins: Logins) -> None:
        """There are no records of logins to list."""
        assert not isinstance(logins.validator, ListsKeys)
