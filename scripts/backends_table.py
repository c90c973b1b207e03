"""What each backend can do, for docs/backends.md, made from the backends themselves.

`python -m scripts.backends_table` writes the table into the page between its two marks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scripts.settings_table import with_table
from webcall.config.schema import ConfigSchema
from webcall.interfaces import (
    Backend,
    ListsAssistants,
    ListsKeys,
    ManagesAssistants,
    ManagesKeys,
    PagesAssistants,
    Prepares,
)
from webcall.plugin_manager import load_plugins

PAGE = Path(__file__).resolve().parent.parent / "docs" / "backends.md"
BEGIN, END = "<!-- abilities: made by python -m scripts.backends_table -->", "<!-- /abilities -->"

# What a backend's settings need to be made with; nothing is connected.
SETTINGS: dict[str, dict[str, str]] = {
    "sql": {"url": "sqlite:///webcall.db"},
    "jwt": {"issuer": "https://login.example.com", "audience": "webcall"},
    "http": {"url": "https://voice.example.com", "secret": "s" * 32},
}


def make_table() -> str:
    """Return the table, a row for each backend that comes with the service."""
    loaded, faults = load_plugins(ConfigSchema().fields["plugins"].load_default)
    if faults:
        raise SystemExit("\n".join(faults))
    lines = ["| Backend | API keys | Assistants | `init` | Cache by default |", "|---|---|---|---|---|"]
    for name in loaded.offered_by:
        keys = _made(name, loaded.validators.get(name))
        assistants = _made(name, loaded.stores.get(name))
        can = _can(keys, ManagesKeys, ListsKeys), _can(assistants, ManagesAssistants, ListsAssistants)
        prepares = "yes" if isinstance(keys, Prepares) else "-"
        cache = loaded.backends[name].cache
        kept = f"{cache.cache_s:g} s" if cache.keeps else "off"
        lines.append(f"| `{name}` | {can[0]} | {can[1]} | {prepares} | {kept} |")
    return "\n".join(lines)


def _made(name: str, backend: Backend | None) -> Any:
    if backend is None:
        return None
    schema = backend.settings_schema
    return backend.factory(schema().load(SETTINGS.get(name, {})) if schema else {})


def _can(side: Any, manages: type[Any], lists: type[Any]) -> str:
    if side is None:
        return "-"
    if isinstance(side, manages):
        return "manages, lists, pages" if isinstance(side, PagesAssistants) else "manages, lists"
    if isinstance(side, lists):
        return "lists, pages" if isinstance(side, PagesAssistants) else "lists"
    return "looks up"


def main() -> int:
    """Write the table into the page."""
    PAGE.write_text(with_table(PAGE.read_text("utf-8"), make_table(), BEGIN, END), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
