"""Every page: what it names exists, in the tree, in the code and on the command line."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask

from tests.support.deployment import ROOT, MakeApp

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FILE_MARK = re.compile(r"<!-- file: (\S+) -->")
# Made by `make` or by an operator: named on the pages, and not in the tree.
MADE = ("instance/", ".tools/", "__init__.py")
ENDINGS = (".py", ".md", ".yaml", ".yml", ".toml", ".js", ".sh", ".log")
# Dotted, and no names of Python: a group of entry points, a logger.
OTHER_NAMES = {
    *("webcall.plugins", "webcall.request", "webcall.db"),
    *("webcall.notice", "webcall.bye", "webcall.seen", "webcall.ended_by"),
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def in_backticks(page: Path) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", without_blocks(page.read_text("utf-8"))))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_blocks(page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of this repository, and a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page.read_text("utf-8"))):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.is_file(), target
        assert not heading or heading in anchors(aim), target


@each_page
def test_paths_exist(page: Path) -> None:
    """Every path in backticks is in the tree, or is made by what the page tells to run."""
    made = {*MADE, *FILE_MARK.findall(page.read_text("utf-8"))}
    for name in in_backticks(page):
        is_path = re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", name) and (
            name.endswith("/") or name.endswith(ENDINGS)
        )
        if is_path and not name.startswith(tuple(made)):
            assert (ROOT / name).exists(), name


@each_page
def test_names_of_python_exist(page: Path) -> None:
    """Every dotted name in backticks that begins with `webcall.` can be imported."""
    for name in in_backticks(page) - OTHER_NAMES:
        if re.fullmatch(r"(webcall|plugins|scripts)(\.\w+)+", name) and not name.endswith(ENDINGS):
            assert _exists(name), name


def _exists(name: str) -> bool:
    found, *rest = name.split(".")
    thing = importlib.import_module(found)
    for part in rest:
        found += f".{part}"
        if not hasattr(thing, part):
            try:
                thing = importlib.import_module(found)
            except ModuleNotFoundError:
                return part in getattr(thing, "__annotations__", {})
        else:
            thing = getattr(thing, part)
    return True


@pytest.fixture
def whole_app(make_app: MakeApp, tmp_path: Path) -> Flask:
    """An application with every backend of commands in use; nothing is connected."""
    environment = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
    environment["DATABASE_URL"] = f"sqlite:///{tmp_path / 'kept.db'}"
    everything = "env,file,mongo,sql"
    return make_app(environment | {"WEBCALL_VALIDATORS": everything, "WEBCALL_STORES": everything})


def command_lines(page: Path) -> Iterator[str]:
    """Yield every `flask …` line of a page, from its blocks and from its prose."""
    text = page.read_text("utf-8")
    yield from re.findall(r"^(?:\S+/)?(flask webcall .*?)(?:\s+#.*)?$", text, re.MULTILINE)
    yield from re.findall(r"`(flask webcall [^`\n]+)`", text)


@each_page
def test_commands_exist(page: Path, whole_app: Flask) -> None:
    """Every `flask webcall …` line on a page is a command with those options and arguments."""
    for line in command_lines(page):
        # The plugin of the page is not loaded here: mongo has the same command.
        words = shlex.split(line.replace("webcall sqlite ", "webcall mongo "))[1:]
        with whole_app.app_context():
            _parse(whole_app.cli, words, line)


def _parse(command: click.Command, words: list[str], line: str) -> None:
    context = click.Context(command, info_name=line)
    for position, word in enumerate(words):
        assert isinstance(context.command, click.Group)
        found = context.command.get_command(context, word)
        assert found is not None, f"{line}: no command {word}"
        context = click.Context(found, parent=context, info_name=word)
        if not isinstance(found, click.Group):
            # Files need not be there: options and the number of arguments are looked at.
            known = {
                name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)
            }
            rest = words[position + 1 :]
            options = [one for one in rest if one.startswith("--")]
            assert set(options) <= known, f"{line}: {set(options) - known}"
            arguments = [one for one in found.params if isinstance(one, click.Argument)]
            needed = sum(one.required for one in arguments)
            takes_value = [o for o in found.params if isinstance(o, click.Option) and not o.is_flag]
            valued = {name for option in takes_value for name in option.opts}
            plain = [
                one
                for before, one in zip(["", *rest], rest, strict=False)
                if not one.startswith("--") and before not in valued
            ]
            # Prose may leave the arguments out; a line that gives any gives all that are needed.
            assert not plain or needed <= len(plain) <= len(arguments), line
            return


@each_page
def test_make_targets_exist(page: Path) -> None:
    """Every `make …` on a page is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = re.findall(r"(?:`|^    |^)make ([a-z]+)\b", page.read_text("utf-8"), re.MULTILINE)
    assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_every_page_is_linked_from_the_readme() -> None:
    """A reader who starts at the README finds every page."""
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in PAGES[1:]:
        assert f"]({page.relative_to(ROOT)})" in readme, page.name


