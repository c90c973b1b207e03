"""What the two managing sides share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bson.errors import InvalidDocument

from webcall import RecordError


@contextmanager
def storable() -> Iterator[None]:
    """Turn the driver's "this cannot be stored" into `RecordError`, which quotes no value."""
    try:
        yield
    except (InvalidDocument, ValueError, TypeError, OverflowError) as error:
        raise RecordError(
            f"the record cannot be stored in MongoDB ({type(error).__name__}): it is larger than 16 MiB, "
            "or has a value or a field's name that MongoDB has no form for"
        ) from None
