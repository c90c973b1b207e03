"""The widget by keyboard, with a screen reader, in light and dark, on a phone, and several in a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser.conftest import MakeShopper
from tests.support.accessibility import looks, picture, serious
from tests.support.site import Shop, Shopper

MOUNT = """async ([url, key]) => {
  const { mount } = await import(url);
  globalThis.third = mount({ key, assistant: "helper", label: "Three", theme: "dark" });
}"""
# What has the focus inside of the widget.
FOCUSED = "() => document.activeElement.shadowRoot?.activeElement"
HEAR_KEYS = "() => { globalThis.heard = []; addEventListener('keydown', ({ key }) => heard.push(key)); }"
ANIMATED = "(found) => Promise.all(found.getAnimations().map((one) => one.finished))"


@looks
def test_nothing_keeps_anybody_out(
    shopper_of: MakeShopper, shop: Shop, axe: Path, name: str, options: dict[str, Any]
) -> None:
    """axe-core finds nothing serious before, in and after a call, and nothing overflows the page."""
    shopper = shopper_of(**options)
    shopper.page.add_init_script(path=axe)
    link = shop.link()
    shopper.page.goto(link)
    shopper.part(".launcher").wait_for()
    assert serious(shopper.page) == []
    shopper.begin(link)
    shopper.until_call("joined")
    shopper.until_heard("Ada")
    shopper.write("what can you do")
    shopper.until_heard("spell")
    shopper.part(".panel").evaluate(ANIMATED)
    assert serious(shopper.page) == []
    width = shopper.page.evaluate("() => [document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    box = shopper.part(".panel").bounding_box()
    assert box is not None
    assert min(box["x"], box["y"]) >= 0
    picture(shopper.page, f"widget-{name}")
    shopper.button("Hang up").click()
    shopper.until_call("ended")
    assert serious(shopper.page) == []
    picture(shopper.page, f"widget-{name}-ended")


def test_a_call_needs_no_mouse(shopper: Shopper, shop: Shop) -> None:
    """By keyboard a call is started, typed in, goes on behind a closed panel, and is hung up."""
    page, press = shopper.page, shopper.page.keyboard.press
    focused = f"({FOCUSED})()?.textContent"
    page.goto(shop.link(text_only=True, label="Ask us"))
    page.evaluate(HEAR_KEYS)
    shopper.part(".launcher").wait_for()
    press("Tab")
    press("Enter")
    assert page.evaluate(focused) == "Start the chat"
    press("Escape")
    assert shopper.part(".panel").is_hidden()
    assert page.evaluate(focused).startswith("Ask us")
    press("Enter")
    press("Enter")
    shopper.until_call("joined")
    page.wait_for_function("() => document.activeElement.shadowRoot?.activeElement?.id === 'message'")
    page.keyboard.type("what is seven plus eight")
    press("Enter")
    shopper.until_heard("15")
    press("Escape")
    assert shopper.part(".panel").is_hidden()
    assert page.get_attribute("webcall-widget", "data-state") == "joined"
    press("Enter")
    while page.evaluate(focused) != "Hang up":
        press("Tab")
        assert page.evaluate("() => document.activeElement.localName") == "webcall-widget"
    press("Enter")
    shopper.until_call("ended")
    assert page.evaluate(focused) == "Start again"
    assert page.evaluate("() => heard") == ["Tab"], "the page's shortcuts hear nothing of what is typed"


def test_several_in_a_page_and_by_script(shopper: Shopper, shop: Shop) -> None:
    """Each tag has its button, a faulty one a line in the console only, and a page's script may add one."""
    tags = (
        shop.tag(assistant="helper", label="One", inline=True),
        shop.tag(assistant="helper", label="Two"),
        shop.tag(label="None"),
        shop.tag(assistant="helper", metadata="[1]"),
    )
    shopper.page.goto(shop.site.page(*tags))
    shopper.button("Two").wait_for()
    assert len(shopper.faults) == 2
    shopper.forgive("TypeError: webcall: ")
    shopper.page.evaluate(MOUNT, [f"{shop.service.url}/widget.js", shop.key])
    boxes = [shopper.button(name).bounding_box() for name in ("One", "Two", "Three")]
    tops = [box["y"] for box in boxes if box]
    assert tops[0] < tops[2] < tops[1]
    shopper.page.evaluate("() => third.remove()")
    assert shopper.page.locator("webcall-widget").count() == 2
