"""The hooks that a plugin may implement. Signature and docstring are the reference.

A plugin is any importable module, or an entry point in the group `webcall.plugins`, that the
configuration names under `plugins`. Its hooks are decorated with `webcall.hookimpl`.
"""

from __future__ import annotations

import pluggy

from webcall.interfaces import Backend
from webcall.observed import CreatedCall, EndedCall, RefusedCall

PROJECT = "webcall"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def webcall_key_validators() -> list[Backend]:  # type: ignore[empty-body]  # a hook has no body
    """Offer backends that know API keys.

    Called once, at start-up, in every process. Each descriptor's `factory(settings)` returns a
    `webcall.interfaces.KeyValidator`; it is called later, in the worker, and only if
    `auth.validators` names the backend. An exception here is a fault of the start-up.
    """


@hookspec
def webcall_assistant_stores() -> list[Backend]:  # type: ignore[empty-body]  # a hook has no body
    """Offer backends that know assistants.

    As `webcall_key_validators`: each `factory(settings)` returns a
    `webcall.interfaces.AssistantStore`, for the names in `assistants.stores`. A backend that offers
    both sides uses one name and one settings schema for them.
    """


@hookspec
def webcall_call_created(call: CreatedCall) -> None:
    """Be told of a call that was placed, after its answer is settled.

    Called in a thread of this plugin's own, one event after the other, in the order in which they
    came, in every worker process for its own calls. What it raises is logged by its type and counted,
    and touches neither the answer nor other plugins; while it is slow, up to 1,000 events wait and
    later ones are dropped, counted and told of in the log. `call.repeated` tells the answer to a
    repeated request from a new call: count those that are not.
    """


@hookspec
def webcall_call_refused(reason: str, call: RefusedCall) -> None:
    """Be told of a request for a call that got none, in the same way.

    `reason` is one of `unauthorized`, `origin`, `rate`, `calls` (too many live or waiting ones),
    `unknown_assistant`, `text_only`, `invalid`, `too_large`, `busy` and `failed` (an outage or a
    defect, whose cause is in the log under `call.request_id`).
    """


@hookspec
def webcall_call_ended(call: EndedCall) -> None:
    """Be told of a call that is over, in the same way: how long it was, and who ended it.

    Told once for each call, in the one process that LiveKit's event about the end of the room reached;
    so LiveKit has to send its events (docs/deploy.md), and with more than one process what is known of
    calls has to be shared (`limits.storage_uri`). A call whose end LiveKit does not tell is told of
    after it must be over, as ended by `unknown`. Never twice; an end that a process was about to tell
    when it was killed is lost. Without an implementation nothing is kept of calls.
    """
