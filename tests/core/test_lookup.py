"""Asking the backends in order, with their four outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from webcall.core.lookup import Assistants, KeyRing
from webcall.errors import AssistantNotFound, BackendError, RecordError, Refused, Unauthorized
from webcall.interfaces import Assistant, Caller
from webcall.records import hash_api_key

ADA = Caller(email="ada@example.com")
EVE = Caller(email="eve@example.com")


class Scripted:
    """A validator and store that gives one answer, or raises it, and counts."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def validate(self, _: str) -> Any:
        return self._give()

    def get(self, *_: Any) -> Any:
        return self._give()

    def _give(self) -> Any:
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def assistant(assistant_id: str = "helper") -> Assistant:
    return Assistant(assistant_id, ADA.email, "pipeline", "", "", {}, None, True, {})


def ring(*answers: Any) -> tuple[KeyRing, list[Scripted]]:
    backends = [Scripted(answer) for answer in answers]
    return KeyRing([(f"b{number}", backend) for number, backend in enumerate(backends)]), backends


def shelf(*answers: Any) -> tuple[Assistants, list[Scripted]]:
    backends = [Scripted(answer) for answer in answers]
    return Assistants([(f"b{number}", backend) for number, backend in enumerate(backends)]), backends


def test_the_first_that_knows_wins() -> None:
    """The asking goes in order and ends with the first answer."""
    keys, backends = ring(None, ADA, EVE)
    assert keys.authenticate("key") == replace(ADA, counted_as=hash_api_key("key"))
    assert [backend.asked for backend in backends] == [1, 1, 0]
    assistants, stores = shelf(None, assistant(), assistant("another"))
    assert assistants.find("helper", ADA).id == "helper"
    assert [store.asked for store in stores] == [1, 1, 0]


def test_refused_ends_the_asking() -> None:
    """A key that one backend has revoked is not revived by the next; nor an inactive assistant."""
    keys, backends = ring(Refused("revoked"), ADA)
    with pytest.raises(Unauthorized):
        keys.authenticate("key")
    assert backends[1].asked == 0
    assistants, stores = shelf(Refused("inactive"), assistant())
    with pytest.raises(AssistantNotFound):
        assistants.find("helper", ADA)
    assert stores[1].asked == 0


@pytest.mark.parametrize("failure", [BackendError("down"), ConnectionError("down"), KeyError("x")])
def test_an_outage_ends_the_asking(failure: Exception) -> None:
    """Any other exception is an outage: a later backend may not decide, and nobody gets a no."""
    keys, backends = ring(failure, ADA)
    with pytest.raises(BackendError):
        keys.authenticate("key")
    assert backends[1].asked == 0
    assistants, stores = shelf(failure, assistant())
    with pytest.raises(BackendError):
        assistants.find("helper", ADA)
    assert stores[1].asked == 0


def test_a_strangers_exception_is_not_quoted() -> None:
    """The text of an unknown exception, which may hold the key, stays out of the error."""
    keys, _ = ring(RuntimeError("cannot find lvk_secret"))
    with pytest.raises(BackendError) as caught:
        keys.authenticate("lvk_secret")
    assert "lvk_secret" not in str(caught.value)
    assert "RuntimeError" in str(caught.value)


@pytest.mark.parametrize("garbage", [True, "ada@example.com", {"email": "ada@example.com"}])
def test_garbage_is_an_outage(garbage: Any) -> None:
    """A backend that answers with something else lets nobody in."""
    keys, _ = ring(garbage, ADA)
    with pytest.raises(BackendError, match="not Caller"):
        keys.authenticate("key")
    assistants, _ = shelf(garbage)
    with pytest.raises(BackendError, match="not Assistant"):
        assistants.find("helper", ADA)


def test_nobody_knows() -> None:
    """A key or assistant that no backend knows is unauthorized, or not found, after all were asked."""
    keys, backends = ring(None, None)
    with pytest.raises(Unauthorized):
        keys.authenticate("key")
    assert [backend.asked for backend in backends] == [1, 1]


def test_the_four_kinds_of_404_cost_the_same() -> None:
    """Unknown, inactive, another owner's and outside the list: each is one look-up in the store."""
    listed = Caller(email=ADA.email, allowed_assistants=frozenset({"another"}))
    # A store answers None for another owner's, as for what it does not have.
    for answer, caller in ((None, ADA), (Refused("inactive"), ADA), (assistant(), listed)):
        assistants, [store] = shelf(answer)
        with pytest.raises(AssistantNotFound):
            assistants.find("helper", caller)
        assert store.asked == 1


def test_outside_the_list_takes_the_way_of_the_unknown() -> None:
    """An id outside the key's list costs the same look-ups as one that does not exist."""
    listed = Caller(email=ADA.email, allowed_assistants=frozenset({"another"}))
    assistants, stores = shelf(assistant(), None)
    with pytest.raises(AssistantNotFound):
        assistants.find("helper", listed)
    assert [store.asked for store in stores] == [1, 1]
    for answer in (Refused("inactive"), RecordError("assistant record: unusable")):
        assistants, stores = shelf(answer, None)
        with pytest.raises(AssistantNotFound):
            assistants.find("helper", listed)
        assert [store.asked for store in stores] == [1, 1]
    nothing = Caller(email=ADA.email, allowed_assistants=frozenset())
    with pytest.raises(AssistantNotFound):
        assistants.find("helper", nothing)
