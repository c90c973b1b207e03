"""How much `make test` and `make fuzz` give in all."""

from __future__ import annotations

from pathlib import Path

from tests.support.fuzzing import PROPERTIES, amount


def test_every_property_has_its_share() -> None:
    """The properties together get 2,000 inputs, or as many as are asked for, and some more by rounding."""
    sources = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    assert sum(source.count("\n@fuzzed\n") for source in sources) == PROPERTIES - 1
    assert sum(source.count("\n@settings(fuzzed,") for source in sources) == 1
    for asked, wanted in ((None, 2_000), ("100000", 100_000)):
        share = amount(asked)
        assert wanted - share.inputs <= (PROPERTIES - 1) * share.inputs <= wanted + PROPERTIES
        assert share.same is (asked is None)
