"""What `flask webcall check` can know of the watcher: it asks the one at `watch.bind`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

from webcall.config.settings import Config
from webcall.core.holdings import Finding
from webcall.core.storage import in_memory

_WITHIN_S = 2.0
# Nothing here leaves the machine, or what an operator has written: no proxy of the environment between.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def look_at_watcher(config: Config) -> Iterator[Finding]:
    """Yield what the watcher tells of itself, and what that means."""
    bind = config.watch.bind
    try:
        with _OPENER.open(f"{config.watch.url}/health", timeout=_WITHIN_S) as answer:
            told = json.loads(answer.read(4096))["data"]
            swept_s, events, calls = told["last_sweep_s"], int(told["events"]), int(told["calls"])
            late = swept_s is None or float(swept_s) > 3 * config.watch.sweep_s + config.livekit.timeout_s
    except (urllib.error.HTTPError, ValueError, KeyError, TypeError):
        mend = "set watch.bind (WEBCALL_WATCH_BIND) to an address of its own"
        yield Finding("watch", "warning", f"what answers at {bind} is no watcher", mend)
        return
    except OSError:
        yield Finding(
            "watch",
            "warning",
            f"no watcher answers at {bind}: a person whose assistant does not come or dies stays alone",
            "start `flask webcall watch`, or set watch.bind (WEBCALL_WATCH_BIND) to where it runs",
        )
        return
    if late:
        mend = "look at its log, and at livekit's line here"
        yield Finding("watch", "warning", f"the watcher at {bind} has not seen LiveKit's rooms lately", mend)
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
