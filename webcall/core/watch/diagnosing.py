"""What `flask webcall check` can know of the watcher: it asks the one at `watch.bind`."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import time
import urllib.error
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus

from livekit import api

from webcall.config.settings import Config
from webcall.core.holdings import Finding
from webcall.core.neighbours import read
from webcall.core.storage import in_memory
from webcall.core.watch.serving import WEBHOOK

_VALID_FOR = timedelta(minutes=1)
_ELSEWHERE = "set watch.bind (WEBCALL_WATCH_BIND) to where this deployment's runs"


def look_at_watcher(config: Config) -> Iterator[Finding]:
    """Yield what the watcher tells of itself, whether it is this deployment's, and what that means."""
    bind, own_url = config.watch.bind, config.livekit.http_url
    try:
        told = json.loads(read(f"{config.watch.url}/health"))["data"]
        swept_s, events, calls = told["last_sweep_s"], int(told["events"]), int(told["calls"])
        late = swept_s is None or float(swept_s) > 3 * config.watch.sweep_s + config.livekit.timeout_s
        ours = _takes_our_events(config)
    except (urllib.error.HTTPError, http.client.HTTPException, ValueError, KeyError, TypeError):
        fix = "set watch.bind (WEBCALL_WATCH_BIND) to an address of its own"
        yield Finding("watch", "warning", f"what answers at {bind} is no watcher", fix)
        return
    except OSError:
        yield Finding(
            "watch",
            "warning",
            f"no watcher answers at {bind}: a person whose assistant does not come or dies stays alone",
            "start `flask webcall watch`, or set watch.bind (WEBCALL_WATCH_BIND) to where it runs",
        )
        return
    if not ours:
        yield Finding(
            "watch",
            "warning",
            f"the watcher at {bind} takes no event signed with livekit.api_key of these settings: it is "
            "another deployment's, or runs since before the key was changed",
            f"start it again with these settings, or {_ELSEWHERE}",
        )
    elif told.get("livekit", own_url) != own_url:
        yield Finding(
            "watch",
            "warning",
            f"the watcher at {bind} looks after {told['livekit']}, and livekit.url is {own_url} here",
            f"if these are not two addresses of one LiveKit, {_ELSEWHERE}",
        )
    elif late:
        fix = "look at its log, and at livekit's line here"
        yield Finding("watch", "warning", f"the watcher at {bind} has not seen LiveKit's rooms lately", fix)
    elif calls and not events:
        yield Finding(
            "watch",
            "warning",
            f"the watcher at {bind} has seen calls, and no event of LiveKit: it works, slower",
            f"add http://{bind}/livekit/webhook to webhook.urls in LiveKit's configuration",
        )
    else:
        heard = f"{events} events of LiveKit so far" if events else "no event of LiveKit so far"
        alone = "; the only one, since limits are in memory" if in_memory(config.limits.storage_uri) else ""
        yield Finding("watch", "ok", f"the watcher at {bind} runs: {heard}{alone}")


def _takes_our_events(config: Config) -> bool:
    """Return whether it takes what is signed with this LiveKit's key. What is sent is about no room."""
    about_nothing = {"event": "", "id": f"EV_{secrets.token_hex(6)}", "createdAt": str(int(time.time()))}
    body = json.dumps(about_nothing).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    token = api.AccessToken(config.livekit.api_key, config.livekit.api_secret).with_ttl(_VALID_FOR)
    try:
        read(config.watch.url + WEBHOOK, body, {"Authorization": token.with_sha256(digest).to_jwt()})
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != HTTPStatus.UNAUTHORIZED:
            raise
        return False
    return True
