"""Several LiveKit nodes on one Redis: what is asked again when one has died, and what is not believed.

LiveKit goes on choosing a node for up to five seconds after its death (`AvailableSeconds` in its
pkg/routing/selector/utils.go). Of the rooms on it, lists go on telling what they held at its death.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from livekit import api

from webcall.core.livekit_faults import asked_before
from webcall.core.participants import is_person
from webcall.core.server_clock import MOST_S, ServerClock

# Two times three seconds are more than the five for which LiveKit believes in a node that has died.
_TRIES = 3
_PAUSE_S = 0.2
# A node that dies with the request in its hands leaves LiveKit waiting for ten.
_TRY_S = 3.5

# A room's number of people lags by three seconds at most; the rest is for clocks that differ so little that
# this machine's is gone by.
_NEWCOMER_S = MOST_S + 5


def create_where_a_node_lives(create: Callable[[float], api.Room], until: float) -> api.Room:
    """Create the room, and ask again where the node that LiveKit has chosen for it does not answer it.

    For a node that has died LiveKit answers after three seconds that nobody responds; asked again, it
    chooses anew. The room is the same one, should the node have been slow only. `create` asks once and
    raises `TimeoutError` at the moment that it is given, by the monotonic clock; all ends at `until`.
    """
    try:
        return create(min(until, time.monotonic() + _TRY_S))
    except TimeoutError as error:
        fault: Exception = error
    except api.ServerError as error:
        if error.code != api.ServerErrorCode.UNAVAILABLE:
            raise
        fault = error
        _pause(until)
    return _create_elsewhere(create, until, fault)


def _create_elsewhere(create: Callable[[float], api.Room], until: float, fault: Exception) -> api.Room:
    """Ask again after `fault`, the first try's."""
    for _ in range(_TRIES - 2):
        try:
            with asked_before(fault):
                return create(min(until, time.monotonic() + _TRY_S))
        except TimeoutError:
            continue
        except api.ServerError as error:
            if error.code != api.ServerErrorCode.UNAVAILABLE:
                raise
        _pause(until)
    with asked_before(fault):
        return create(until)


def _pause(until: float) -> None:
    time.sleep(max(0.0, min(_PAUSE_S, until - time.monotonic())))


def newcomers_in(participants: Callable[[], api.ListParticipantsResponse], clock: ServerClock) -> bool:
    """Return whether anybody but agents has joined the room of these participants lately.

    `clock` is LiveKit's, which has dated their joining.
    """
    try:
        found = participants()
    except api.ServerError as error:
        if error.status == 404:
            return False
        raise
    # The list goes on holding those who were in the room when its node died, for as long as it is there.
    since = clock.now().timestamp() - _NEWCOMER_S
    return any(is_person(one.kind) and one.joined_at > since for one in found.participants)
