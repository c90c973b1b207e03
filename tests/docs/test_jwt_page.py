"""The page about logins: its settings are those of the code."""

from __future__ import annotations

import re

import pytest
import yaml
from marshmallow import Schema

from plugins.jwt.logins import LONGEST
from plugins.jwt.provider import MOST_WAITING
from plugins.jwt.settings import ALGORITHMS, ClaimsSchema, JwtSettings
from tests.support.deployment import ROOT
from webcall.config.interpolation import interpolate

PAGE = (ROOT / "docs" / "jwt.md").read_text("utf-8")
TABLES = {"Setting under `backends.jwt`": JwtSettings(), "Under `claims`": ClaimsSchema()}


@pytest.mark.parametrize(("heading", "schema"), TABLES.items())
def test_settings_are_all_there_with_their_defaults(heading: str, schema: Schema) -> None:
    """The tables name every setting, and no other, with its default."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE))
    assert rows.keys() == schema.fields.keys()
    for name, told in rows.items():
        default = schema.fields[name].load_default
        if isinstance(default, list):
            default = ",".join(default)
        if isinstance(default, str) and default:
            assert told == f"`{default}`"
        elif isinstance(default, float):
            assert told == f"{default:g}"


def test_the_example_can_be_used() -> None:
    """The example's settings load, with the environment that the page sets."""
    [block] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    environment = dict(re.findall(r"^export (\w+)=(\S+)$", PAGE, re.MULTILINE))
    tree, faults = interpolate(yaml.safe_load(block), environment)
    assert not faults
    loaded = JwtSettings().load(tree["backends"]["jwt"])
    assert (loaded["issuer"], loaded["audience"]) == ("https://login.example.com", ["webcall"])
    assert loaded["required_claims"] == {"groups": ["support", "sales"]}


def test_figures_are_the_codes() -> None:
    """Bounds and algorithms on the page are those that hold."""
    assert f"longer than {LONGEST:,} characters" in PAGE
    assert f"{MOST_WAITING} of the service's threads" in PAGE
    assert [name for name in ALGORITHMS if name not in PAGE] == []
