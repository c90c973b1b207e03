"""What holds for every validator, whatever the credentials are that it knows."""
# ruff: noqa: S101  # asserts are what a suite of tests is made of

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from webcall.errors import Refused
from webcall.interfaces import KeyValidator
from webcall.records import hash_api_key
from webcall.testing.common import ODD_STRINGS, outage_of, together


@dataclass(frozen=True)
class Asked:
    """A validator, and two or more credentials that it knows, of different owners."""

    validator: KeyValidator
    known: Sequence[str]


def near(credential: str) -> list[str]:
    """Return what is close to a credential, or is stored of it, and is not the credential."""
    found = [credential[:12], credential[:-1], credential + "x", credential + "\n", " " + credential]
    found += [credential.swapcase(), credential.upper(), credential + "\x00", credential + "\udc80"]
    return [*found, hash_api_key(credential), hash_api_key(credential).upper()]


class ValidatorContract:
    """The part of the suites that asks with credentials alone. `asked` and `good` come from a subclass."""

    @pytest.fixture
    def asked(self) -> Asked:
        """Return a validator and credentials that it knows."""
        pytest.fail(f"{type(self).__name__} must define the fixture asked")

    @pytest.fixture
    def good(self) -> str:
        """Return a credential that the validator would know."""
        pytest.fail(f"{type(self).__name__} must define the fixture good")

    @pytest.fixture
    def broken_validator(self) -> KeyValidator:
        """Return a validator whose infrastructure is down."""
        pytest.skip("no broken_validator: the outage of this backend is not tested")

    @pytest.mark.parametrize("api_key", ODD_STRINGS.values(), ids=ODD_STRINGS.keys())
    def test_odd_key_is_unknown(self, asked: Asked, api_key: str) -> None:
        """A key of any length and any characters that nobody has is unknown, and no failure."""
        assert asked.validator.validate(api_key) is None

    def test_outage_is_no_answer(self, broken_validator: KeyValidator, good: str) -> None:
        """While its infrastructure is down a validator raises, and neither denies a key nor refuses it."""
        error = outage_of(lambda: broken_validator.validate(good))
        assert not isinstance(error, Refused)
        assert good not in str(error)

    def test_many_threads_get_their_own_answers(self, asked: Asked) -> None:
        """Look-ups from many threads at once get the answers that they get one by one."""
        validator, keys = asked.validator, [*asked.known, "unknown"]
        alone = [validator.validate(key) for key in keys]
        assert alone == [validator.validate(key) for key in keys]
        assert len({answer.email for answer in alone if answer is not None}) > 1
        for answers in together([lambda key=key: validator.validate(key) for key in keys]):  # type: ignore[misc]
            assert answers == alone

    def test_answer_shares_nothing_with_the_next(self, asked: Asked) -> None:
        """What is done to one answer does not show in the next."""
        first = asked.validator.validate(asked.known[0])
        assert first is not None
        if isinstance(first.claims, dict):
            first.claims["left"] = "behind"
        second = asked.validator.validate(asked.known[0])
        assert second is not None
        assert "left" not in second.claims
