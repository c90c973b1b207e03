"""The README's table of settings, made from the schemas and from config.yaml.

`python -m scripts.settings_table` writes it into README.md between its two marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from marshmallow import Schema, fields, missing

from webcall.config.schema import ConfigSchema
from webcall.plugin_manager import load_plugins
from webcall.startup import CacheSchema

ROOT = Path(__file__).resolve().parent.parent

Setting = tuple[str, fields.Field[Any]]
"""A setting's path and its field."""

BEGIN, END = "<!-- settings: made by python -m scripts.settings_table -->", "<!-- /settings -->"

# Stands for any backend's name.
EVERY = "*"

# For settings of backends, whose schemas need not describe themselves.
MEANINGS = {
    "backends.file.api_keys": "YAML or JSON file with a list of key records",
    "backends.file.assistants": "the same for assistant records; or a folder, a file each",
    "backends.mongo.uri": "MongoDB's address; user and password percent-encoded",
    "backends.mongo.database": "the database with the collections `api_keys` and `assistants`",
    "backends.mongo.timeout_s": "for one whole operation: connecting, waiting for a connection, the retry",
    "backends.sql.url": "SQLite or PostgreSQL: `postgresql://user:password@host:port/database`",
    "backends.sql.timeout_s": "for waiting for a connection, and for a statement",
    "backends.sql.pool_size": "connections of one process and side",
    "backends.jwt.issuer": "the provider's address, as tokens have it in `iss`",
    "backends.jwt.audience": "what tokens for this service have in `aud`; one or several",
    "backends.jwt.algorithms": "signatures that are taken; never `none` or HS256",
    "backends.jwt.jwks_url": "where the provider's keys are; empty: as its document says",
    "backends.jwt.owner": "one owner of the assistants for everybody who is signed in; empty: by the claim",
    "backends.jwt.max_concurrent_calls": "calls at once of one person; empty: no limit",
    "backends.jwt.trust_unverified_email": "whether an unverified e-mail address makes an owner",
    "backends.jwt.claims.owner": "the claim, or the path to it, that names the owner of the assistants",
    "backends.jwt.claims.name": "the person's name",
    "backends.jwt.claims.org": "the organisation; empty: none",
    "backends.jwt.claims.subject": "the person, whom limits and repeats count",
    "backends.jwt.claims.allowed_assistants": "a list of ids, or ids with spaces; empty: all of the owner",
    "backends.jwt.claims.rate_limit": "a rate such as 60/minute; empty: `limits.per_key`",
    "backends.jwt.required_claims": "claims that have to be there, by path, with a value or one of several",
    "backends.jwt.leeway_s": "how far clocks may differ",
    "backends.jwt.timeout_s": "for fetching the provider's keys, as a whole",
    "backends.jwt.refresh_s": "how often the keys are fetched",
    "backends.jwt.retry_s": "how often at most, for a key that is not known or while the provider is down",
    "backends.jwt.serve_stale_s": "how much longer kept keys serve while the provider is down",
    "backends.jwt.ca_file": "certificates of an own authority, PEM; empty: the system's",
    "backends.http.url": "your service; https, or http on this machine",
    "backends.http.secret": "what both sides sign with, 32 bytes at least; several, the newest first",
    "backends.http.send": "`hash`: a key's SHA-256; `key`: the key itself, for sessions of your own",
    "backends.http.timeout_s": "for one whole exchange, a repeat included",
    "backends.http.max_connections": "connections of one process and side",
    "backends.http.max_answer_bytes": "the largest answer",
    "backends.http.ca_file": "certificates of an own authority, PEM; empty: the system's",
}


def make_table() -> str:
    """Return the table, a row for each setting in the order of the schemas.

    Raises `KeyError` for a setting that neither its schema nor `MEANINGS` describes.
    """
    written = yaml.safe_load((ROOT / "config.yaml").read_text("utf-8"))
    lines = ["| Setting | Environment | Default | Meaning |", "|---|---|---|---|"]
    for path, field in _settings(ConfigSchema(), written["plugins"]):
        variable = _variable(_at(written, path))
        means = field.metadata.get("description") or MEANINGS[path]
        # Of a cache each backend has defaults of its own.
        default = "the backend's" if path.startswith(f"backends.{EVERY}.") else _default(field)
        cells = (f"`{path}`", f"`{variable}`" if variable else "", default, means)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_table(page: str, table: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a page's text with `table` between two marks. Raises `ValueError` without the marks."""
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{begin} and {end} mark the place of the table: write them again")
    return f"{before}{begin}\n{table}\n{end}{after}"


def _settings(
    schema: Schema, plugins: list[str], prefix: str = ""
) -> Iterator[tuple[str, fields.Field[Any]]]:
    for name, field in schema.fields.items():
        path = prefix + name
        if isinstance(field, fields.Nested):
            yield from _settings(field.schema, plugins, path + ".")
        elif path == "backends":
            yield from _of_backends(plugins)
        else:
            yield path, field


def _of_backends(plugins: list[str]) -> Iterator[Setting]:
    loaded, _ = load_plugins(plugins)
    for name in loaded.offered_by:
        schema = loaded.backends[name].settings_schema
        yield from _settings(schema() if schema else Schema(), plugins, f"backends.{name}.")
    yield from _settings(CacheSchema(), plugins, f"backends.{EVERY}.")


def _at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _variable(value: Any) -> str | None:
    found = re.match(r"\$\{(\w+)", value) if isinstance(value, str) else None
    return found[1] if found else None


def _default(field: fields.Field[Any]) -> str:
    value = field.load_default
    if value is missing:
        return "required"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`{','.join(value)}`"
    if value in ("", None, dict):
        return "empty"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def main() -> int:
    """Write the table into README.md."""
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text("utf-8"), make_table()), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
