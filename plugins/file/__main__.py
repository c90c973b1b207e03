"""The child process that indexes one large file: `python -m plugins.file KIND PATH DESCRIPTOR`.

It writes the snapshot to the descriptor that it inherits and one JSON object to its output: empty,
or the fault under `contents` (of the records) or `system` (of reading or writing).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from plugins.file.indexing import write_index
from plugins.file.parsing import KINDS
from webcall import RecordError

NICENESS = 10


def main(arguments: list[str]) -> int:
    """Index as the arguments say and return the exit status."""
    kind, path, descriptor = arguments
    os.nice(NICENESS)  # requests go before a reload
    fault = {}
    try:
        with os.fdopen(int(descriptor), "wb") as out:
            write_index(Path(path), KINDS[kind], out)
    except RecordError as error:
        fault = {"contents": str(error)}
    except OSError as error:
        fault = {"system": error.strerror or type(error).__name__}
    except MemoryError:
        fault = {"system": "not enough memory"}
    sys.stdout.write(json.dumps(fault))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
