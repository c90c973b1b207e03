"""No fault of a neighbour gives a wrong answer, a late one, or leaves something behind."""

from __future__ import annotations

import re

import pytest

from tests.faults import catalog
from tests.faults.catalog import FAULTS, Fault
from tests.faults.conftest import DEFAULTS, Seen
from tests.faults.measuring import Outcome
from tests.faults.stages import PLACES_OF_A_KEY

NEIGHBOUR = {
    catalog.LIVEKIT: "livekit",
    catalog.ANSWERS: "livekit",
    catalog.CLOCK: "livekit",
    catalog.MONGO: "mongo",
    catalog.REDIS: "limits",
    catalog.REQUIRED: "limits",
    catalog.POSTGRES: "sql",
    catalog.HTTP: "http",
}
# Of these the keys come, so that without them a stranger's key is not known to be one.
STORES = (catalog.MONGO, catalog.POSTGRES, catalog.HTTP)


@pytest.fixture
def out(fault: Fault, outcomes: Seen) -> Outcome:
    """What was seen of the fault."""
    found = outcomes[fault.id]
    assert isinstance(found, Outcome), found
    print(found)
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_fault(fault: Fault, out: Outcome, within_s: dict[str, float]) -> None:
    """A fault is answered in time and as it should be; it is named, leaves nothing behind, and passes."""
    timeout_s = within_s[fault.where]
    unhurried = DEFAULTS and fault.unhurried is not None
    assert out.answers[0] == (fault.unhurried if unhurried else fault.answer)
    assert set(out.answers) <= fault.statuses
    assert out.crowd <= fault.statuses | {503}
    assert (out.bare_503, out.refused_tokens) == (0, 0)
    assert out.stranger in ({401} if fault.where not in STORES else fault.statuses - {200} | {401})
    if fault.where in STORES and fault.statuses == {500}:
        assert out.stranger == 500
    assert out.in_time(timeout_s)
    down, degraded = ([NEIGHBOUR[fault.where]] if fault.ready == one else [] for one in ("down", "degraded"))
    assert out.ready == (503 if down else 200, down, degraded)
    assert out.while_mending <= {500, 503}
    assert (out.recovered_s < 15, out.ready_s < 15) == (True, True)
    assert (out.left, out.lost) == (set(), set())
    assert out.assistants == {1}
    assert len(out.repeats) == 1
    live = out.answers[:2].count(200)
    # What Redis did not answer to, it may have counted all the same.
    uncounted = live if fault.where in catalog.LIMITS else 0
    assert PLACES_OF_A_KEY - live <= out.places <= PLACES_OF_A_KEY - live + uncounted
    assert not out.secrets_told
    if fault.told and not unhurried:
        assert [line for line in out.told if re.search(fault.told, line)], out.told
