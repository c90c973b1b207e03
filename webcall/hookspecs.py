"""The hooks that a plugin may implement. Signature and docstring are the reference.

A plugin is any importable module, or an entry point in the group `webcall.plugins`, that the
configuration names under `plugins`. Its hooks are decorated with `webcall.hookimpl`.
"""

from __future__ import annotations

import pluggy

from webcall.interfaces import Backend

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
