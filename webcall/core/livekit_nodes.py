"""Several LiveKit nodes on one Redis: what is asked again when one has died, and what is not believed.

LiveKit goes on choosing a node for up to five seconds after its death (`AvailableSeconds` in its
pkg/routing/selector/utils.go). Of the rooms on it, lists go on telling what they held at its death.
"""

from __future__ import annotations

import asyncio
import time

from livekit import api

from webcall.core.participants import is_person

# Two times three seconds are more than the five for which LiveKit believes in a node that has died.
_TRIES = 3
_PAUSE_S = 0.2
# A node that dies with the request in its hands leaves LiveKit waiting for ten.
_TRY_S = 3.5

# A room's number of people lags by three seconds at most; the rest is for clocks that differ.
_NEWCOMER_S = 30


async def create_where_a_node_lives(client: api.LiveKitAPI, request: api.CreateRoomRequest) -> api.Room:
    """Create the room, and ask again where the node that LiveKit has chosen for it does not answer it.

    For a node that has died LiveKit answers after three seconds that nobody responds; asked again, it
    chooses anew. The room is the same one, should the node have been slow only.
    """
    for _ in range(_TRIES - 1):
        try:
            return await asyncio.wait_for(client.room.create_room(request), _TRY_S)
        except TimeoutError:
            continue
        except api.ServerError as error:
            if error.code != api.ServerErrorCode.UNAVAILABLE:
                raise
        await asyncio.sleep(_PAUSE_S)
    return await client.room.create_room(request)


async def newcomers_in(client: api.LiveKitAPI, name: str) -> bool:
    """Return whether anybody but agents has joined within the last half minute."""
    try:
        found = await client.room.list_participants(api.ListParticipantsRequest(room=name))
    except api.ServerError as error:
        if error.status == 404:
            return False
        raise
    # The list goes on holding those who were in the room when its node died, for as long as it is there.
    since = time.time() - _NEWCOMER_S
    return any(is_person(one.kind) and one.joined_at > since for one in found.participants)
