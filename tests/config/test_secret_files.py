"""Secrets from files: `${file:/path}` in config.yaml, and NAME_FILE in place of NAME."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.deployment import ROOT, Service, bearer, livekit_environment, store_records
from tests.support.http import CALL, JSON, send
from tests.support.livekit import LiveKitServer
from webcall.config.files import MAX_SECRET_BYTES
from webcall.config.interpolation import interpolate

SECRET = "a secret of the tests that is 32 bytes long"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content", [b"pa$$ ${X}", b"pa$$ ${X}\n", b"pa$$ ${X}\r\n\n", b"\xef\xbb\xbfpa$$ ${X}\n"]
)
def test_a_file_is_read_without_its_last_newline(tmp_path: Path, content: bytes) -> None:
    """What an editor wrote is the value as it stands, never read as a reference again."""
    path = written(tmp_path, content)
    for text, environ in (
        (f"<${{file:{path}}}>", {}),
        (f"<${{file:{path}:-other}}>", {}),
        ("<${NAME}>", {"NAME_FILE": str(path)}),
        ("<${NAME:-other}>", {"NAME_FILE": str(path), "NAME": ""}),
    ):
        assert interpolate({"a": text}, environ) == ({"a": "<pa$$ ${X}>"}, {})


def test_white_space_inside_is_kept(tmp_path: Path) -> None:
    """Only newlines at the end are taken off: a blank there may belong to the secret."""
    path = written(tmp_path, b" a b  \n")
    assert interpolate([f"${{file:{path}}}"], {}) == ([" a b  "], {})


def test_a_default_stands_in_for_no_file_and_an_empty_one(tmp_path: Path) -> None:
    """As with variables, an empty file takes the default; one that NAME_FILE names is meant."""
    gone, empty = tmp_path / "gone", written(tmp_path, b"\n")
    for path in (gone, empty):
        assert interpolate(f"${{file:{path}:-a$$b}}", {}) == ("a$b", {})
        assert interpolate(f"${{file:{path}:-}}", {}) == ("", {})
        _, faults = interpolate(["${NAME:-other}"], {"NAME_FILE": str(path)})
        assert f"{path} that NAME_FILE names is " in faults["0",]


def test_files_that_cannot_be_used_are_told_in_one_line(tmp_path: Path) -> None:
    """Missing, empty, too large, a folder, a pipe, not UTF-8: one fault each, without the contents."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"\r\n\n")
    (tmp_path / "large").write_bytes(b"canary" * MAX_SECRET_BYTES)
    (tmp_path / "latin").write_bytes(b"canary\xff")
    told = {
        "gone": " is not there",
        "empty": " is empty",
        "large": ": larger than 64 KiB",
        "folder": ": cannot be read: not a file",
        "pipe": ": cannot be read: not a file",
        "latin": ": not UTF-8",
        "empty/inside": ": cannot be read: Not a directory",
        "x" * 300: ": cannot be read: File name too long",
        "nul\0": ": not a path",
        "two\nlines": " is not there",
    }
    for name, why in told.items():
        tree, faults = interpolate({"a": {"b": f"${{file:{tmp_path}/{name}}}"}, "c": 1}, {})
        assert tree == {"a": {"b": None}, "c": 1}
        [(path, fault)] = faults.items()
        assert path == ("a", "b")
        assert fault.startswith("the file /"), name
        assert fault.endswith(why), name
        assert "canary" not in fault
        assert "\n" not in fault
    # A secret that is there is meant, whatever the default says.
    for name in ("large", "folder", "pipe", "latin"):
        assert interpolate([f"${{file:{tmp_path}/{name}:-x}}"], {})[1].keys() == {("0",)}


def test_a_secret_is_given_once(tmp_path: Path) -> None:
    """A variable and its file at once are a fault: which of them is meant is not guessed."""
    environ = {"NAME": "a", "NAME_FILE": str(written(tmp_path, b"b"))}
    assert interpolate(["${NAME:-c}"], environ)[1] == {
        ("0",): "the environment variables NAME and NAME_FILE are both set: unset one"
    }


@pytest.mark.parametrize(
    "text", ["${file:}", "${file:/a", "${file:${NAME}}", "${file:/a/${NAME}}", "${file:/a:-${NAME}}"]
)
def test_half_a_reference_is_a_fault(text: str) -> None:
    """A path holds no other reference, and is closed; NAME_FILE is the way to name it from outside."""
    _, faults = interpolate([text], {"NAME": "/a"})
    assert "begins a reference" in faults["0",]


def test_a_variable_of_the_name_file() -> None:
    """`${file}` and its default are a variable's still."""
    assert interpolate(["${file}", "${file:-/a}"], {"file": "x"}) == (["x", "x"], {})
    assert interpolate(["${file:-/a}"], {}) == (["/a"], {})


def test_a_missing_secret_ends_the_start_with_one_line(tmp_path: Path) -> None:
    """Under gunicorn a secret's file that is not there is one line with the setting's path, and status 2."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT_", "WEBCALL_"))
    }
    clean |= {
        "WEBCALL_CONFIG": str(ROOT / "config.yaml"),
        "LIVEKIT_API_KEY": "key",
        "WEBCALL_BIND": "127.0.0.1:0",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=ROOT,
        env=clean | {"LIVEKIT_API_SECRET_FILE": str(tmp_path / "gone")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        f"livekit.api_secret: the file {tmp_path}/gone that LIVEKIT_API_SECRET_FILE names is not there"
    ]


def test_a_reload_reads_the_file_anew(
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    make_service: Callable[[Mapping[str, str]], Service],
) -> None:
    """A secret that is changed in its file counts from SIGHUP on, without a restart."""
    given = livekit_environment(livekit_server) | store_records("env", tmp_path, request)
    secret = given.pop("LIVEKIT_API_SECRET")
    path = written(tmp_path, b"another secret of 32 bytes at least\n")
    service = make_service(given | {"LIVEKIT_API_SECRET_FILE": str(path)})

    def status() -> int:
        return send(service.port, {"assistant_id": "helper"}, bearer() | JSON, path=CALL).status

    assert status() == 500
    path.write_text(secret + "\n")
    assert status() == 500
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    programs.wait_until(lambda: status() == 200, service.process)
    # In neither place where a process shows its secrets to others of this machine.
    for name in ("environ", "cmdline"):
        assert secret.encode() not in Path(f"/proc/{service.process.pid}/{name}").read_bytes()
