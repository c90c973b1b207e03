"""What a key may do, decided without a request."""

from __future__ import annotations

from typing import Any

import pytest

from webcall.core.permissions import as_presented, check_metadata_names, check_origin, lacks_restrictions
from webcall.errors import InvalidMetadata, OriginForbidden
from webcall.interfaces import Caller

PAGE = "https://shop.example.com"
HERE = (PAGE,)


def caller(**fields: Any) -> Caller:
    return Caller("ada@example.com", **fields)


@pytest.mark.parametrize(
    ("fields", "without", "on_the_page", "elsewhere"),
    [
        ({}, True, True, True),
        ({"allowed_origins": HERE}, True, True, False),
        ({"allowed_origins": ()}, True, False, False),
        ({"publishable": True}, False, False, False),
        ({"publishable": True, "allowed_origins": HERE}, False, True, False),
        ({"publishable": True, "native": True}, True, False, False),
        ({"publishable": True, "native": True, "allowed_origins": HERE}, True, True, False),
    ],
)
def test_from_where(fields: dict[str, Any], without: bool, on_the_page: bool, elsewhere: bool) -> None:
    """An origin that is sent has to be allowed where origins are; a page's key needs one sent."""
    for origin, allowed in ((None, without), (PAGE, on_the_page), ("https://else.example", elsewhere)):
        if allowed:
            check_origin(caller(**fields), origin, same_origin=False)
        else:
            with pytest.raises(OriginForbidden):
                check_origin(caller(**fields), origin, same_origin=False)


def test_names_of_metadata() -> None:
    """A list names what may come at the outermost level; without one a publishable key takes none."""
    check_metadata_names(caller(), {"any": 1})
    check_metadata_names(caller(publishable=True), {})
    check_metadata_names(caller(allowed_metadata=frozenset({"a"})), {"a": {"b": 1}})
    for fields, sent in (
        ({"publishable": True}, {"a": 1}),
        ({"allowed_metadata": frozenset()}, {"a": 1}),
        ({"allowed_metadata": frozenset({"a"})}, {"A": 1}),
        ({"allowed_metadata": frozenset({"a"})}, {"a": 1, "canary": 1}),
    ):
        with pytest.raises(InvalidMetadata) as caught:
            check_metadata_names(caller(**fields), sent)
        assert "canary" not in str(caught.value)
    many = caller(allowed_metadata=frozenset(f"n{number:03}" for number in range(30)))
    with pytest.raises(InvalidMetadata, match=r"n000, n001, .*n019 and 10 more"):
        check_metadata_names(many, {"a": 1})


def test_a_key_is_publishable_by_its_own_prefix() -> None:
    """Whatever its record knows; and a record that says so is believed too."""
    assert as_presented(caller(), "lvp_x").publishable
    assert lacks_restrictions(as_presented(caller(), "lvp_x"))
    assert as_presented(caller(publishable=True), "lvk_x").publishable
    assert as_presented(caller(), "lvk_x") == caller()
    assert not lacks_restrictions(caller())
