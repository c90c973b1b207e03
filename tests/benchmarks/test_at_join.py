"""The flow that the service is compared with: LiveKit's own dispatch on joining, of the same call."""

from __future__ import annotations

import jwt

from benchmarks.at_join import WAYS, usual_answer
from benchmarks.compare import SECRET
from scripts.sample import ASSISTANT, METADATA
from webcall.worker.job import read_job


def test_the_token_sends_the_agent_with_the_same_call() -> None:
    """The room configuration in the token names one agent, and what it is told is what the service sends."""
    for agent in filter(None, WAYS.values()):
        data = usual_answer(ASSISTANT, "ws://127.0.0.1:1", agent)["data"]
        claims = jwt.decode(data["token"], SECRET, algorithms=["HS256"])
        assert claims["video"]["room"] == data["room_name"]
        [dispatch] = claims["roomConfig"]["agents"]
        assert dispatch["agentName"] == agent
        call = read_job(dispatch["metadata"])
        assert call.room_name == data["room_name"]
        assert METADATA["customer"]["name"] in call.prompt
        assert METADATA["customer"]["name"] in call.start_instruction
