"""What the demo does when asked: repeat, spell, count, add, tell the time, end the call. Pure."""

from __future__ import annotations

from webcall.worker.demo import skills
from webcall.worker.demo.rules import Rule, any_of

RULES: tuple[Rule, ...] = (
    Rule(
        "not_understood",
        any_of(
            r"^not understood$",
        ),
        (
            (
                "I heard you, but did not understand. My ears know some sentences only, such as: "
                "what can you do? In the text field you can type anything."
            ),
            "That was not one of my sentences. Try: what time is it, or: count to ten.",
            "I still did not get that. Say help, please, or type.",
        ),
    ),
    Rule(
        "again",
        any_of(
            r"\b(?:say|repeat) (?:that|it|this) again",
            r"^(?:repeat that|again|pardon|what did you say)\b",
        ),
        skills.again,
        (
            "say that again please",
            "what did you say",
            "repeat that please",
        ),
    ),
    Rule(
        "repeat",
        any_of(
            r"\brepeat(?: after me)?\b(.*)",
            r"^(?:please )?say (?!hello|hi|goodbye|bye|something)(.+)",
        ),
        skills.repeat,
        ("repeat after me <words>",),
    ),
    Rule(
        "spell",
        any_of(
            r"\bspell (?:the word |the name )?(my name|[^\W_][\w'-]*)",
        ),
        skills.spell,
        (
            "spell <name>",
            "spell <word>",
            "spell my name",
        ),
    ),
    Rule(
        "count",
        any_of(
            r"\bcount\b",
        ),
        skills.count,
        (
            "count to <number>",
            "count from <number> to <number>",
            "count down from <number>",
            "can you count to <number>",
        ),
    ),
    Rule(
        "calculate",
        any_of(
            r"\d",
            r"plus",
            r"minus",
            r"times",
            r"divided",
            r"multiplied",
            r"over",
            r"less",
            r"\band\b",
        ),
        skills.calculate,
        (
            "what is <number> plus <number>",
            "what is <number> minus <number>",
            "what is <number> times <number>",
            "what is <number> divided by <number>",
        ),
    ),
    Rule(
        "prompt",
        any_of(
            r"\b(?:your|the|my|a) (?:system |hidden |own )?(?:prompt|instructions?)\b",
            r"\bplaceholders?\b",
            r"\bignore\b.*\binstructions?\b",
        ),
        (
            (
                "A prompt tells a language model what to be. Its placeholders, a name in double "
                "braces, are filled with the metadata of the call. I was given one too, but rules"
                " need none, and I keep it to myself."
            ),
            (
                "With a real model the assistant follows its prompt, with this call's metadata "
                "put into the placeholders. Mine I neither follow nor tell."
            ),
        ),
        (
            "what is a prompt",
            "tell me your prompt",
        ),
    ),
    Rule(
        "end_how",
        any_of(
            r"\bhow (?:do|can|could|does|would)\b.*\b(?:hang up|end|stop|leave)\b",
        ),
        ("Say goodbye and I end the call, or press the button that hangs up.",),
        ("how do i end the call",),
    ),
    Rule(
        "stay",
        any_of(
            r"\b(?:do not|don't|dont|never) (?:hang up|end|go|leave)\b",
        ),
        ("I stay. Go on, ask me something.",),
    ),
    Rule(
        "goodbye",
        any_of(
            r"\b(?:good ?bye|bye|farewell|hang up|see you|good night)\b",
            r"\b(?:end|finish|close) (?:the|this|our) (?:call|chat|conversation)\b",
            r"\bthat(?:'s| is) all\b",
        ),
        ("Goodbye, and thank you for trying this out.",),
        (
            "goodbye",
            "bye bye",
            "end the call",
            "see you later",
        ),
        ends=True,
    ),
    Rule(
        "time",
        any_of(
            r"\bwhat(?:'s|s)? time\b",
            r"\bthe time\b",
            r"\btime is it\b",
            r"\bhow late\b",
            r"^time$",
        ),
        skills.time,
        (
            "what time is it",
            "tell me the time",
            "what is the time",
        ),
    ),
    Rule(
        "day",
        any_of(
            r"\b(?:what|which) (?:day|date|month|year)\b",
            r"\bthe date\b",
            r"\b(?:day|date) (?:is|today)\b",
            r"^(?:date|day)$",
        ),
        skills.day,
        (
            "what day is it",
            "what day is it today",
            "what is the date today",
        ),
    ),
    Rule(
        "known",
        any_of(
            r"\b(?:know|got|have) (?:about|on|of) me\b",
            r"\babout me\b",
            r"\bmetadata\b",
        ),
        skills.known,
        (
            "what do you know about me",
            "tell me about me",
        ),
    ),
    Rule(
        "who_am_i",
        any_of(
            r"\bwho am i\b",
            r"\bmy name\?*$",
            r"\b(?:know|say|what is) my name\b",
        ),
        skills.who_am_i,
        (
            "what is my name",
            "do you know my name",
        ),
    ),
    Rule(
        "introduce",
        any_of(
            r"\bmy name(?:'s| is)\b",
            r"\bcall me\b",
        ),
        skills.introduce,
        ("my name is <name>",),
    ),
    Rule(
        "mine",
        any_of(
            r"\bwhat(?:'s|s| is| are) my (\w[\w ]{0,60})$",
        ),
        skills.mine,
    ),
    Rule(
        "joke",
        any_of(
            r"\b(?:joke|make me laugh|something funny)\b",
        ),
        (
            "Why did the packet cross the network? Nobody acknowledged that it had.",
            "I would tell you one about a timeout, but you would have to wait for it.",
            "There are ten kinds of people: those who read binary, and those who do not.",
        ),
        (
            "tell me a joke",
            "do you know a joke",
        ),
    ),
)
