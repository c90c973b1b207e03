"""Calls by the widget, in pages of another origin, under a strict policy."""

from __future__ import annotations

import json
from datetime import timedelta

from playwright.sync_api import Request, Route

from tests.browser.conftest import MakeShopper, MakeSite
from tests.support.browser import participants, token_for
from tests.support.deployment import Service
from tests.support.livekit import LiveKitServer
from tests.support.site import HOSTILE, Shop, Shopper
from webcall.http import widget

# What Chrome writes of a connection and of a request that failed.
SOCKET, RESOURCE = "WebSocket connection to ", "Failed to load resource: "
MOUNT = """async ([url, key]) => {
  const { mount } = await import(url);
  globalThis.second = mount({ key, assistant: "helper", textOnly: true });
}"""
PUT_TOKEN = """([name, token]) => {
  const kept = JSON.parse(sessionStorage[name]);
  kept.place.token = token;
  sessionStorage[name] = JSON.stringify(kept);
}"""


def requested(shopper: Shopper) -> list[str]:
    """Return the addresses of what the page asks for; the list grows."""
    asked: list[str] = []
    shopper.page.on("request", lambda request: asked.append(request.url))
    return asked


def test_a_call_on_a_hostile_page(site_of: MakeSite, shopper: Shopper, playground: Service) -> None:
    """Among hostile styles the assistant greets, is heard, and answers; LiveKit comes with the panel only."""
    shop = Shop.opened(site_of(HOSTILE), playground)
    asked = requested(shopper)
    shopper.page.goto(shop.link())
    launcher = shopper.part(".launcher")
    look = "(one) => { const s = getComputedStyle(one); return [s.fontStyle, s.fontSize, s.textTransform]; }"
    assert launcher.evaluate(look) == ["normal", "16px", "none"]
    files = {url.rsplit("/", 1)[1].split(".")[0] + ".js" for url in asked if url.startswith(playground.url)}
    assert files == {"widget.js", *widget.AT_ONCE}
    with shopper.page.expect_response("**/widget/livekit-client*"):
        launcher.click()
    assert shopper.button("Start the call").evaluate(look) == ["normal", "16px", "none"]
    own = shopper.page.locator("main .panel")
    assert own.evaluate("(one) => getComputedStyle(one).position") == "static", "the page keeps its style"
    shopper.button("Start the call").click()
    shopper.until_call("joined")
    shopper.until_heard("Ada")
    shopper.part("audio").wait_for(state="attached")
    shopper.write("what is seven plus eight")
    shopper.until_heard("15")
    shopper.button("Mute").click()
    assert shopper.button("Unmute").get_attribute("aria-pressed") == "true"
    shopper.button("Hang up").click()
    assert shopper.told("ended") == "You hung up."
    assert shopper.page.evaluate("() => globalThis.LivekitClient") is None


def test_a_refused_microphone_leaves_the_chat(shopper_of: MakeShopper, shop: Shop) -> None:
    """Where the browser refuses the microphone, that is said, and typing works."""
    shopper = shopper_of(microphone=False)
    shopper.begin(shop.link())
    assert "not allowed to use the microphone" in shopper.told("microphone_refused")
    shopper.write("what is seven plus eight")
    shopper.until_heard("15")


def test_what_a_page_may_not_do_is_said(shopper: Shopper, shop: Shop, site_of: MakeSite) -> None:
    """Another page, assistant, metadata or key, and a service that is down: each has its words."""
    elsewhere = Shop(site_of(), shop.service, shop.key)
    for link, code, words in (
        (elsewhere.link(), "page_refused", "may not be started from this page"),
        (shop.link(assistant="other"), "no_such_assistant", "no such assistant"),
        (shop.link(metadata='{"x": 1}'), "request_invalid", "metadata: "),
        (shop.link(key=shop.key[:-4] + "____"), "key_refused", "key is not valid"),
    ):
        shopper.begin(link)
        assert words in shopper.told(code)
        shopper.forgive(RESOURCE)
        assert shop.key not in shopper.part(".panel").inner_text()
    shopper.page.route("**/web_call/get_token", lambda route: route.abort())
    shopper.begin(shop.link())
    assert "Check that you are online" in shopper.told("service_unreachable")
    shopper.forgive(RESOURCE)


def test_a_retry_is_the_same_call(shopper: Shopper, shop: Shop, livekit_server: LiveKitServer) -> None:
    """An answer that is lost on its way is asked for again with the same UUID, and is the same room."""
    rooms: list[str] = []
    sent: list[str | None] = []

    def lose_the_first(route: Route, request: Request) -> None:
        sent.append(request.header_value("Idempotency-Key"))
        answer = route.fetch()
        rooms.append(answer.json()["data"]["room_name"])
        if len(rooms) == 1:
            route.abort("connectionreset")
        else:
            route.fulfill(response=answer)

    shopper.page.route("**/web_call/get_token", lose_the_first)
    shopper.begin(shop.link(text_only=True), "Start the chat")
    shopper.told("service_unreachable")
    shopper.forgive(RESOURCE)
    shopper.button("Try again").click()
    shopper.until_heard("Ada")
    assert len(participants(livekit_server, rooms[0])) == 2
    shopper.button("Hang up").click()
    shopper.until_call("ended")
    # What was said in the first call still stands there: the new one is told by its answer.
    with shopper.page.expect_response("**/web_call/get_token"):
        shopper.button("Start again").click()
    shopper.until_heard("Ada")
    assert rooms[0] == rooms[1] != rooms[2]
    assert sent[0] == sent[1] != sent[2]


