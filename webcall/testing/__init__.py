"""The contract suites for a key validator and an assistant store: one subclass, one fixture each.

The author of a plugin proves it with a test module such as:

    import pytest
    from webcall.testing import KeyValidatorContract
    from my_plugin import MyKeys

    class TestMyKeys(KeyValidatorContract):
        @pytest.fixture
        def make_validator(self, tmp_path):
            return lambda records: MyKeys(records, cache=tmp_path)

`make_validator` (for `AssistantStoreContract`: `make_store`) returns a function that takes stored
records, with the field names of the system's documentation, and returns an object that knows them;
or None for records that the backend cannot hold, and the test is skipped. A second fixture,
`broken_validator` (`broken_store`), may return an object whose infrastructure is down. The management
side is tested where the object has it. Needs pytest; nothing has to be registered.

A validator whose credentials are no stored keys but people's own logins, proved and not looked up, is
held to `LoginValidatorContract`, whose fixture `logins` returns `Logins`: the validator, logins that it
knows with the callers that they are, and logins that it has to refuse.
"""

from __future__ import annotations

import pytest

# Before the import below: only then do plain asserts in the suites show their values.
pytest.register_assert_rewrite(
    *(f"webcall.testing.{name}" for name in ("assistants", "keys", "logins", "validators"))
)

from webcall.testing.assistants import AssistantStoreContract  # noqa: E402
from webcall.testing.keys import KeyValidatorContract  # noqa: E402
from webcall.testing.logins import Logins, LoginValidatorContract  # noqa: E402

__all__ = ["AssistantStoreContract", "KeyValidatorContract", "LoginValidatorContract", "Logins"]
