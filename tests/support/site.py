"""Somebody's web site, of another origin than the service's, with the widget in its pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape

from playwright.sync_api import Locator

from tests.support.browser import METADATA, Visitor
from tests.support.deployment import OWNER, ROOT, Service
from tests.support.listeners import Quiet, serving

ADA = json.dumps(METADATA)
# A page whose own style spoils whatever it can reach, and that uses the widget's names itself.
HOSTILE = """* { font: italic 9px/3 monospace !important; color: red !important; text-transform: uppercase }
body > *, webcall-widget { display: none !important; position: static !important; opacity: .2 !important }
main { display: block !important } button, input, .panel { display: none !important }
html { font-size: 40px; letter-spacing: 9px }"""
KIND = "body { font: 16px/1.5 sans-serif; margin: 2em } main { max-width: 40em }"
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><link rel="stylesheet" href="style.css"></head>
<body><main><h1 id="title">Welcome</h1><p class="panel">We sell things.</p></main>
{tags}</body></html>"""


def policy(service: str, livekit: str, livekit_http: str) -> str:
    """Return a strict Content-Security-Policy under which the widget has to work."""
    return (
        f"default-src 'none'; script-src {service}; style-src 'self'; img-src data:; "
        f"connect-src {service} {livekit} {livekit_http}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


@dataclass
class Site:
    """A site on a loopback port. `policy` is the Content-Security-Policy of its pages."""

    policy: str
    style: str = KIND
    pages: dict[str, str] = field(default_factory=dict)
    port: int = 0

    @property
    def origin(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    def page(self, *tags: str) -> str:
        """Return the address of a page that ends with these tags."""
        path = f"/{len(self.pages)}.html"
        self.pages[path] = _PAGE.format(tags="\n".join(tags))
        return self.origin + path

    def answer(self, path: str) -> tuple[str, str] | None:
        """Return the type and the text of what is at a path."""
        if path == "/style.css":
            return "text/css", self.style
        return ("text/html", self.pages[path]) if path in self.pages else None


@contextmanager
def running(site: Site) -> Iterator[Site]:
    """Serve the site while the block runs."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            found = site.answer(self.path)
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", (found or ("text/plain", ""))[0])
            self.send_header("Content-Security-Policy", site.policy)
            self.end_headers()
            self.wfile.write((found or ("", "none"))[1].encode())

    with serving(Handler) as port:
        site.port = port
        yield site


def tag(service: str, key: str, **data: str | bool) -> str:
    """Return the tag of a widget: `tag(url, key, assistant="helper", text_only=True)`."""
    given = [("src", f"{service}/widget.js"), ("data-key", key)]
    given += [
        (f"data-{name.replace('_', '-')}", "" if value is True else str(value))
        for name, value in data.items()
    ]
    attributes = " ".join(f'{name}="{escape(value)}"' for name, value in given)
    return f"<script type=module {attributes}></script>"


@dataclass
class Shop:
    """A site, the service that its pages use, and their key."""

    site: Site
    service: Service
    key: str

    @classmethod
    def opened(cls, site: Site, service: Service) -> Shop:
        """Make a key for the site: for `helper`, with metadata of the name `customer`."""
        options = ("--assistant", "helper", "--origin", site.origin, "--metadata", "customer")
        return cls(site, service, publishable_key(service, *options))

    def tag(self, *, key: str = "", **data: str | bool) -> str:
        """Return the tag of a widget."""
        return tag(self.service.url, key or self.key, **data)

    def link(self, *, key: str = "", assistant: str = "helper", **data: str | bool) -> str:
        """Return the address of a page with one widget; Ada is its visitor unless `data` says otherwise."""
        return self.site.page(self.tag(key=key, assistant=assistant, **{"metadata": ADA, **data}))


def publishable_key(service: Service, *options: str) -> str:
    """Make a publishable key as an operator does."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "keys", "create", "--publishable"]
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("WEBCALL_", "LIVEKIT_"))
    }
    environment = {**clean, "WEBCALL_CONFIG": str(ROOT / "config.yaml"), **service.environment}
    made = subprocess.run(
        [*command, "--owner", OWNER, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


class Shopper(Visitor):
    """A person on a page with the widget."""

    def part(self, selector: str) -> Locator:
        """Return what is inside of the widget, the page's first one."""
        return self.page.locator("webcall-widget").first.locator(selector)

    def button(self, name: str) -> Locator:
        """Return the button of a name."""
        return self.page.get_by_role("button", name=name)

    def begin(self, link: str, start: str = "Start the call") -> None:
        """Open a page, and start a call by the widget's buttons."""
        self.page.goto(link)
        self.part(".launcher").click()
        self.button(start).click()

    def until_call(self, state: str, within_s: float = 20) -> None:
        """Wait for a state of the call."""
        self.page.locator(f"webcall-widget[data-state={state}]").wait_for(
            timeout=within_s * 1000, state="attached"
        )

    def chat(self, link: str) -> None:
        """Open a page with a typed chat, start it, and return when Ada was greeted."""
        self.begin(link, "Start the chat")
        self.until_heard("Ada")

    def until_heard(self, text: str, who: str = "assistant") -> None:
        """Wait until somebody has said a text."""
        self.part(f".entry[data-from={who}] .words").filter(has_text=text).first.wait_for()

    def write(self, text: str) -> None:
        """Type a message and send it."""
        self.part("#message").fill(text)
        self.part("#message").press("Enter")

    def told(self, code: str, within_s: float = 10) -> str:
        """Wait for the words of a failure, and return them."""
        place = self.part(f".notice[data-code={code}]")
        place.wait_for(timeout=within_s * 1000)
        return place.inner_text()

    def leave(self) -> None:
        """Hang up, where there is a call, and close the page."""
        hang_up = self.part("button.danger")
        if hang_up.count() and hang_up.is_visible():
            hang_up.click()
            self.page.locator("webcall-widget:is([data-state=ended], [data-state=failed])").wait_for(
                state="attached"
            )
        self.page.context.close()