def test_a_page_loaded_again_goes_on_with_its_call(
    shopper: Shopper, shop: Shop, livekit_server: LiveKitServer
) -> None:
    """After a reload the same room is joined, with a fresh token if need be; after its end nothing is."""
    shopper.chat(shop.link(text_only=True))
    room, name = kept_room(shopper)
    shopper.page.reload()
    shopper.until_call("joined")
    assert kept_room(shopper)[0] == room
    shopper.page.evaluate(PUT_TOKEN, [name, token_for(livekit_server, room, age=timedelta(hours=1))])
    asked = requested(shopper)
    shopper.page.reload()
    shopper.until_call("joined")
    assert len([url for url in asked if url.endswith("/get_token")]) == 1
    assert kept_room(shopper)[0] == room
    shopper.write("what is seven plus eight")
    shopper.until_heard("15")
    assert len(participants(livekit_server, room)) == 2
    shopper.forgive(SOCKET, RESOURCE)
    shopper.button("Hang up").click()
    shopper.until_call("ended")
    shopper.page.reload()
    shopper.part(".launcher").wait_for()
    assert shopper.part(".panel").is_hidden()
    shopper.page.evaluate("(name) => { sessionStorage[name] = '{'; }", name)
    shopper.page.reload()
    shopper.button("Start the chat").click()
    shopper.until_heard("Ada")


def kept_room(shopper: Shopper) -> tuple[str, str]:
    """Return the room that the tab keeps, and under which name."""
    find = "() => Object.entries(sessionStorage).find(([name]) => name.endsWith(' place'))"
    name, kept = shopper.page.evaluate(find)
    return json.loads(kept)["place"]["room_name"], name


def test_what_was_not_loaded_is_loaded_by_the_next_try(shopper: Shopper, shop: Shop) -> None:
    """Where the network fails as the call's code is loaded, that is said, and trying again works."""
    lost = "**/widget/livekit-client*"
    shopper.page.route(lost, lambda route: route.abort())
    shopper.page.goto(shop.link())
    with shopper.page.expect_event("requestfailed"):
        shopper.part(".launcher").click()
    assert shopper.part(".notice").is_hidden(), "nobody has called yet"
    shopper.button("Type only").click()
    assert "could not be loaded" in shopper.told("not_loaded")
    shopper.forgive(RESOURCE)
    shopper.page.unroute(lost)
    shopper.button("Try again").click()
    shopper.until_heard("Ada")
    assert shopper.button("Mute").count() == 0, "what was tried first was typed"


def test_a_call_that_was_not_loaded_after_its_page_is_joined_by_the_next_try(
    shopper: Shopper, shop: Shop
) -> None:
    """Trying again goes on with that call, a typed one as such; giving it up offers the first call anew."""
    lost = "**/widget/livekit-client*"
    shopper.begin(shop.link(), "Type only")
    shopper.until_heard("Ada")
    room, _ = kept_room(shopper)
    shopper.page.route(lost, lambda route: route.abort())
    shopper.page.reload()
    shopper.told("not_loaded")
    shopper.forgive(RESOURCE)
    shopper.page.unroute(lost)
    asked = requested(shopper)
    shopper.button("Try again").click()
    shopper.until_call("joined")
    assert kept_room(shopper)[0] == room
    assert shopper.button("Mute").count() == 0
    assert not [url for url in asked if url.endswith("/get_token")]
    shopper.page.route(lost, lambda route: route.abort())
    shopper.page.reload()
    shopper.told("not_loaded")
    shopper.forgive(RESOURCE)
    shopper.page.unroute(lost)
    shopper.page.route(lost, lambda route: None)
    shopper.button("Try again").click()
    shopper.button("Hang up").click()
    shopper.button("Start the call").wait_for()


def test_a_call_that_is_given_up_while_it_is_loaded_never_begins(shopper: Shopper, shop: Shop) -> None:
    """Hanging up, or taking the button out of the page, before the call's code is there: nobody is called."""
    held: list[Route] = []
    holding = True

    def hold(route: Route) -> None:
        held.append(route) if holding else route.continue_()

    asked = requested(shopper)
    shopper.page.route("**/widget/livekit-client*", hold)
    shopper.begin(shop.link(text_only=True), "Start the chat")
    shopper.button("Hang up").click()
    shopper.until_call("idle")
    shopper.page.evaluate(MOUNT, [f"{shop.service.url}/widget.js", shop.key])
    second = shopper.page.locator("webcall-widget").nth(1)
    second.locator(".launcher").click()
    second.get_by_role("button", name="Start the chat").click()
    shopper.page.evaluate("() => second.remove()")
    holding = False
    for route in held:
        route.continue_()
    shopper.button("Start the chat").click()
    shopper.until_heard("Ada")
    assert len([url for url in asked if url.endswith("/get_token")]) == 1


def test_an_assistant_that_only_speaks_is_called_by_voice_next(shopper: Shopper, shop: Shop) -> None:
    """Who tried to type to it is told to talk, and the button does that; where the page wants typing, not."""
    sent: list[bool] = []

    def refuse(route: Route, request: Request) -> None:
        sent.append(request.post_data_json["text_only"])
        told = {"success": False, "message": "It has no text path.", "data": {}}
        route.fulfill(status=400, json=told, headers={"Access-Control-Allow-Origin": "*"})

    shopper.page.route("**/web_call/get_token", refuse)
    for link, first, then in (
        (shop.link(), "Type only", "Start the call"),
        (shop.link(text_only=True), "Start the chat", "Try again"),
    ):
        shopper.begin(link, first)
        assert "speaks only" in shopper.told("no_typed_chat")
        with shopper.page.expect_response("**/web_call/get_token"):
            shopper.button(then).click()
        shopper.told("no_typed_chat")
        shopper.forgive(RESOURCE)
    assert sent == [True, False, True, True]
