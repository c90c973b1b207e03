"""Make sure of the programs that only tests need: a Chromium, Redis, PostgreSQL, nginx, strace, and promtool.

`python -m scripts.programs` looks for them. What is missing it installs where it can, which is as root on
Debian; elsewhere it says in one line what to install. Its status is 0 all the same: the tests that need a
missing program are skipped, or fail where CI is set.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.fetching import TOOLS, say

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
RELEASE = Path("/etc/os-release")
_POLICY = Path("/usr/sbin/policy-rc.d")
_POSTGRES = Path("/usr/lib/postgresql")
_SYSTEM_PROGRAMS = "/usr/sbin:/usr/local/sbin"
_APT = ["apt-get", "--quiet", "--option=DPkg::Lock::Timeout=300", "--option=Acquire::http::Timeout=30"]


def find_browser() -> Path | None:
    """Return the path of a Chromium: the one that CHROMIUM names, or one on PATH; None without one."""
    for name in (os.environ.get("CHROMIUM"), *BROWSERS):
        if name and (found := shutil.which(name)):
            return Path(found)
    return None


def find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's `initdb` and `postgres`, which Debian keeps off PATH; or None."""
    places = [*sorted(_POSTGRES.glob("*/bin"), reverse=True)]
    places += [Path(found).parent for found in (shutil.which("initdb"),) if found]
    return next((place for place in places if (place / "postgres").is_file()), None)


def find_nginx() -> Path | None:
    """Return the path of nginx, which Debian keeps off the PATH of users without rights; or None."""
    found = shutil.which("nginx") or shutil.which("nginx", path=_SYSTEM_PROGRAMS)
    return Path(found) if found else None


def missing() -> list[str]:
    """Return the names, as packages of Debian, of the programs that are not on this machine."""
    there = {
        "chromium": find_browser(),
        "redis-server": shutil.which("redis-server"),
        "postgresql": find_postgres(),
        "nginx": find_nginx(),
        "strace": shutil.which("strace"),
        "prometheus": shutil.which("promtool"),
    }
    return [name for name, found in there.items() if not found]


def ensure(tools: Path | None = None) -> list[str]:
    """Install what is missing if this machine lets it be installed; return what is missing still.

    `tools` is the folder of the lock and of apt's output, by default the project's own.
    """
    tools = tools or TOOLS
    if not missing() or not _can_install():
        return missing()
    with _lock(tools):
        # Another run may have installed it while this one waited for the lock.
        if names := missing():
            say(f"installing {', '.join(names)} with apt-get, for the tests: a minute, once")
            _install(names, tools / "programs.log")
    return missing()


@contextmanager
def _nothing_started() -> Iterator[None]:
    """Keep packages from starting servers of their own: the tests start theirs (Debian's policy-rc.d)."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n", "utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)


def _can_install() -> bool:
    if os.geteuid() or not shutil.which("apt-get"):
        return False
    try:
        lines = RELEASE.read_text("utf-8").splitlines()
    except OSError:
        return False
    # Ubuntu's package of this name is only a way to a snap, which containers do not run.
    return "ID=debian" in lines


def _install(names: list[str], log: Path) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["install", "--yes", "--no-install-recommends", *names]
    with log.open("wb") as output, _nothing_started():
        for arguments in (["update"], install):
            done = subprocess.run([*_APT, *arguments], stdout=output, stderr=output, env=environment)
            if done.returncode:
                say(f"apt-get {arguments[0]} failed; {log} tells why")
                return


@contextmanager
def _lock(tools: Path) -> Iterator[None]:
    tools.mkdir(parents=True, exist_ok=True)
    with (tools / "programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Do it, and say what is missing in the end."""
    if names := ensure():
        say(
            f"not on this machine: {', '.join(names)}; on Debian `apt-get install {' '.join(names)}` as "
            "root brings what is missing, and CHROMIUM=/path names a Chromium that is not on PATH. "
            "Tests that need it are skipped, or fail where CI is set"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
