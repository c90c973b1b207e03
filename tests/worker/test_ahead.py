"""Modules that are imported before a call needs them: one that cannot be imported stops nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.deployment import ROOT

# A worker's processes come from a server like this one.
FORKED = """
import json, multiprocessing, sys

from webcall.worker.ahead import import_ahead

def tell(queue):
    queue.put(sorted(name for name in ("broken", "missing", "good") if name in sys.modules))

if __name__ == "__main__":
    multiprocessing.set_forkserver_preload([import_ahead(["broken", "missing", "good"])])
    context = multiprocessing.get_context("forkserver")
    queue = context.Queue()
    process = context.Process(target=tell, args=(queue,))
    process.start()
    print(json.dumps(queue.get(timeout=60)))
    process.join()
"""


def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    """Whatever it raises, processes start, and have the others."""
    (tmp_path / "broken.py").write_text("raise FileNotFoundError('certificates')")
    (tmp_path / "good.py").write_text("")
    program = tmp_path / "program.py"
    program.write_text(FORKED)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["good"]
