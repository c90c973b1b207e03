"""LiveKit's failures in words for the operator, without LiveKit's own text, which may quote the request."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

import aiohttp
from livekit import api

from webcall.core.http_connection import Broken, NotReached
from webcall.core.server_clock import MOST_S
from webcall.errors import LiveKitError, LiveKitFault

# A connection that was there and broke: the request may be sent once more, since CreateRoom on a
# room that exists changes nothing. `ClientConnectorError` (nothing listens) is an OSError as well.
BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)
# Nothing of the request was sent; aiohttp's error of TLS is one of these as well.
_NOT_SENT = (aiohttp.ClientConnectorError, NotReached, ssl.SSLError)


class NotAskedAgain(Exception):
    """What was asked in vain could not be asked again: nobody took the second try.

    `fault` is the first one's, `later` the second one's.
    """

    def __init__(self, fault: Exception, later: Exception) -> None:
        super().__init__(fault, later)
        self.fault = fault
        self.later = later


@contextlib.contextmanager
def asked_before(fault: Exception) -> Iterator[None]:
    """Ask again what was asked in vain: `fault` is what became of that.

    Raises `NotAskedAgain` where nobody takes the request now: the one before may have arrived, which is not
    the same as one that was never sent, and what it has left behind is to be looked for.
    """
    try:
        yield
    except _NOT_SENT as error:
        raise NotAskedAgain(fault, error) from error


def refusal(told: bytes, clock_ahead_s: float) -> str:
    """Say what LiveKit has against the credentials, by the beginning of its own words."""
    if told.startswith(b"invalid API key"):
        return "LiveKit does not know livekit.api_key"
    if abs(clock_ahead_s) > MOST_S:
        return f"LiveKit refuses the token, and its clock is {clock_ahead_s:+.0f} s off this machine's"
    if told.startswith(b"invalid token"):
        return "LiveKit knows livekit.api_key, and livekit.api_secret is not the secret of that key"
    return "LiveKit refuses the API key or secret"


def explain(error: Exception, clock_ahead_s: float) -> LiveKitError:
    """Say what went wrong without LiveKit's own text, which may quote the request.

    `clock_ahead_s` is how far its clock is ahead of this machine's, as far as that is known.
    """
    if isinstance(error, NotAskedAgain):
        told, later = explain(error.fault, clock_ahead_s), explain(error.later, clock_ahead_s)
        return LiveKitError(told.kind, f"{told}; asked again: {later}")
    if isinstance(error, TimeoutError):
        return LiveKitError("timeout", "no answer")
    if isinstance(error, api.ServerError):
        if error.status in (401, 403):
            return LiveKitError("unauthorized", refusal(b"", clock_ahead_s))
        kind: LiveKitFault = "answer" if error.status >= 500 else "refused"
        return LiveKitError(kind, f"LiveKit answers with {error.status} {error.code}")
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return LiveKitError(
            "tls", "no TLS connection: wss or https against a plain port, or a bad certificate"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        return LiveKitError("unreachable", f"cannot connect: {error.os_error.strerror or error.os_error}")
    if isinstance(error, NotReached):
        return LiveKitError("unreachable", f"cannot connect: {error.strerror or error}")
    if isinstance(error, Broken):
        return LiveKitError("broken", f"the connection broke: {error}")
    if isinstance(error, BROKEN):
        return LiveKitError("broken", f"the connection broke: {type(error).__name__}")
    return LiveKitError("answer", f"LiveKit's answer cannot be read: {type(error).__name__}")
