"""What is promised, and what tries it: the rows of the README's table, in its order."""

from __future__ import annotations

from benchmarks.prove.assistants import everyone_has_one_assistant
from benchmarks.prove.inside import prompt_stays_inside
from benchmarks.prove.promise import Promise
from benchmarks.prove.restarts import no_call_is_lost
from benchmarks.prove.secrets import no_secret_gets_out
from benchmarks.prove.tokens import one_request_a_call, token_meets_room

PROMISES = (
    Promise("The prompt cannot be read from the browser", prompt_stays_inside),
    Promise("A valid token always meets its room", token_meets_room),
    Promise("Every human gets exactly one assistant, killed workers or not", everyone_has_one_assistant),
    Promise("No secret in answers, logs and metrics", no_secret_gets_out),
    Promise("One call is one request to LiveKit", one_request_a_call),
    Promise("No call is lost in a restart", no_call_is_lost),
)
