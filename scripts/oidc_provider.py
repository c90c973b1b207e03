"""Bring an OpenID Connect provider to this machine, for the tests: the example of zitadel's library.

`python -m scripts.oidc_provider` prints its path, built with Go if need be. Without one its status is 0 all
the same: the tests that need it are skipped, or fail where CI is set.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

from scripts.livekit_server import TOOLS, NoLiveKitServer, go_install

VERSION = "3.51.17"
SOURCE = f"github.com/zitadel/oidc/v3/example/server@v{VERSION}"


class NoProvider(Exception):
    """There is no provider on this machine and none could be built. Says what was tried."""


def ensure(tools: Path = TOOLS) -> Path:
    """Return the path of the provider, built into `tools` by an earlier call or now. Raises `NoProvider`."""
    # By version: another one is built beside it.
    program = tools / "bin" / f"oidc-provider-{VERSION}"
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "oidc-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program.exists():
            return program
        log, tried = tools / "oidc-provider.log", list[str]()
        print(
            "building an OpenID Connect provider, for the tests: a minute, once", file=sys.stderr, flush=True
        )
        try:
            if go_install(SOURCE, program, tools / "build-oidc", log, tried):
                return program
        except NoLiveKitServer:
            pass  # no Go, and none from PyPI: `tried` says so
    raise NoProvider("; ".join(tried))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Print the path of the provider, or what was tried."""
    try:
        print(ensure())
    except NoProvider as error:
        _say(f"no OpenID Connect provider. Tried: {error}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
