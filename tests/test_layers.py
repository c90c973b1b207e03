"""Who may import whom: the contracts of pyproject.toml, and what an import really loads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


PLUGINS = ("plugins.env", "plugins.file", "plugins.mongo", "plugins.sql", "plugins.jwt", "plugins.http")


def test_import_contracts_are_kept() -> None:
    """import-linter finds every contract of pyproject.toml kept."""
    program = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"[1-9]\d* kept, 0 broken", ended.stdout)


@pytest.mark.parametrize(
    "module",
    ["webcall", "webcall.core.services", "webcall.startup", *PLUGINS],
)
def test_import_loads_no_framework(module: str) -> None:
    """In a fresh interpreter, the core and the plugins load neither Flask nor gunicorn nor what is above."""
    code = f"import {module}, json, sys; print(json.dumps(list(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded = set(json.loads(ended.stdout or "[]"))
    assert module in loaded, ended.stderr
    above = {
        "flask",
        "flask_smorest",
        "werkzeug",
        "gunicorn",
        "click",
        "webcall.http",
        "webcall.cli",
        "webcall.app",
    }
    if module.startswith("plugins"):
        above |= {"livekit", "webcall.core", "webcall.config", "webcall.startup", "webcall.plugin_manager"}
        above |= {*PLUGINS} - {module}
        # Each extra is loaded where its backend is in use, and not before.
        above |= {"sqlalchemy", "psycopg", "aiohttp", "jwt"}
    assert not loaded & above


@pytest.mark.parametrize("module", ["webcall.app", "webcall.core.definitions", "webcall.worker.__main__"])
def test_service_starts_without_what_only_the_worker_needs(module: str) -> None:
    """In a fresh interpreter, the service, and the worker's command too, load no package of its extra."""
    code = f"import {module}, json, sys; print(json.dumps(list(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    loaded = set(json.loads(ended.stdout or "[]"))
    assert module in loaded or module.endswith("__main__"), ended.stderr
    assert not loaded & {"livekit.agents", "livekit.rtc", "livekit.plugins", "numpy", "psutil"}
