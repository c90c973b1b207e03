"""What a deployment installs: every package with its version and the hashes of its files.

`python -m scripts.lock` makes the files anew, with the newest versions that setup.py takes. The
service's holds its extras for backends, limits in Redis and traces; the worker's holds those of the worker.
Both hold what this package is built with, so that nothing is installed that is not in them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# By file, the extras of setup.py that it is for.
LOCKS = {
    "requirements.lock": ("redis", "jwt", "sql", "http", "traces"),
    "requirements-worker.lock": ("worker",),
}
# As setup.py's extra [dev] and pyproject.toml have it.
BUILD = "setuptools>=70.1"
COMMAND = "python -m scripts.lock"


def main() -> None:
    """Write the files. Ends with uv's own words where they cannot be made."""
    for name, extras in LOCKS.items():
        with tempfile.TemporaryDirectory() as folder:
            build = Path(folder) / "build.in"
            build.write_text(f"{BUILD}\n")
            command = [sys.executable, "-m", "uv", "pip", "compile", "setup.py", str(build), "--quiet"]
            command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade"]
            command += ["--no-annotate", "--custom-compile-command", COMMAND, "--output-file", name]
            for extra in extras:
                command += ["--extra", extra]
            if status := subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode:
                sys.exit(status)


if __name__ == "__main__":
    main()
