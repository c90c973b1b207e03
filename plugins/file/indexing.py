"""Makes a snapshot of a file or a folder: in this process for small ones, in a child for large ones.

The parser of a large file holds the interpreter lock for seconds; in a child it is another one's.
"""

from __future__ import annotations

import json
import os
import subprocess  # nosec B404  # large files are indexed in a process of their own
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from plugins.file.parsing import Kind, checked, parse, placed, read_text, records_of
from plugins.file.snapshot import write_snapshot
from plugins.file.survey import is_record_file
from webcall import RecordError, affinity


def write_index(path: Path, kind: Kind, out: IO[bytes]) -> None:
    """Write the snapshot of a file or a folder to `out`.

    Raises `RecordError` if the contents cannot be used and `OSError` if they cannot be read.
    """
    if path.is_dir():
        places: Iterable[tuple[str, Any]] = ((str(file), record) for file, record in folder_records(path))
    else:
        places = placed(records_of(parse(read_text(path), path), path), path)
    write_snapshot(checked(places, kind), out)


def folder_records(folder: Path) -> Iterable[tuple[Path, Any]]:
    """Yield file and record for each record file of a folder, by name. Raises as `write_index`."""
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  # names alone: a Path for each costs more
        path = folder / name
        # As the survey: what is no regular file (a FIFO, a link to nothing) holds no record.
        if is_record_file(name) and path.is_file():
            record = parse(read_text(path), path)
            if not isinstance(record, dict):
                raise RecordError(f"{path}: not one record; a file of a folder holds the fields of one")
            yield path, record


def write_index_in_child(
    path: Path, kind: Kind, out: IO[bytes], started: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    """Do the same as `write_index` in a process of its own; `started` is told of it.

    A fresh interpreter, not a fork: no thread and no lock of this process goes with it.
    """
    search_path = os.pathsep.join(each or os.getcwd() for each in sys.path)  # noqa: PTH109  # text
    with subprocess.Popen(  # noqa: S603  # nosec B603  # our own module, no shell
        [sys.executable, "-P", "-m", __package__, kind.name, str(path), str(out.fileno())],
        pass_fds=[out.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search_path},
    ) as process:
        # Not on the core on which this process answers requests.
        affinity.release_child(process.pid)
        started(process)
        answer, complaint = process.communicate()
    try:
        told = json.loads(answer)
    except ValueError:
        # The last line of a traceback begins with the error's type; what follows might hold content.
        last = complaint.decode("utf-8", "replace").strip().rpartition("\n")[2].partition(":")[0]
        raise OSError(
            None, f"the indexing process ended with status {process.returncode} {last}".rstrip()
        ) from None
    if "contents" in told:
        raise RecordError(told["contents"])
    if "system" in told:
        raise OSError(None, told["system"])
