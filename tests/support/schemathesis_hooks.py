"""What Schemathesis does beside its document; named in tests/fuzz/schemathesis.toml."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import schemathesis
from hypothesis import strategies as st

HEADER = "Idempotency-Key"
GOOD = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")

VALUES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20)
OBJECTS = st.dictionaries(
    st.text(max_size=10),
    st.recursive(
        VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5
    ),
    max_size=5,
)
# A string that holds an object, for which OpenAPI 3.0 has no words.
schemathesis.openapi.format("json-object", OBJECTS.map(json.dumps))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Give each request a good Idempotency-Key of its own: again with another body it is a 422, and rightly.

    A bad one stays, to be refused.
    """
    if GOOD.fullmatch(str((case.headers or {}).get(HEADER, ""))):
        case.headers[HEADER] = str(uuid.uuid4())
