"""What the demo tells of itself and of the service. Pure."""

from __future__ import annotations

from webcall.worker.demo import skills
from webcall.worker.demo.rules import Rule, any_of

RULES: tuple[Rule, ...] = (
    Rule(
        "self_hosted",
        any_of(
            r"\b(?:who|which company) (?:made|built|wrote|runs|owns|hosts|created)\b",
            r"\bself[- ]host",
            r"\bopen[- ]source\b",
            r"\bcloud\b",
            r"\boffline\b",
        ),
        (
            (
                "Whoever runs this service runs me, on a machine of their own. My voice is "
                "espeak-ng and my ears are pocketsphinx, both open source. Nothing of this call "
                "leaves that machine on my account."
            ),
        ),
        (
            "who made you",
            "who runs this service",
            "are you in the cloud",
        ),
    ),
    Rule(
        "real_model",
        any_of(
            r"\b(?:real|another|other|better|language|open ?ai|gpt|which|what) (?:language )?models?\b",
            r"\bl+ms?\b",
            r"\bgpt\b",
            r"\bopen ?ai\b",
            r"\bintelligen",
            r"\bsmarter\b",
        ),
        (
            (
                "To use a real model, name one in the assistant, such as openai and its model, "
                "and give the worker that provider's key in its environment. Then I am gone and "
                "the model answers, in the same room."
            ),
        ),
        (
            "how do i use a real model",
            "how do i use another model",
            "are you a language model",
        ),
    ),
    Rule(
        "token",
        any_of(
            r"\btokens?\b",
            r"\bapi keys?\b",
            r"\bauthenticat",
        ),
        (
            (
                "A token is a pass to one room. Your page asked this service for it with an API "
                "key, and showed it to LiveKit to get in. It is good for a minute or so: it "
                "bounds the joining, not the call."
            ),
        ),
        (
            "what is a token",
            "how do tokens work",
        ),
    ),
    Rule(
        "room",
        any_of(
            r"\brooms?\b",
            r"\blatency\b",
            r"\bwebrtc\b",
        ),
        (
            (
                "A room is where we two meet. It is made for one call, lets one person in, and "
                "closes when you leave."
            ),
        ),
        (
            "what is a room",
            "who is in this room",
        ),
    ),
    Rule(
        "livekit",
        any_of(
            r"\blive ?kit\b",
        ),
        (
            (
                "LiveKit is the open source server that carries sound and text between your "
                "browser and me, by WebRTC. This service makes the rooms on it and sends me into "
                "them."
            ),
        ),
        (
            "what is livekit",
            "tell me about livekit",
        ),
    ),
    Rule(
        "both",
        any_of(
            r"\b(?:type|typing|write|chat|speak|talk)\b.*\b(?:and|while|or|at once|same time|with)\b",
            r"\bcan (?:i|you) (?:type|write|chat|hear|read)\b",
            r"\bhear me\b",
        ),
        (
            (
                "You can type and speak in the same call, whenever you like. Either one "
                "interrupts me, and I answer both."
            ),
            ("Yes: speak, type, or do both at once. In a text-only call there is no sound, and you type."),
        ),
        (
            "can i type and speak at once",
            "can i type",
            "can you hear me",
        ),
    ),
    Rule(
        "privacy",
        any_of(
            r"\brecord(?:s|ed|ing)?\b",
            r"\bprivacy\b",
            r"\bprivate\b",
            r"\bsafe\b",
            r"\bsecure\b",
        ),
        (
            (
                "I record nothing, and forget this call when it ends. What the service logs, its "
                "operator knows."
            ),
        ),
        ("do you record this call",),
    ),
    Rule(
        "how",
        any_of(
            r"\bhow (?:does|do|did) (?:this|it|that|you|the service|the demo|all this)(?: all)? work",
            r"\bexplain (?:this|the service|yourself)\b",
            r"\b(?:what(?:'s| is)|about) (?:this|the|your) (?:service|demo|page|place)\b",
            r"\bwhat is this\b",
            r"\bhow it works\b",
        ),
        (
            (
                "Your page asks the service for a token. The service makes a LiveKit room and "
                "sends an assistant into it. Then your browser joins, and we talk."
            ),
            (
                "One request makes a room, puts an assistant into it, and gives your browser the "
                "token that lets you in. Speech becomes text, something like me answers, and text"
                " becomes speech."
            ),
        ),
        (
            "how does this work",
            "how do you work",
            "what is this service",
            "explain this service",
        ),
    ),
    Rule(
        "name",
        any_of(
            r"\byour name\b",
            r"\bwho(?:'s|s| is| are) (?:you|this|there)\b",
            r"\bwho (?:am i|i am) (?:talking|speaking)\b",
            r"\bwhat are you called\b",
        ),
        skills.introduce_itself,
        (
            "who are you",
            "what is your name",
            "what are you called",
        ),
    ),
    Rule(
        "what",
        any_of(
            r"\bwhat are you\b",
            r"\bare you (?:a |an |the |really |just |some )*(?:robot|bot|human|person|machine|demo)\b",
            r"\bare you (?:a |an |the |really |just |some )*(?:program|computer|real|alive|ai)\b",
        ),
        (
            (
                "I am a demo: I follow rules, I am no language model. I stand in until a real "
                "model is set, so that you can try the room, the sound and the chat."
            ),
            (
                "No human and no language model: a few rules with a voice. They let you try "
                "everything without an account."
            ),
        ),
        (
            "what are you",
            "are you a robot",
            "are you human",
        ),
    ),
)
