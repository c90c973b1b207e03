"""A new key's record, and the wishes that are refused where they are written."""

from __future__ import annotations

from typing import Any

import pytest

from webcall.core.new_keys import NewKey, record_of
from webcall.errors import WebCallError
from webcall.records import caller_from_record, hash_api_key

OWNER = "ada@example.com"
KEY, PAGE_KEY = "lvk_" + "k" * 43, "lvp_" + "p" * 43
PAGE: dict[str, Any] = {"publishable": True, "assistants": ("helper",)}


def test_a_wish_becomes_a_record() -> None:
    """Each restriction is stored, once and as a browser would write it, and the key is not."""
    new = NewKey(
        owner=OWNER,
        origins=("HTTPS://Shop.Example.com:443", "https://shop.example.com", "https://*.a.example"),
        metadata_names=("customer", "plan", "customer"),
        rate=" 5/minute",
        max_concurrent=2,
        **PAGE,
    )
    record = record_of(new, PAGE_KEY)
    assert PAGE_KEY not in repr(record)
    assert record["api_key_hash"] == hash_api_key(PAGE_KEY)
    assert record["allowed_origins"] == ["https://shop.example.com", "https://*.a.example"]
    assert record["allowed_metadata"] == ["customer", "plan"]
    assert (record["rate_limit"], record["max_concurrent_calls"]) == ("5/minute", 2)
    assert "native" not in record
    assert caller_from_record(record).publishable
    assert record_of(NewKey(owner=OWNER, native=True, **PAGE), PAGE_KEY)["allowed_metadata"] == []
    bare = {"api_key_hash", "api_key_prefix", "created_at", "is_active", "user_email"}
    assert set(record_of(NewKey(owner=OWNER), KEY)) == bare


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"owner": " a"}, "the owner is empty"),
        ({"assistants": ("",)}, "an assistant's id is empty"),
        ({"publishable": True, "native": True}, "add --assistant ID"),
        (PAGE, "add --origin https://shop.example.com, or --native"),
        ({"native": True}, "with --native belongs --publishable"),
        ({"origins": ("shop.example.com",)}, "'shop.example.com' has no scheme: write https://shop."),
        ({"origins": ("https://a.example", "https://b.example/")}, "'https://b.example/' is no origin"),
        ({"origins": ("*",)}, "stands for any page"),
        ({"rate": "often"}, "not a rate such as 60/minute"),
        ({"rate": ""}, "not a rate such as 60/minute"),
        ({"max_concurrent": 0}, "below 1"),
        ({"metadata_names": ("",)}, "a name of metadata is empty"),
        ({"metadata_names": ("x" * 101,)}, "too long"),
        ({"metadata_names": ("customer.name",)}, "give the outermost name, such as customer for {{customer."),
    ],
)
def test_a_wish_that_cannot_be_meant(wish: dict[str, Any], told: str) -> None:
    """It is refused with what is wrong and, where there is one, an example of what is right."""
    with pytest.raises(WebCallError) as caught:
        record_of(NewKey(**({"owner": OWNER} | wish)), KEY)
    assert told in str(caught.value)
