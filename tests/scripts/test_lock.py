"""The lock files: what a deployment installs, held to setup.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.lock import BUILD, COMMAND, LOCKS, ROOT

each_lock = pytest.mark.parametrize("name", LOCKS)


def entries(name: str) -> list[str]:
    """Return a lock file's requirements, each with its hashes, in one line."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def wanted(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """Yield what the package needs with these extras."""
    for text in [*(requires("webcall") or []), BUILD]:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


@each_lock
def test_every_package_is_pinned_with_hashes(name: str) -> None:
    """Each line is one version and the SHA-256 of its files, and nothing says from where."""
    lines = entries(name)
    assert len(lines) > 40
    for line in lines:
        pinned, *hashes = re.split(r" +--hash=", line)
        assert re.fullmatch(r"[a-z0-9.-]+==[A-Za-z0-9.+!]+( ;.*)?", pinned.strip()), pinned
        assert hashes, pinned
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes), pinned
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    assert f"#    {COMMAND}\n" in text


@each_lock
def test_it_satisfies_the_package(name: str) -> None:
    """Whatever setup.py asks for, with the extras of the file, is in it in a version that is taken."""
    locked = [Requirement(line.partition("--hash=")[0].strip()) for line in entries(name)]
    here = {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in locked
        if one.marker is None or one.marker.evaluate()
    }
    needed = list(wanted(LOCKS[name]))
    assert len(needed) > 15
    for requirement in needed:
        version = here.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement}: `{COMMAND}` makes the file anew"
        assert requirement.specifier.contains(version), f"{requirement}: {version} in {name}"


def test_the_extras_are_those_of_the_package() -> None:
    """Each file's extras exist, and the pages name the files."""
    known = {
        extra for text in requires("webcall") or [] for extra in re.findall(r"extra == ['\"](\w+)['\"]", text)
    }
    page = (Path(ROOT) / "docs" / "deploy.md").read_text("utf-8")
    for name, extras in LOCKS.items():
        assert set(extras) <= known
        assert name in page
