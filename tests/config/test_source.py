"""Where config.yaml is looked for, and what is told about one that cannot be read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import webcall.config.source
from webcall.config.source import find, read
from webcall.errors import ConfigError

ROOT = Path(__file__).parents[2]


def faults_of(path: Path) -> tuple[str, ...]:
    try:
        return tuple(map(str, read(path, {}).faults))
    except ConfigError as error:
        return error.faults


def fault_of(tmp_path: Path, content: str | bytes) -> str:
    """Return the one line that is told about a file, without its path."""
    path = tmp_path / "config.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    [fault] = faults_of(path)
    return fault.removeprefix(f"{path}: ")


def test_file_is_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable wins over the working directory, and that over the place beside wsgi.py."""
    root, cwd = tmp_path / "root", tmp_path / "cwd"
    (root / "webcall/config").mkdir(parents=True)
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(webcall.config.source, "__file__", str(root / "webcall/config/source.py"))
    with pytest.raises(ConfigError, match=r"not found .* WEBCALL_CONFIG"):
        find({})
    (root / "config.yaml").write_text("")
    assert find({}) == root / "config.yaml"
    assert find({"WEBCALL_CONFIG": ""}) == root / "config.yaml"
    (cwd / "config.yaml").symlink_to("nowhere")
    assert find({}).absolute() == cwd / "config.yaml"
    assert find({"WEBCALL_CONFIG": "other.yaml"}) == Path("other.yaml")


def test_file_beside_wsgi_is_the_repositorys(tmp_path: Path) -> None:
    """From anywhere else, the file beside wsgi.py is found."""
    code = "from webcall.config.source import find; print(find({}))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == str(ROOT / "config.yaml"), found.stderr


@pytest.mark.parametrize("name", ["absent", "folder", "nul\0", "x" * 5000])
def test_unreadable_file_is_one_line(tmp_path: Path, name: str) -> None:
    """A path that cannot be read is one line with the path and the reason."""
    (tmp_path / "folder").mkdir()
    [fault] = faults_of(tmp_path / name)
    assert "cannot be read: " in fault or "not a path" in fault
    assert "\0" not in fault


MALFORMED = {
    "unclosed": ("a: [CANARY", "expected ',' or ']', but got '<stream end>' at line 1"),
    "unclosed far above": (
        "a: [CANARY\n\n",
        "(while parsing a flow sequence that begins at line 1) at line 3, column 1",
    ),
    "what YAML expects among quotes": (
        "a: ',' 'CANARY' ']'",
        "expected <block end>, but found '<scalar>' at line 1",
    ),
    "tab": ("a:\n\tCANARY: 1", "a tab: indent with blanks at line 2, column 1"),
    "quote": ("a: 'CANARY\n", "line 2"),
    "alias": ("livekit:\n  api_secret: *CANARY\n", "undefined alias at line 2, column 15"),
    "tag": ("a: !CANARY x", "tag at line 1"),
    "quoted tag": ("a: !it's'CANARY x", "tag at line 1"),
    "python": ("a: !!python/object/apply:os.system [CANARY]", "tag at line 1"),
    "character": ("a: 1\nb: @CANARY", "line 2, column 4"),
    "control": ("a: 1\nb: \x01CANARY", "not allowed at line 2"),
    "mapping": ("api_secret: CANARY: x", "mapping values are not allowed here at line 1"),
    "date": ("a: 2026-02-31", "date or a number that does not exist"),
    "number": ("a: " + "9" * 5000, "date or a number that does not exist"),
    "unhashable": ("? [CANARY]\n: 1", "unhashable key"),
    "latin-1": ("a: CANARY ü".encode("latin-1"), "not UTF-8"),
    "list": ("- CANARY", "not a mapping of settings"),
    "scalar": ("CANARY", "not a mapping of settings"),
    "two documents": ("a: CANARY\n---\nb: 1\n", "another document"),
    "deep": ("[" * 5000, "nested too deeply"),
    "deep mapping": ("{a: " * 30 + "1" + "}" * 30, "deeper than 20 levels"),
    "endless": ("a: &a [*a]", "alias in itself"),
    "huge": ("a: " + "x" * 1_000_000, "larger than 256 KiB"),
    "billion laughs": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "\n".join(
            f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]"
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        "more than 20000 values",
    ),
    "twice": (
        "livekit:\n  api_secret: CANARY\n  api_secret: CANARY\n",
        "'api_secret' stands twice at line 3",
    ),
    "twice at the top": ("call: {}\ncall: {}\n", "'call' stands twice at line 2, column 1"),
}


@pytest.mark.parametrize(("content", "told"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_file_is_one_line_without_its_text(tmp_path: Path, content: str | bytes, told: str) -> None:
    """What is not YAML, or beyond bounds, is told by place and kind, and never quoted."""
    fault = fault_of(tmp_path, content)
    assert told in fault
    assert "CANARY" not in fault
    assert "\n" not in fault


def test_merged_mappings_are_not_twice(tmp_path: Path) -> None:
    """A setting that overrides one of a merged mapping does not count as written twice."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "backends:\n  a: &a {x: 1}\n  b: &b {<<: *a, x: 2}\n  c: {<<: *b, x: 3}\n"
        "livekit: {api_key: k, api_secret: 'ssssssssssssssssssssssssssssssssssss'}\n"
    )
    assert read(path, {}).backends == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 3}}


def test_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """A file that an editor began with a byte order mark reads as any other."""
    path = tmp_path / "config.yaml"
    shutil.copy(ROOT / "config.yaml", path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    environ = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
    assert read(path, environ).config == read(ROOT / "config.yaml", environ).config
