"""Who in a room counts as a person, and who as an assistant. Pure, and the one place for it.

`kind` is LiveKit's number. Its API and events have other numbers than its client for rooms, but not for
the kinds that are named here.
"""

from __future__ import annotations

from collections.abc import Mapping

from livekit.protocol.models import ParticipantInfo

_AGENT = int(ParticipantInfo.Kind.AGENT)
# Recorders and feeders. Whatever else there is, a telephone or a kind of a later version, is a person.
_NOBODY = (_AGENT, int(ParticipantInfo.Kind.EGRESS), int(ParticipantInfo.Kind.INGRESS))
# An avatar's or a recorder's helper that speaks for an assistant is none itself.
_ON_BEHALF = "lk.publish_on_behalf"
# What livekit-agents' sessions say of themselves, from their start on.
_STATE = "lk.agent.state"


def is_person(kind: int) -> bool:
    """Return whether a participant of this kind is a person."""
    return int(kind) not in _NOBODY


def is_assistant(kind: int, attributes: Mapping[str, str]) -> bool:
    """Return whether a participant of this kind, with these attributes, is an assistant."""
    return int(kind) == _AGENT and _ON_BEHALF not in attributes


def took_part(is_publisher: bool, attributes: Mapping[str, str]) -> bool:
    """Return whether an assistant has done anything that LiveKit shows: published, or said its state."""
    return is_publisher or _STATE in attributes
