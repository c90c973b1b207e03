"""The page that compares the backends says what they are."""

from __future__ import annotations

from scripts.backends_table import PAGE, make_table
from webcall.config.schema import ConfigSchema


def test_the_abilities_are_those_of_the_backends() -> None:
    """The table is what `python -m scripts.backends_table` writes."""
    assert make_table() in PAGE.read_text("utf-8")


def test_every_backend_is_compared() -> None:
    """Each backend that comes with the service is in the comparison and in the measured table."""
    page = PAGE.read_text("utf-8")
    measured = page.partition("look-ups: made by")[2].partition("<!-- /look-ups -->")[0]
    for plugin in ConfigSchema().fields["plugins"].load_default:
        name = plugin.removeprefix("plugins.")
        assert f"| `{name}`" in measured, name
        assert f"| `{name}`" in page.partition("## What each needs")[2], name