def test_the_form_of_the_changelog() -> None:
    """The newest version is the package's, changes stand in Keep a Changelog's groups, and none twice."""
    page = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", page, re.MULTILINE)
    assert versions[0] == re.search(r"version=\"(.+?)\"", (ROOT / "setup.py").read_text())[1]  # type: ignore[index]
    groups = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", page, re.MULTILINE)) <= groups
    bullets = re.findall(r"^- .+$", page, re.MULTILINE)
    assert len(bullets) == len(set(bullets))


def test_messages_on_the_troubleshooting_page_are_the_services() -> None:
    """Every message that the page quotes is one that the code writes."""
    sources = (path for top in ("webcall", "plugins") for path in (ROOT / top).rglob("*.py"))
    code = "\n".join(path.read_text("utf-8") for path in sources)
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    table = page.partition("## What `check` says")[2].partition("## Symptoms")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(quoted) > 15
    pieces = (piece.strip(" ?") for message in quoted for piece in re.split(r"…|: |; |, |'", message))
    assert [words for words in pieces if len(words) >= 8 and words not in code] == []


def test_errors_in_the_log_are_on_the_operating_page() -> None:
    """The page's table of error lines names every event that the service logs as an error, and no other.

    The worker's stand on its own page. The backend `file` writes lines of its own words.
    """
    worker = ROOT / "webcall" / "worker"
    files = [path for path in (ROOT / "webcall").rglob("*.py") if not path.is_relative_to(worker)]
    code = "\n".join(path.read_text("utf-8") for path in files)
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    table = page.partition("| Event |")[2].partition("\n\n")[0]
    of_files = "….yaml: … (nothing to serve)"
    assert "nothing to serve" in (ROOT / "plugins" / "file" / "watch.py").read_text("utf-8")
    assert set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)) == {
        of_files,
        *re.findall(r"log\.error\(\s*\"([^\"]+)\"", code),
    }


def test_livekit_agents_own_error_is_on_the_workers_page() -> None:
    """The worker's table has the line that livekit-agents writes where a job's function fails."""
    library = importlib.import_module("livekit.agents.ipc.job_proc_lazy_main").__file__
    assert library is not None
    event = "unhandled exception while running the job task"
    assert f'"{event}"' in Path(library).read_text("utf-8")
    assert f"| `{event}` | error |" in (ROOT / "docs" / "worker.md").read_text("utf-8")


def test_why_calls_end_is_on_the_workers_page() -> None:
    """The page's table has every `why` that the worker logs at a call's end, and no other."""
    files = (ROOT / "webcall" / "worker").glob("*.py")
    ends = {why for path in files for why in re.findall(r"\bEnd\(\"([^\"]+)\"", path.read_text("utf-8"))}
    table = (ROOT / "docs" / "worker.md").read_text("utf-8").partition("| `why` of `call ends` |")[2]
    rows = re.findall(r"^\| (`.+?) \| ", table.partition("\n\n")[0], re.MULTILINE)
    assert {why for row in rows for why in re.findall(r"`([^`]+)`", row)} == ends
