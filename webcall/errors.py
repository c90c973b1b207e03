"""Every error that the service raises on purpose. A leaf module: it imports nothing of the project.

Messages are written for whoever has to fix the fault, and go into logs: they never hold a key, a
secret, a token, a prompt or a caller's metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

LiveKitFault = Literal["unreachable", "tls", "timeout", "unauthorized", "refused", "broken", "answer", "away"]


class WebCallError(Exception):
    """Base of all errors of this project."""


class ConfigError(WebCallError):
    """The settings cannot be used. Holds every fault that was found, one line each."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class BackendError(WebCallError):
    """A backend could not answer: an outage, never a "no". The caller gets a 500.

    `fix` is what an operator does about it, where the backend knows; `flask webcall check` shows it.
    """

    def __init__(self, message: str = "", *, fix: str = "") -> None:
        self.fix = fix
        super().__init__(message)


class LimitsUnavailable(BackendError):
    """The limits' storage does not answer, and `limits.required` is set: 503."""


class RecordError(BackendError):
    """A stored record cannot be used; the message names its fields. The caller gets a 500."""


class ReadOnlyBackend(WebCallError):
    """A management command met a backend that cannot do it."""


class Conflict(WebCallError):
    """A record cannot be stored because its id is taken."""


class Refused(WebCallError):
    """A backend knows the key or the assistant, and the answer is no: revoked, expired, inactive.

    It ends the asking, so that a backend behind cannot revive it. The caller cannot tell it from
    unknown.
    """


class Unauthorized(WebCallError):
    """No backend accepts the API key: 401."""


class OriginForbidden(WebCallError):
    """The API key may not be used from where the request comes: 403."""


class TooMany(WebCallError):
    """A limit is reached: 429, with the seconds after which to try again. The message says which limit."""

    def __init__(self, retry_after_s: int, message: str) -> None:
        self.retry_after_s = max(1, retry_after_s)
        super().__init__(message)


class TooManyCalls(TooMany):
    """The key, or the client's address, has as many calls as it may."""


class IdempotencyConflict(WebCallError):
    """The Idempotency-Key cannot be used, or was used with another body: 422. The message says which."""


class AssistantNotFound(WebCallError):
    """No such assistant for this caller: 404."""


class TextOnlyUnsupported(WebCallError):
    """A typed chat was asked of an assistant that has no text path: 400."""


class InvalidMetadata(WebCallError):
    """The caller's metadata cannot be used: 422. The message says how to fix it."""


class TemplateError(WebCallError):
    """A prompt's placeholders cannot be parsed: the assistant's fault, a 500 in a call.

    The message quotes the tag, for the prompt's author; `field`, which may be logged, does not.
    """

    field: str | None = None


class LiveKitError(WebCallError):
    """LiveKit did not do what was asked: 500."""

    def __init__(self, kind: LiveKitFault, message: str) -> None:
        self.kind: LiveKitFault = kind
        super().__init__(message)


class Busy(WebCallError):
    """More calls in flight than this worker takes: 503, with the seconds after which to try again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("too many calls in flight")
