"""Small talk. Pure."""

from __future__ import annotations

from webcall.worker.demo import skills
from webcall.worker.demo.rules import Rule, any_of

RULES: tuple[Rule, ...] = (
    Rule(
        "age",
        any_of(
            r"\bhow old\b",
            r"\bborn\b",
        ),
        ("As old as this call. Each call gets an assistant of its own.",),
        ("how old are you",),
    ),
    Rule(
        "weather",
        any_of(
            r"\bweather\b",
            r"\brain(?:ing|y)?\b",
            r"\bsunny\b",
        ),
        ("I have no window and no network, so I cannot tell.",),
        (
            "how is the weather",
            "what is the weather like",
        ),
    ),
    Rule(
        "how_are_you",
        any_of(
            r"\bhow(?:'re| are) you\b",
            r"\bhow(?:'s| is) it going\b",
            r"\bhow do you do\b",
            r"\bare you (?:ok|okay|well|fine)\b",
        ),
        (
            "Very well, thank you: all my rules are in order. What may I do for you?",
            "Still fine, thank you for asking again.",
        ),
        (
            "how are you",
            "how are you today",
            "how do you do",
        ),
    ),
    Rule(
        "thanks",
        any_of(
            r"^(?!no|nope).*\bthank",
            r"\bthx\b",
            r"\b(?:well done|great|nice|good job|cool|wonderful|awesome|perfect)\b",
        ),
        (
            "You are welcome. Anything else?",
            "With pleasure. What next?",
            "Gladly.",
        ),
        (
            "thank you",
            "thank you very much",
            "thanks a lot",
            "well done",
        ),
    ),
    Rule(
        "help",
        any_of(
            r"\bhelp\b",
            r"\bwhat (?:can|could|do|should) (?:you|i|we) (?:do|say|ask|know|talk)\b",
            r"\bwhat else\b",
            r"\bcommands?\b",
            r"\boptions?\b",
            r"\bexamples?\b",
        ),
        (
            (
                "I tell the time and the day, count, spell, add, repeat after you, and tell what "
                "I know about you. Or ask how this works, what a token is, or how to use a real "
                "model. To end the call, say goodbye."
            ),
            (
                "Try: count from three to seven. Spell my name. What is seven times eight? How "
                "does this work? Tell me a joke."
            ),
        ),
        (
            "i need help",
            "please help me",
            "what can you do",
            "what can i ask",
            "what can i say",
        ),
    ),
    Rule(
        "quiet",
        any_of(
            r"\b(?:stop|be quiet|shut up|silence|wait|hold on|never mind|nevermind|cancel)\b",
        ),
        (
            "All right. I am here when you need me.",
            "As you like.",
        ),
        (
            "stop it",
            "be quiet",
            "never mind",
            "wait a moment",
        ),
    ),
    Rule(
        "hello",
        any_of(
            r"\b(?:hello|hi|hey|hallo|hiya|greetings|good (?:morning|afternoon|evening|day))\b",
        ),
        skills.hello,
        (
            "hello there",
            "good morning",
            "hello",
        ),
    ),
    Rule(
        "here",
        any_of(
            r"\b(?:are you (?:there|still|here)|anybody there|anyone there|test|testing)\b",
        ),
        (
            "I am here, and I hear you.",
            "Still here.",
        ),
        (
            "are you still there",
            "testing one two three",
        ),
    ),
    Rule(
        "yes",
        any_of(
            r"^(?:yes|yeah|yep|sure|okay|ok|right|fine|of course)\b",
        ),
        (
            "Good. Then ask me something: how does this work, for example?",
            "Fine. Say help for what I know.",
        ),
        ("yes please",),
    ),
    Rule(
        "no",
        any_of(
            r"^(?:no|nope|nah|not (?:now|really))\b",
        ),
        (
            "All right. Say goodbye when you want to end the call.",
            "As you like.",
        ),
        ("no thank you",),
    ),
)
