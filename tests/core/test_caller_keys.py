"""Keys of a request, wherever else in it they stand."""

from __future__ import annotations

import pytest

from webcall.core.caller_keys import id_of, keys_given, without_keys


@pytest.mark.parametrize("key", ["oldstyle-key.1234567890", "schlüssel-ключ-1234567", "\x80\xff" * 4])
@pytest.mark.parametrize("place", ["authorization", "sandbox_id"])
def test_a_key_is_blotted_out(key: str, place: str) -> None:
    """A key of an existing deployment, beyond ASCII too: as a header has it, and as a body does."""
    header = key.encode().decode("latin-1")
    headers = {"authorization": "", "sandbox_id": "", place: header}
    if place == "authorization":
        headers[place] = f"Bearer {header}"
    keys = keys_given(**headers)
    for form in (key, header):
        assert without_keys(f"<{form}>", keys) == "<[key]>"


def test_short_words_are_no_keys() -> None:
    """What is too short for a key would blot out half of every line."""
    assert keys_given("Bearer ab", "abc") == ()
    assert without_keys("a\x1b[2Jb", ()) == "a\\x1b[2Jb"


def test_an_id_tells_no_key() -> None:
    """A caller's own id is taken, unless a key stands in it or it looks like one."""
    keys = keys_given("Bearer oldstyle-key.1234567890", "")
    assert id_of("mine", keys) == "mine"
    for given in ("oldstyle-key.1234567890", "x-oldstyle-key.1234567890", "lvk_" + "k" * 43, "a b", ""):
        assert len(id_of(given, keys)) == 32
