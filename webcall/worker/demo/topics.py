"""All that the demo understands and says: the table that the rules answer by and the ears listen by. Pure."""

from __future__ import annotations

from webcall.worker.demo import rules_service, rules_skills, rules_talk, skills
from webcall.worker.demo.rules import Answer, Scene, answer

# What the ears return for speech that is none of the phrases; answered by the rule `not_understood`.
NOT_UNDERSTOOD = "(not understood)"

# Asked in this order; the first that understands a text answers it.
RULES = (*rules_skills.RULES, *rules_service.RULES, *rules_talk.RULES)

_UNKNOWN = (
    "That is beyond my rules. I can tell the time, count, spell, repeat after you, or say how this works.",
    "I have no rule for that. A language model would have an answer. Ask me: how do I use a real model?",
    "I did not understand, being a demo. Try: what do you know about me? Or: count from three to seven.",
    "Sorry, not that one. Say help, and I tell what I know.",
)

_REPROMPTS = (
    "Are you still there?",
    "I am still here. Ask me what I can do, if you like.",
    "Still here, whenever you are ready. Say goodbye to end the call.",
)


def greet(scene: Scene) -> str:
    """Return the first words of a call."""
    how = "Type" if scene.text_only else "Say or type"
    name = skills.own_name(scene)
    return f"{skills.salutation(scene)} This is {name}. {skills.WHAT_I_AM} {how} help for what I can do."


def reprompt(scene: Scene) -> str:
    """Return what is said to a person who has been silent."""
    return scene.choose(_REPROMPTS)


def respond(text: str, scene: Scene) -> Answer:
    """Return what the demo says to what a person typed or said; the rule `unknown` where it has no rule."""
    return answer(RULES, text, scene) or Answer(scene.choose(_UNKNOWN), "unknown")
