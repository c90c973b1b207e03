"""The settings of the backend `http`: what is refused at the start."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from plugins.http.settings import HttpSettings
from tests.support.company import SECRET


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"url": ""}, "missing"),
        ({"url": "http://company.example/webcall"}, "not encrypted"),
        ({"url": "https://ada:canary@company.example"}, "leave them out"),
        ({"url": "ftp://canary"}, "not a web address"),
        ({"url": "https://canary.example/webcall\n"}, "holds white space"),
        ({"url": "https://canary.example/web call"}, "holds white space"),
        ({"url": "https://company.example", "secret": "canary"}, "shorter than 32 bytes"),
        ({"url": "https://company.example", "ca_file": "/nowhere/canary"}, "no such file"),
    ],
)
def test_unusable_settings_are_told_without_quoting_them(settings: dict[str, str], told: str) -> None:
    """A fault comes with its fix, and no value."""
    with pytest.raises(ValidationError) as caught:
        HttpSettings().load({"secret": SECRET, **settings})
    assert told in str(caught.value.messages)
    assert "canary" not in str(caught.value.messages)
