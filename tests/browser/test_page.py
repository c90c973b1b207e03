"""The page for everybody: by keyboard, with a screen reader, in light and dark, on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.conftest import MakeVisitor
from tests.support.accessibility import looks, picture, serious
from tests.support.browser import Visitor
from tests.support.deployment import KEY, Service


@looks
def test_nothing_keeps_anybody_out(
    visitor_of: MakeVisitor, playground: Service, axe: Path, name: str, options: dict[str, Any]
) -> None:
    """axe-core finds nothing serious before, in and after a call, nor with an error; nothing overflows."""
    visitor = visitor_of(playground, **options)
    page = visitor.page
    page.add_init_script(path=axe)
    visitor.open()
    page.fill("#api-key", "not a key")
    page.fill("#assistant-id", "helper")
    page.click("#start")
    visitor.notice("key_refused", 5)
    visitor.faults.clear()
    assert serious(visitor.page) == []
    visitor.call()
    visitor.until_said(r"\bAda\b")
    visitor.type("what can you do")
    visitor.until_said("spell")
    page.click("summary")
    assert serious(visitor.page) == []
    width = page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    picture(visitor.page, name)
    page.click("#hangup")
    visitor.until_state("ended")
    assert serious(visitor.page) == []


def test_a_call_needs_no_mouse(visitor: Visitor) -> None:
    """By keyboard alone a call is started, typed in and hung up, and the focus is never lost."""
    visitor.open()
    page, press = visitor.page, visitor.page.keyboard.press
    page.focus("#api-key")
    page.keyboard.type(KEY)
    press("Tab")
    page.locator("#assistant option[value=helper]").wait_for(state="attached")
    page.keyboard.type("Helper")
    press("Tab")
    page.keyboard.type("{}")
    press("Tab")
    press("Space")
    press("Tab")
    press("Enter")
    visitor.until_state("joined")
    page.wait_for_function("() => document.activeElement.id === 'message'")
    page.keyboard.type("what is seven plus eight")
    press("Enter")
    visitor.until_said(r"\b15\b")
    while page.evaluate("() => document.activeElement.id") != "hangup":
        press("Shift+Tab")
        assert page.evaluate("() => document.activeElement !== document.body")
    press("Enter")
    visitor.until_state("ended")
    assert page.evaluate("() => document.activeElement.id") == "side-title"


def test_a_fault_of_the_page_is_noticed(visitor: Visitor) -> None:
    """What every test here holds can fail: an error in the console, and a breach of the page's policy."""
    visitor.open()
    visitor.page.evaluate("() => console.error('a fault')")
    with visitor.page.expect_console_message(lambda message: message.text.startswith("policy violated")):
        visitor.page.evaluate("() => { new Image().src = 'http://127.0.0.2/picture.png'; }")
    assert visitor.faults[0] == "a fault"
    assert any(fault.startswith("policy violated: img-src") for fault in visitor.faults)
    visitor.faults.clear()
