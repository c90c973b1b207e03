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

ROOT = Path(__file__).resolve().parent.parent

Setting = tuple[str, fields.Field[Any]]
"""A setting's path and its field."""

BEGIN, END = "<!-- settings: made by python -m scripts.settings_table -->", "<!-- /settings -->"

# For settings of backends, whose schemas need not describe themselves.
MEANINGS = {
    "backends.file.api_keys": "YAML or JSON file with a list of key records",
    "backends.file.assistants": "the same for assistant records; or a folder, a file each",
    "backends.mongo.uri": "MongoDB's address; user and password percent-encoded",
    "backends.mongo.database": "the database with the collections `api_keys` and `assistants`",
    "backends.mongo.timeout_s": "for one whole operation: connecting, waiting for a connection, the retry",
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
        cells = (f"`{path}`", f"`{variable}`" if variable else "", _default(field), means)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_table(readme: str, table: str) -> str:
    """Return the README's text with `table` between the marks. Raises `ValueError` without the marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md: {BEGIN} and {END} mark the place of the table: write them again")
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
        for setting, field in (schema().fields if schema else {}).items():
            yield f"backends.{name}.{setting}", field


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
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if value == "":
        return "empty"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def main() -> int:
    """Write the table into README.md."""
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text("utf-8"), make_table()), "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
