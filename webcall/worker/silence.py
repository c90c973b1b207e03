"""Ask whether somebody who has been silent is still there (`silence_reprompts` and its siblings)."""

from __future__ import annotations

import asyncio

from livekit.agents import AgentSession

from webcall.worker.interaction import Interaction

_ASK = (
    "The person has said nothing for a while. Ask in one short sentence whether they are still there, "
    "in the language of the conversation."
)


class Reprompts:
    """Counts silence from the moment the assistant listens, until somebody speaks or types."""

    def __init__(self, session: AgentSession[None], interaction: Interaction) -> None:
        self._session = session
        self._interaction = interaction
        self._asked = 0
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        session.on("agent_state_changed", lambda event: self._look())
        session.on("user_state_changed", lambda event: self._look())
        session.on("conversation_item_added", self._said)
        self._look()

    def stop(self) -> None:
        """Ask no more, whatever the assistant does meanwhile, until resumed."""
        self._stopped = True
        self._cancel()

    def resume(self) -> None:
        """Count silence anew."""
        self._stopped = False
        self._look()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _said(self, event: object) -> None:
        if getattr(getattr(event, "item", None), "role", None) == "user":
            self._asked = 0
            self._look()

    def _look(self) -> None:
        self._cancel()
        session, interaction = self._session, self._interaction
        silent = session.agent_state == "listening" and session.user_state != "speaking"
        if silent and not self._stopped and self._asked < interaction.silence_max_reprompts:
            self._timer = asyncio.get_running_loop().call_later(
                interaction.silence_reprompt_interval, self._ask
            )

    def _ask(self) -> None:
        self._asked += 1
        self._session.generate_reply(instructions=_ASK)
