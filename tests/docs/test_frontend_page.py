"""The page about front ends: its code is type-checked, its tables are the widget's."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts import frontend
from tests.support import programs
from tests.support.deployment import ROOT
from tests.support.site import policy
from webcall.core.notices import TOPIC, Notice, as_packet
from webcall.http import widget

PAGE = (ROOT / "docs" / "frontend.md").read_text("utf-8")
WANTED = Path(__file__).parent / "snippets"
MOUNT = """declare module "https://calls.example.com/widget.js" {
  export const mount: typeof import("%s").mount;
}"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def modules() -> Path:
    """The packages that the page tells to install, in a folder of their own."""
    try:
        return frontend.ensure_modules(WANTED, frontend.TOOLS / "snippets")
    except frontend.NoFrontend as error:
        programs.without("npm", str(error))


def test_its_code_is_type_checked(modules: Path, tmp_path: Path) -> None:
    """TypeScript's compiler, strict, finds nothing in any snippet, with the packages that the page names."""
    snippets = [(f"{turn}.ts", text) for turn, text in enumerate(blocks("ts"))]
    snippets += [(f"{turn}.tsx", text) for turn, text in enumerate(blocks("tsx"))]
    assert len(snippets) == 4
    for name, text in snippets:
        (tmp_path / name).write_text(text if "export " in text else text + "export {};\n")
    # The widget's own types stand in its comments: what `mount` takes is held to them.
    (tmp_path / "widget.d.ts").write_text(MOUNT % (frontend.STATIC / "widget.js"))
    (tmp_path / "node_modules").symlink_to(modules)
    options = ["--noEmit", "--strict", "--target", "ES2022", "--module", "ESNext", "--skipLibCheck"]
    options += ["--moduleResolution", "Bundler", "--jsx", "react-jsx", "--lib", "ES2022,DOM,DOM.Iterable"]
    command = [frontend.node(), modules / "typescript" / "bin" / "tsc", *options, "--allowJs"]
    names = [name for name, _ in snippets]
    run = subprocess.run(
        [*command, "widget.d.ts", *names], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_its_attributes_are_those_of_the_widget() -> None:
    """Every attribute of the table is read by the widget, and every one that it reads is in the table."""
    script = (frontend.STATIC / "widget.js").read_text("utf-8")
    [names] = re.findall(r"const \{(.*?)\} = dataset", script)
    read = re.findall(r"(\w+)(?: = \"\")?(?:,|$)", names.strip()) + re.findall(r'"(\w+)" in dataset', script)
    attributes = {"data-" + re.sub(r"[A-Z]", lambda found: "-" + found[0].lower(), name) for name in read}
    assert attributes == set(re.findall(r"^\| `(data-[a-z-]+)`", PAGE, re.MULTILINE))

    given: set[str] = set()

    class Tag(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given.update(name for name, _ in attrs)

    [tag] = blocks("html")
    Tag().feed(tag)
    assert given - attributes == {"type", "src"}


def test_its_properties_are_those_of_the_widget() -> None:
    """The custom properties of the table are the ones that the widget's style asks for."""
    style = (frontend.STATIC / "widget-style.js").read_text("utf-8")
    asked = set(re.findall(r"var\((--webcall-[a-z-]+)", style)) - {"--webcall-turn"}
    assert asked == set(re.findall(r"`(--webcall-[a-z-]+)`", PAGE))


def test_its_policy_is_the_one_that_was_tried() -> None:
    """The policy under which the browser's tests run has these sources, and no others for the widget."""
    [told] = blocks("text")
    tried = policy("https://calls.example.com", "wss://livekit.example.com", "https://livekit.example.com")
    directives = [part for part in tried.split("; ") if "example.com" in part]
    assert told.strip().splitlines() == directives
    assert "unsafe" not in tried


def test_its_bytes_are_the_widgets() -> None:
    """How much the page says is loaded before a call is what is."""
    [told] = re.findall(r"it loads (\d+) KB", PAGE)
    names = (widget.ENTRY, *widget.AT_ONCE)
    assert round(sum((frontend.STATIC / name).stat().st_size for name in names) / 1024) == int(told)


@pytest.mark.parametrize(("language", "mark"), [("ts", "new Room()"), ("tsx", "useSession(")])
def test_its_examples_take_notices_both_ways(language: str, mark: str) -> None:
    """Those for livekit-client and React take the service's messages as a text stream and as a packet."""
    [example] = [text for text in blocks(language) if mark in text]
    assert f'registerTextStreamHandler("{TOPIC}"' in example
    assert f'topic === "{TOPIC}" && !sender' in example
    assert "RoomEvent.DataReceived" in example
    assert json.loads(as_packet(Notice.goodbye))["text"] == Notice.goodbye.words
    assert "JSON.parse(new TextDecoder().decode(data)).text" in example
