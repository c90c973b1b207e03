"""How much is fuzzed: a little in `make test`, the same each time; much, and something new, in `make fuzz`.

`WEBCALL_FUZZ` is the number of inputs of the long run, of all properties together.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from hypothesis import HealthCheck, settings

PROPERTIES = 35
"""How many tests share the inputs; tests/fuzz/test_fuzz_amount.py holds the number."""


@dataclass(frozen=True)
class Amount:
    """How many inputs there are: for each property, and for each operation of the API."""

    inputs: int
    requests: int
    same: bool
    """Whether they are the same ones in each run: what `make test` says must not depend on chance."""


def amount(asked: str | None) -> Amount:
    if asked:
        return Amount(inputs=-(-int(asked) // PROPERTIES), requests=max(1, int(asked) // 200), same=False)
    return Amount(inputs=-(-2_000 // PROPERTIES), requests=25, same=True)


EXAMPLES = amount(os.environ.get("WEBCALL_FUZZ"))

fuzzed = settings(
    max_examples=EXAMPLES.inputs,
    derandomize=EXAMPLES.same,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
